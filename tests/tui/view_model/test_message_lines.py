from __future__ import annotations

import pytest

from int3rceptor_tui.view_model.message_lines import MessageLines, message_line
from proxy_core.control.views import WebSocketMessageView, WebSocketView


def message(payload: bytes = b"hi", **changes: object) -> WebSocketMessageView:
    fields: dict[str, object] = {
        "from_client": True,
        "opcode": 1,
        "at": 1_700_000_000.25,
        "size": len(payload),
        "payload": payload,
        **changes,
    }
    return WebSocketMessageView(**fields)  # type: ignore[arg-type]


def text(shown: WebSocketMessageView) -> str:
    return "".join(piece for piece, _ in message_line(shown))


def lines(web_socket: WebSocketView) -> list[str]:
    made = MessageLines(web_socket)
    return ["".join(piece for piece, _ in made.line(i)) for i in range(len(made))]


def test_a_line_has_time_arrow_type_size_and_text() -> None:
    time, arrow, name, size, preview = text(message(b"x" * 2048)).split()
    assert time.endswith(".250")
    assert (arrow, name, size) == ("->", "text", "2.0k")
    assert preview == "x" * 400 + "…"


def test_binary_is_shown_as_hexadecimal() -> None:
    assert text(message(b"\0\xff", opcode=2, from_client=False)).endswith("<- binary      2  00 ff")
    assert text(message(bytes(401), opcode=2)).endswith("00 00…")


@pytest.mark.parametrize(("opcode", "name"), [(9, "ping"), (10, "pong"), (8, "close")])
def test_control_frames_have_names(opcode: int, name: str) -> None:
    assert name in text(message(b"", opcode=opcode))


def test_a_close_frame_is_its_code_and_reason() -> None:
    assert text(message(b"\x03\xe8bye", opcode=8)).endswith("  1000 bye")


def test_what_was_done_to_a_message_is_told() -> None:
    assert "  edited  hi" in text(message(edited=True))
    assert "  injected dropped  hi" in text(message(injected=True, dropped=True))
    by = ("rule modify-messages 1", "plugin \x1b[2J")
    told = text(message(edited=True, by=by))
    assert "  edited by rule modify-messages 1, plugin ␛[2J  hi" in told
    assert "  cut  hi" in text(message(cut=True))


def test_messages_are_safe_to_draw() -> None:
    hostile = "a\x1b[2J\u202eb\nc".encode()
    assert text(message(hostile)).endswith("a␛[2J<U+202E>b␊c")
    assert text(message(b"\x03\xe8\x1b]0;x", opcode=8)).isprintable()
    assert text(message(b"\x1b\xff", opcode=9)).isprintable()
    ended = WebSocketView((), ended_by="server", close_code=1000, close_reason="\x1b[2J")
    assert "".join(lines(ended)).isprintable()


def test_a_character_cut_in_two_is_left_out() -> None:
    assert text(message("ä".encode()[:1], size=500)).endswith("500  ")


def test_older_messages_that_are_gone_are_counted() -> None:
    one, more = (WebSocketView((message(),), forgotten=count) for count in (1, 7))
    assert lines(one)[0] == "1 older message was dropped to stay within bounds"
    assert lines(more)[0] == "7 older messages were dropped to stay within bounds"
    assert len(lines(more)) == 2


def test_the_end_is_told_below_the_messages() -> None:
    assert lines(WebSocketView(())) == ["There are no messages yet."]
    closed = WebSocketView((message(),), ended_by="client", close_code=3001, close_reason="enough")
    assert lines(closed)[1:] == ["", "Closed by the client with 3001: enough"]
    broken = WebSocketView((message(),), ended_by="server", close_code=1006)
    assert "without a close frame" in lines(broken)[-1]


def test_there_is_no_line_behind_the_last() -> None:
    made = MessageLines(WebSocketView((message(),)))
    with pytest.raises(IndexError):
        made.line(1)
