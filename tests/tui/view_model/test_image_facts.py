"""Images, told by their first bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int3rceptor_tui.view_model.image_facts import image_fact

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + struct.pack(">IIBB", 640, 480, 8, 6) + bytes(7)
JPEG = (
    b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(10) + b"\xff\xc2\0\x11\x08" + struct.pack(">HH", 30, 40)
)


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (PNG, "PNG image, 640 x 480, 8 bits, RGB with alpha"),
        (b"GIF89a" + struct.pack("<HH", 3, 2), "GIF image, 3 x 2"),
        (JPEG, "JPEG image, 40 x 30"),
        (b"BM" + bytes(16) + struct.pack("<ii", 5, -6), "BMP image, 5 x 6"),
        (
            b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x63\0\0\x31\0\0",
            "WebP image, 100 x 50",
        ),
        (
            b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 99 | 49 << 14),
            "WebP image, 100 x 50",
        ),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", 7, 8), "WebP image, 7 x 8"),
        (PNG[:20], "an image of which the beginning is missing"),
        (b"<svg>", None),
        (b"", None),
    ],
)
def test_an_image_tells_its_kind_and_size(data: bytes, fact: str | None) -> None:
    assert image_fact(data) == fact


@given(st.sampled_from([PNG[:8], b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF"]), st.binary())
def test_any_bytes_can_be_asked(beginning: bytes, rest: bytes) -> None:
    image_fact(beginning + rest)
