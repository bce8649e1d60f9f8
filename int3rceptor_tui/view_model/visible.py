"""Untrusted text made safe to draw: on one line, and with nothing hidden in it.

Control characters become their pictures (U+240A for a newline), other characters that draw
nothing or change what is drawn around them (bidi controls, zero-width and private-use
characters, combining marks) become `<U+202E>`. What is left takes the cells it seems to take.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_PICTURES = 0x2400
_DELETE_PICTURE = "\u2421"


def visible(text: str) -> str:
    """Return `text` without anything that a terminal or a reader could take for something else."""
    if text.isascii():
        if text.isprintable():
            return text
    elif text.isprintable() and not any(map(unicodedata.combining, text)):
        return text
    return "".join([_shown(character) for character in text])


@lru_cache(maxsize=1024)
def _shown(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(_PICTURES + code)
    if code == 0x7F:
        return _DELETE_PICTURE
    if character == "\u00a0":
        return " "
    if character.isprintable() and not unicodedata.combining(character):
        return character
    return f"<U+{code:04X}>"
