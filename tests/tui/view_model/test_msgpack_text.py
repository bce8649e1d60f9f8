"""MessagePack, shown as JSON."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from int3rceptor_tui.view_model.content import Content
from int3rceptor_tui.view_model.msgpack_text import msgpack_lines
from proxy_core.control.views import BodyView


def test_it_is_shown_as_the_json_that_says_the_same() -> None:
    body = msgspec.msgpack.encode({"a": [1, None, b"\1\2"], "\x1b": msgspec.msgpack.Ext(5, b"x")})
    content = Content(BodyView(body, len(body), "application/x-msgpack"))
    assert content.modes == ("msgpack", "hex", "text")
    lines = content.open("msgpack")
    rows = ["".join(piece for piece, _ in lines.line(at)) for at in range(len(lines))]
    assert rows[:6] == ["{", '  "a": [', "    1,", "    null,", '    "AQI="', "  ],"]
    assert rows[6].startswith('  "\\u001b": ')


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x92\x01", b"\x91" * 5000])
def test_what_cannot_be_said_is_left_to_hex(data: bytes) -> None:
    assert msgpack_lines(data) is None


@given(st.binary(max_size=100))
def test_any_bytes_can_be_asked(data: bytes) -> None:
    msgpack_lines(data)
