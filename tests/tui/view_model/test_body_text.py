from __future__ import annotations

import gzip
from encodings.aliases import aliases

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int3rceptor_tui.view_model.body_text import decode_body, looks_binary, to_text


def test_a_coded_body_is_undone() -> None:
    decoded = decode_body(gzip.compress(b"text"), "gzip")
    assert (decoded.data, decoded.notes) == (b"text", ())


def test_unknown_codings_are_named_safely_and_briefly() -> None:
    decoded = decode_body(b"x", "\x9b" + "y" * 1000)
    assert decoded.data == b"x"
    assert decoded.notes[0].startswith("content coding <U+009B>yyy")
    assert len(decoded.notes[0]) < 120


@pytest.mark.parametrize(
    ("data", "content_type", "text"),
    [
        (b"", None, ""),
        ("é".encode(), None, "é"),
        ("é".encode("latin-1"), None, "é"),
        ("é".encode(), "text/plain; charset=UTF-8", "é"),
        ("ж".encode("koi8-r"), 'text/plain; Charset = "KOI8-R"', "ж"),
        ("日本".encode("shift_jis"), "text/plain;charset=shift_jis", "日本"),
        ("é".encode("utf-8-sig"), "text/plain; charset=latin-1", "é"),
        ("é".encode("utf-16"), None, "é"),
        (b"\xfe\xff\x00e", None, "e"),
        ("café".encode("latin-1"), None, "café"),
        ("caféé".encode()[:-1], None, "café\ufffd"),
        (b"\xc3\x28", None, "\xc3("),
        ("é".encode(), "text/plain; charset=nonsense", "é"),
        (b"a\xff", "text/plain; charset=utf-8", "a\ufffd"),
    ],
)
def test_text_is_read_in_the_charset_it_is_in(
    data: bytes, content_type: str | None, text: str
) -> None:
    assert to_text(data, content_type) == text


@pytest.mark.parametrize(
    "charset",
    [
        "zlib",
        "hex",
        "rot13",
        "idna",
        "punycode",
        "unicode_escape",
        "undefined",
        "x" * 99,
        "..",
        "-",
    ],
)
def test_what_is_no_charset_is_passed_over(charset: str) -> None:
    assert to_text(b"a\\q\\x41-9", f"text/plain; charset={charset}") == "a\\q\\x41-9"


@settings(max_examples=40)
@given(st.binary(max_size=100), st.text(max_size=20) | st.sampled_from(sorted(aliases)))
def test_any_bytes_are_text_in_any_charset(data: bytes, charset: str) -> None:
    assert isinstance(to_text(data, f"text/plain; charset={charset}"), str)


@pytest.mark.parametrize(
    ("data", "binary"),
    [
        (b"", False),
        (b"plain\r\n\ttext", False),
        ("日本語".encode(), False),
        ("text".encode("utf-16"), False),
        (b"\x1b[31mcoloured\x1b[0m text with an escape here and there", False),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", True),
        (b"\x01\x02\x03\x04 a", True),
    ],
)
def test_binary_data_is_told_from_text(data: bytes, binary: bool) -> None:
    assert looks_binary(data) is binary
