"""Replacements as mitmproxy spells them: `/FILTER/REGEX/REPLACEMENT`, any character first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from proxy_core.errors import ConfigError

MAX_FILE = 4 * 1024 * 1024
"""Bytes of a file that holds a replacement."""

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)
_MEANINGS = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Replacement:
    """What matches `pattern`, a regular expression, becomes `replacement`."""

    pattern: str
    replacement: bytes
    filter: str | None = None
    """A filter expression (docs/filters.md), or None for all."""


def parse_replacement(text: str, base: Path = Path()) -> Replacement:
    """Read `[/FILTER]/REGEX/REPLACEMENT` or `.../@FILE`, a path relative to `base`.

    Raises ConfigError; filter and regular expression are not looked at.
    """
    separator = text[:1]
    parts = text[1:].split(separator, 2) if separator else []
    if len(parts) < 2:
        raise ConfigError(
            f"too few parts behind the separator {separator!r}, which the first character is; "
            "write /REGEX/REPLACEMENT or /FILTER/REGEX/REPLACEMENT"
        )
    *head, pattern, replacement = parts
    if not pattern:
        raise ConfigError("the regular expression is empty; write one, such as .+")
    if replacement.startswith("@"):
        content = _read(replacement[1:], base)
    else:
        content = _unescaped(replacement)
    return Replacement(pattern, content, head[0] if head else None)


def _read(name: str, base: Path) -> bytes:
    try:
        file = base / Path(name).expanduser()
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE + 1)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError(
            f"@{name} cannot be read ({reason}); name a file, or write \\x40 for an @"
        ) from error
    if len(content) > MAX_FILE:
        raise ConfigError(f"{file} is larger than {MAX_FILE} bytes; make it smaller")
    return content


def _unescaped(text: str) -> bytes:
    parts: list[bytes] = []
    end = 0
    for escape in _ESCAPE.finditer(text):
        parts.append(_encoded(text[end : escape.start()]))
        end = escape.end()
        meaning = escape.group(1)
        if len(meaning) == 3:
            parts.append(bytes([int(meaning[1:], 16)]))
        elif meaning in _MEANINGS:
            parts.append(_MEANINGS[meaning].encode())
        else:
            raise ConfigError(
                f"\\{meaning} stands for nothing in a replacement; "
                "there are \\n, \\r, \\t, \\xHH, and \\\\ for a backslash"
            )
    return b"".join([*parts, _encoded(text[end:])])


def _encoded(text: str) -> bytes:
    # What a command line holds beside UTF-8 comes as surrogates: these go out as they came.
    return text.encode(errors="surrogateescape")
