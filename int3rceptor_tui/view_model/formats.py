"""Figures for people, in few cells."""

from __future__ import annotations

import math
import time

from proxy_core.model.words import counted


def size(count: int) -> str:
    """Return a size in bytes in at most six cells: 512, 1.2k, 64k, 3.4M."""
    if count < 1000:
        return str(count)
    value = float(count)
    for unit in "kMGTP":
        value /= 1024
        if value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 999.5:
            return f"{value:.0f}{unit}"
    return f"{value / 1024:.1f}E"


def size_in_words(count: int) -> str:
    """Return a size for a sentence: 1 byte, 512 bytes, 2.1k (2135 bytes)."""
    whole = counted(count, "byte")
    return whole if count < 1000 else f"{size(count)} ({whole})"


def duration(seconds: float) -> str:
    """Return a duration in at most six cells: 250us, 3.2ms, 120ms, 1.3s, 42s, 2m05, 3h07."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 0.0009995:
        return f"{max(0.0, seconds) * 1e6:.0f}us"
    if seconds < 0.00995:
        return f"{seconds * 1e3:.1f}ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole}s"
    minutes, whole = divmod(whole, 60)
    if minutes < 100:
        return f"{minutes}m{whole:02}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}" if hours < 1000 else f"{hours // 24}d"


def clock(at: float) -> str:
    """Return a time of day, local, in eight cells."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def stamp(at: float) -> str:
    """Return date and time to the millisecond, local."""
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    return f"{whole}.{int(at * 1000) % 1000:03}"
