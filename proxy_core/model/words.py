"""Counts and times in sentences for people."""

from __future__ import annotations


def plural(noun: str, count: int) -> str:
    """Return the noun for so many of it."""
    return noun if count == 1 else f"{noun}s"


def counted(count: int, noun: str) -> str:
    """Return `1 flow`, `2 flows`."""
    return f"{count} {plural(noun, count)}"


def lasting(seconds: float) -> str:
    """Return `3.2 ms`, `14.4 s`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
