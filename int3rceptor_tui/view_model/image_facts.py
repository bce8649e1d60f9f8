"""What an image says of itself in its first bytes: its kind and how large it is drawn."""

from __future__ import annotations

import struct

_PNG_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


def image_fact(data: bytes) -> str | None:
    """Return a sentence about PNG, GIF, JPEG, WebP or BMP; None for all else."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
            colours = _PNG_COLOURS.get(colour, "unknown colours")
            return f"PNG image, {width} x {height}, {depth} bits, {colours}"
        if data.startswith((b"GIF87a", b"GIF89a")):
            width, height = struct.unpack_from("<HH", data, 6)
            return f"GIF image, {width} x {height}"
        if data.startswith(b"BM") and data[6:10] == bytes(4):
            width, height = struct.unpack_from("<ii", data, 18)
            return f"BMP image, {width} x {abs(height)}"
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
    except struct.error:
        return "an image of which the beginning is missing"
    return None


def _webp(data: bytes) -> str:
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return f"WebP image, {width} x {height}"


def _jpeg(data: bytes) -> str:
    """Go from segment to segment up to the frame's (ITU T.81, B.2.2)."""
    at = 2
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return f"JPEG image, {width} x {height}"
        at += 2 + max(length, 2)
