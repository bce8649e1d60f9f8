"""Flows as text for the clipboard."""

from __future__ import annotations

import gzip
import json
import subprocess

import pytest

from int3rceptor_tui.view_model.copied import FORMS, copied
from proxy_core.control.views import BodyView, FlowDetail, HeadView
from proxy_core.errors import ControlError
from tests.tui.fake_control import make_detail, make_summary

HOSTILE = "a'b\x1b[31m\n\u202e\\ $(id) `id`"


def posted(body: bytes, *fields: tuple[str, str], method: str = "POST") -> FlowDetail:
    return make_detail(
        make_summary(1, method=method),
        request=HeadView(f"{method} /items HTTP/1.1", fields, b""),
        request_body=BodyView(body, len(body)),
    )


def words_of(command: str) -> list[str]:
    """What a shell makes of a command's words."""
    script = f'set -- {command}; printf "%s\\0" "$@"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def test_a_command_says_what_was_asked_and_leaves_to_curl_what_is_its_own() -> None:
    flow = posted(
        b'{"a": 1}',
        ("Host", "example.com"),
        ("Content-Length", "8"),
        ("Accept-Encoding", "gzip, br"),
        ("X-Empty", ""),
        ("Cookie", "a=1"),
    )
    assert words_of(copied(flow, "curl")) == [
        *("curl", flow.url, "--compressed", "-H", "X-Empty;", "-H", "Cookie: a=1"),
        *("--data-raw", '{"a": 1}'),
    ]
    assert "-X" not in copied(posted(b"", method="GET"), "curl")
    assert "-X PUT" in copied(posted(b"x", method="PUT"), "curl")
    assert "--head" in copied(posted(b"", method="HEAD"), "curl")


def test_nothing_in_a_command_is_more_than_a_word_and_nothing_is_hidden() -> None:
    command = copied(posted(HOSTILE.encode(), ("X", HOSTILE)), "curl")
    assert words_of(command)[-3:] == [f"X: {HOSTILE}", "--data-raw", HOSTILE]
    assert command.isprintable()


def test_bodies_are_copied_as_decoded_text_and_messages_with_their_heads() -> None:
    packed = gzip.compress(b"caf\xe9")
    flow = make_detail(
        make_summary(1),
        response_body=BodyView(packed, len(packed), "text/plain; charset=latin-1", "gzip"),
    )
    assert copied(flow, "body") == "café"
    assert copied(flow, "response") == "HTTP/2 200\ncontent-type: application/json\n\ncafé"
    assert copied(flow, "request") == "GET /items/1 HTTP/2\naccept: */*\n\n"
    assert copied(flow, "url") == flow.url


@pytest.mark.parametrize(
    ("flow", "form", "words"),
    [
        (posted(b"\0\1"), "curl", "no text"),
        (make_detail(make_summary(1), request_body=BodyView(b"ab", 9)), "curl", "only the first 2"),
        (make_detail(make_summary(1), response=None), "body", "flow 1 has no response"),
        (
            make_detail(make_summary(1), response_body=BodyView(b"\0\1", 2, "image/\x1bpng")),
            "body",
            "no text, but 2 bytes of image/␛png",
        ),
        (
            make_detail(make_summary(1), response_body=BodyView(b"x" * 70_000, 70_000)),
            "body",
            "68k",
        ),
        (make_detail(make_summary(1)), "har", "there are url, curl, request, response, body"),
    ],
)
def test_what_cannot_be_copied_says_why(flow: FlowDetail, form: str, words: str) -> None:
    with pytest.raises(ControlError, match=words):
        copied(flow, form)


def test_every_form_is_one() -> None:
    for form in FORMS:
        assert copied(make_detail(make_summary(1)), form)
    assert json.loads(copied(make_detail(make_summary(1)), "body")) == {"number": 1}
