"""Counts in sentences for people."""

from __future__ import annotations


def plural(noun: str, count: int) -> str:
    """Return the noun for so many of it."""
    return noun if count == 1 else f"{noun}s"


def counted(count: int, noun: str) -> str:
    """Return `1 flow`, `2 flows`."""
    return f"{count} {plural(noun, count)}"
