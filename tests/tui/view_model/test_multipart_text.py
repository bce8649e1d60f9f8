"""Multipart bodies, part by part."""

from __future__ import annotations

import pytest

from int3rceptor_tui.view_model.content import Content
from int3rceptor_tui.view_model.multipart_text import multipart_lines
from proxy_core.control.views import BodyView
from tests.tui.view_model.test_image_facts import PNG

TYPE = 'Multipart/Form-Data; boundary="aB c"'
BODY = (
    b'preamble\r\n--aB c\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n--aB c\r\n'
    b'Content-Disposition: form-data; name="f"; filename="\x1b[31m.png"\r\n'
    b"Content-Type: image/png\r\n\r\n" + PNG + b"\r\n--aB c--\r\nepilogue"
)


def shown(content: Content, mode: str) -> list[str]:
    lines = content.open(mode)
    return ["".join(piece for piece, _ in lines.line(at)) for at in range(len(lines))]


def test_each_part_is_shown_with_its_head_and_what_is_text_of_it() -> None:
    content = Content(BodyView(BODY, len(BODY), TYPE))
    assert content.modes == ("parts", "hex", "text")
    assert shown(content, "parts") == [
        "Part 1",
        'Content-Disposition: form-data; name="a"',
        "",
        "one",
        "",
        "Part 2",
        'Content-Disposition: form-data; name="f"; filename="␛[31m.png"',
        "Content-Type: image/png",
        "",
        f"{len(PNG)} bytes, PNG image, 640 x 480, 8 bits, RGB with alpha",
    ]


def test_parts_that_are_cut_or_odd_are_shown_as_far_as_they_go() -> None:
    for end in range(len(BODY)):
        multipart_lines(BODY[:end], TYPE)
    lines = multipart_lines(b"--x\r\nA: b", "multipart/mixed; boundary=x")
    assert lines is not None
    assert [piece for piece, _ in lines.line(1)] == ["A", ":", " b"]


@pytest.mark.parametrize(
    "media", ["multipart/form-data", "text/plain; boundary=x", "multipart/mixed; boundary=other"]
)
def test_what_has_no_parts_is_shown_as_what_it_is(media: str) -> None:
    assert multipart_lines(b"--x\r\n\r\na\r\n--x--", media) is None
    assert "parts" not in Content(BodyView(b"--x\r\n\r\na", 8, media)).modes
