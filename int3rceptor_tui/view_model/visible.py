"""Untrusted text made safe to draw: on one line, and with nothing hidden in it.

Control characters become their pictures (U+240A for a newline); whatever else draws nothing, or
changes what is drawn around it (bidi controls, joiners, odd spaces, private use), becomes
`<U+202E>`. What is left takes the cells that it is measured to take, in every terminal.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from rich.cells import get_character_cell_size

_PICTURES = 0x2400
_DELETE_PICTURE = "\u2421"

_MAX_MARKS = 2
"""Accents on one letter: Vietnamese and Thai need two; piles of them climb into other lines."""

# Scripts of which every character draws something of its own: no need to look at each.
_ODD = re.compile(
    r"[^\x20-\x7e\xa1-\xac\xae-\u02ff\u0400-\u0482\u048a-\u052f\u2010-\u2015\u2018-\u201f\u2026"
    r"\u20a0-\u20b9\u2190-\u2211\u2500-\u259f\u3001-\u3029\u3041-\u3094\u30a1-\u30fa\u4e00-\u9fa5"
    r"\uac00-\ud7a3\uff01-\uff60]"
)

# Printable by Unicode's categories, but blank: braille with no dots, Hangul's lead filler.
_BLANK = frozenset("\u2800\u115f")

# Marks that draw nothing: the grapheme joiner, Khmer's inherent vowels, variation selectors.
_SILENT = re.compile(r"[\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def visible(text: str) -> str:
    """Return `text` without anything that a terminal or a reader could take for something else."""
    if text.isascii() and text.isprintable():
        return text
    first = _ODD.search(text)
    if first is None:
        return text
    at = first.start()
    shown = [text[:at]]
    # How many more marks the character before would bear.
    room = _MAX_MARKS if at and text[at - 1].isalnum() else 0
    for character in text[at:]:
        if room and _is_mark(character):
            shown.append(character)
            room -= 1
        else:
            drawn = _shown(character)
            shown.append(drawn)
            room = _MAX_MARKS if drawn.isalnum() else 0
    return "".join(shown)


@lru_cache(maxsize=4096)
def _is_mark(character: str) -> bool:
    """Tell whether a character is an accent that is drawn, and takes no cell anywhere."""
    return (
        unicodedata.category(character) == "Mn"
        and get_character_cell_size(character) == 0
        and not _SILENT.match(character)
    )


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(_PICTURES + code)
    if code == 0x7F:
        return _DELETE_PICTURE
    # Measured as no cell, and yet drawn in one by some terminals: Indic vowels, Hangul's parts.
    if character.isprintable() and get_character_cell_size(character) and character not in _BLANK:
        return character
    return f"<U+{code:04X}>"
