"""Regular expressions over what came from the network, in bounded time.

RE2 searches in time linear in the text. It knows no look-around and no references back: for those
the `regex` module searches as Python's `re` does, for TIME at most (docs/adr/0009).
"""

from __future__ import annotations

from collections.abc import Callable

import re2
import regex

SEARCHED = 1024 * 1024
"""Bytes of one text that are searched; what stands behind them is not seen."""

EDIT_TIME = 0.1
"""Seconds that replacing in one text may take."""

TIME = 0.02
"""Seconds that a search outside RE2 may take before it counts as finding nothing."""

_MAX_SCRATCH = 64 * 1024 * 1024
_RE2_MEMORY = 4 * 1024 * 1024
_MAX_STEPS = 4096
"""Of a compiled pattern. RE2 may spend time on each of them for each byte of the text."""

_TOO_LARGE = "it is too large when compiled; repeat less"
_MEANS_MORE = frozenset(".^$*+?{}[]\\|()")
_OTHER_IN_RE2 = ("{,", "[:", "\\C", "\\Q", "(?U", "(?-U")
"""What RE2 takes and understands differently."""

Search = Callable[[bytes], bool]


class PatternError(Exception):
    """A regular expression is none; `at` is the character where that shows, or None."""

    def __init__(self, message: str, at: int | None) -> None:
        super().__init__(message)
        self.at = at


class NotReplacedError(Exception):
    """A text cannot be edited within bounds; the message says why."""


def compile_search(pattern: str, *, lines: bool = False, binary: bool = False) -> Search:
    """Return what tells whether a text holds `pattern`, whatever the case of its letters.

    Texts are bytes in UTF-8. With `lines`, ^ and $ match at each line; with `binary`, texts are
    any bytes and a dot is any of them, newlines included. Raises PatternError.
    """
    if not pattern:
        return lambda text: True
    if not binary and pattern.isascii() and _MEANS_MORE.isdisjoint(pattern):
        needle = pattern.lower().encode()
        return lambda text: needle in text[:SEARCHED].lower()
    try:
        raw = pattern.encode()
    except UnicodeEncodeError as error:
        raise PatternError("a lone surrogate is not a character", error.start) from error
    if not _understood_by_re2(pattern, lines, binary):
        return _slow_search(pattern, lines, binary)
    options = re2.Options()
    options.case_sensitive = False
    options.dot_nl = binary
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _RE2_MEMORY
    if binary:
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        compiled = re2.compile(b"(?m)" + raw if lines else raw, options)
    except re2.error as error:
        if "too large" in str(error):
            raise PatternError(_TOO_LARGE, None) from error
        return _slow_search(pattern, lines, binary)
    if compiled.programsize > _MAX_STEPS:
        raise PatternError(_TOO_LARGE, None)
    quick = compiled.search

    def search(text: bytes) -> bool:
        return quick(text, 0, SEARCHED) is not None

    return search


def _understood_by_re2(pattern: str, lines: bool, binary: bool) -> bool:
    if any(part in pattern for part in _OTHER_IN_RE2):
        return False
    # In Python, $ also matches before a newline that ends the text.
    return lines or not binary or "$" not in pattern


def _slow_search(pattern: str, lines: bool, binary: bool) -> Search:
    flags = regex.IGNORECASE | (regex.MULTILINE if lines else 0) | (regex.DOTALL if binary else 0)
    try:
        if binary:
            compiled = regex.compile(pattern.encode(), flags)
        else:
            text_pattern = regex.compile(pattern, flags)
    except regex.error as error:
        # The stubs do not say what the error holds.
        message = getattr(error, "msg", str(error))
        raise PatternError(message, getattr(error, "pos", None)) from error
    except (ValueError, OverflowError, RecursionError, MemoryError, KeyError) as error:
        raise PatternError(str(error) or type(error).__name__, None) from error

    def search_bytes(text: bytes) -> bool:
        try:
            return compiled.search(text, 0, SEARCHED, timeout=TIME) is not None
        except (TimeoutError, MemoryError):
            return False

    def search_text(text: bytes) -> bool:
        try:
            decoded = text[:SEARCHED].decode(errors="replace")
            return text_pattern.search(decoded, timeout=TIME) is not None
        except (TimeoutError, MemoryError):
            return False

    return search_bytes if binary else search_text


def compile_replace(pattern: str, replacement: bytes, limit: int) -> Callable[[bytes], bytes]:
    """Return what puts `replacement` in the place of all that matches `pattern`, in any bytes.

    The case of letters counts, and a dot is any byte. The function gives at most `limit` bytes, or
    raises NotReplacedError, as it does after EDIT_TIME. Raises PatternError.
    """
    try:
        raw = pattern.encode(errors="surrogateescape")
        compiled = regex.compile(raw, regex.DOTALL)
    except (regex.error, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise PatternError(
            getattr(error, "msg", str(error)), getattr(error, "pos", None)
        ) from error

    template = replacement.replace(b"\\", b"\\\\")
    literal = _MEANS_MORE.isdisjoint(pattern)

    def replace(text: bytes) -> bytes:
        most = max(limit, len(text))
        if literal:
            count = text.count(raw)
            _check(len(text) + count * (len(replacement) - len(raw)), most)
            return text.replace(raw, replacement)
        # At worst a match before each byte and one behind the last.
        fits = (len(text) + 1) * len(replacement) <= _MAX_SCRATCH
        try:
            edited: bytes = compiled.sub(
                template if fits else counted(limit), text, timeout=EDIT_TIME
            )
        except TimeoutError as error:
            raise NotReplacedError(f"replacing took longer than {EDIT_TIME:g} s") from error
        except MemoryError as error:
            raise NotReplacedError("there is no memory for it") from error
        _check(len(edited), most)
        return edited

    def counted(room: int) -> Callable[[object], bytes]:
        """Give the replacement so often as there is room: five times as slow."""

        def next_piece(match: object) -> bytes:
            nonlocal room
            room -= len(replacement)
            _check(limit - room, limit)
            return replacement

        return next_piece

    return replace


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise NotReplacedError(f"the result is larger than {limit} bytes")
