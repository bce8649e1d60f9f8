"""Odd HTTP/1 heads made regular, where that cannot change what frames or routes the message.

For research only, and only after the strict reading has refused a head. What decides on lengths,
connections and origins is never touched: there the refusal stands.
"""

from __future__ import annotations

import re

from proxy_core.wire.http1_fields import FieldKind, field_kind, shown

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]+(.+?)[ \t]+(HTTP/1\.[01])[ \t]*")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01])[ \t]+([1-9][0-9][0-9])(?:[ \t]+(.*))?")

_FRAMING = (
    FieldKind.HOST,
    FieldKind.CONTENT_LENGTH,
    FieldKind.TRANSFER_ENCODING,
    FieldKind.CONNECTION,
    FieldKind.UPGRADE,
)
_MAY_REPEAT = (FieldKind.HOST, FieldKind.CONTENT_LENGTH)


def soften(raw: bytes) -> tuple[bytes, tuple[str, ...]] | None:
    """Return a head made regular and what was done to it, or None where nothing may be done.

    `raw` ends in its empty line; every line of it in CRLF.
    """
    lines = raw[:-4].split(b"\r\n")
    if any(b"\n" in line or b"\r" in line for line in lines):
        return None  # two parsers may see other lines
    notes: list[str] = []
    first = _first_line(lines[0], notes)
    fields = _unfold(lines[1:], notes)
    if first is None or fields is None:
        return None
    kept: list[bytes] = []
    seen: dict[int, bytes] = {}
    for line in fields:
        field = _field(line, notes)
        if field is None:
            return None
        name, value = field
        kind = field_kind(name)
        if kind in _MAY_REPEAT:
            if seen.setdefault(kind, value) != value:
                return None
            if kept and any(known.startswith(name.lower() + b":") for known in _lowered(kept)):
                notes.append(f"{shown(name)} came twice, alike")
                continue
        if name:
            kept.append(name + b": " + value)
    return b"\r\n".join([first, *kept, b"", b""]), tuple(notes)


def _lowered(lines: list[bytes]) -> list[bytes]:
    return [line.lower() for line in lines]


def _first_line(line: bytes, notes: list[str]) -> bytes | None:
    if status := _STATUS_LINE.fullmatch(line):
        reason = _CONTROLS.sub(b" ", status[3] or b"")
        regular = b"%b %b %b" % (status[1], status[2], reason)
    elif request := _REQUEST_LINE.fullmatch(line):
        target = b"".join(_encoded(byte) for byte in request[2].partition(b"#")[0])
        if not target:
            return None
        regular = b"%b %b %b" % (request[1], target, request[3])
    else:
        return None
    if regular.rstrip() != line:
        notes.append(f"the first line was {shown(line)}")
    return regular


def _encoded(byte: int) -> bytes:
    return bytes((byte,)) if 0x21 <= byte <= 0x7E else b"%%%02X" % byte


def _unfold(lines: list[bytes], notes: list[str]) -> list[bytes] | None:
    """Join folded lines (RFC 9112, section 5.2), unless they fold what frames the message."""
    fields: list[bytes] = []
    for line in lines:
        if line[:1] not in (b" ", b"\t"):
            fields.append(line)
        elif not fields or field_kind(fields[-1].partition(b":")[0].strip()) in _FRAMING:
            return None
        else:
            notes.append(f"a line was folded: {shown(line)}")
            fields[-1] = fields[-1].rstrip(b" \t") + b" " + line.strip(b" \t")
    return fields


def _field(line: bytes, notes: list[str]) -> tuple[bytes, bytes] | None:
    """Return name and value; an empty name for a line to leave out; None where it frames."""
    name, colon, value = line.partition(b":")
    bare = name.strip(b" \t")
    value = value.strip(b" \t")
    framing = field_kind(bare) in _FRAMING
    if framing and (bare != name or _CONTROLS.search(value)):
        return None
    if not colon or not _NAME.fullmatch(bare):
        if any(word in line.lower() for word in (b"content-length", b"transfer-encoding", b"host")):
            return None
        notes.append(f"a line was left out: {shown(line)}")
        return b"", b""
    if bare != name:
        notes.append(f"there was a space before the colon of {shown(bare)}")
    if _CONTROLS.search(value):
        notes.append(f"{shown(bare)} had control characters in it")
        value = _CONTROLS.sub(b" ", value).strip(b" \t")
    return bare, value
