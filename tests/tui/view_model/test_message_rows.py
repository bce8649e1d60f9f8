from __future__ import annotations

import pytest

from int3rceptor_tui.view_model.message_rows import (
    MessageRows,
    message_cells,
    message_content,
    message_head,
)
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
    return "  ".join(piece for piece, _ in message_cells(shown))


def rows(web_socket: WebSocketView) -> MessageRows:
    made = MessageRows()
    made.show(web_socket)
    return made


def lines(web_socket: WebSocketView) -> list[str]:
    made = rows(web_socket)
    return ["".join(piece for piece, _ in made.cells_at(i)) for i in range(len(made))]


def head(shown: WebSocketMessageView) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in message_head(shown, 7)]


def test_a_line_has_time_arrow_type_size_and_text() -> None:
    time, arrow, name, size, preview = text(message(b"x" * 2048)).split()
    assert time.endswith(".250")
    assert (arrow, name, size) == ("->", "text", "2.0k")
    assert preview == "x" * 400 + "…"


def test_binary_is_shown_as_hexadecimal() -> None:
    assert text(message(b"\0\xff", opcode=2, from_client=False)).endswith("<-  binary  2  00 ff")
    assert text(message(bytes(401), opcode=2)).endswith("00 00…")


@pytest.mark.parametrize(("opcode", "name"), [(9, "ping"), (10, "pong"), (8, "close")])
def test_control_frames_have_names(opcode: int, name: str) -> None:
    assert name in text(message(b"", opcode=opcode))


def test_a_close_frame_is_its_code_and_reason() -> None:
    assert text(message(b"\x03\xe8bye", opcode=8)).endswith("  1000 bye")


def test_what_was_done_to_a_message_is_told() -> None:
    assert "  [edited] hi" in text(message(edited=True))
    assert "  [injected dropped] hi" in text(message(injected=True, dropped=True))
    by = ("rule modify-messages 1", "plugin \x1b[2J")
    told = text(message(edited=True, by=by))
    assert "  [edited by rule modify-messages 1, plugin ␛[2J] hi" in told
    assert "  [held] hi" in text(message(held=True))
    assert "  [cut] hi" in text(message(cut=True))


def test_messages_are_safe_to_draw() -> None:
    hostile = "a\x1b[2J\u202eb\nc".encode()
    assert text(message(hostile)).endswith("a␛[2J<U+202E>b␊c")
    assert text(message(b"\x03\xe8\x1b]0;x", opcode=8)).isprintable()
    assert text(message(b"\x1b\xff", opcode=9)).isprintable()
    ended = WebSocketView((), ended_by="server", close_code=1000, close_reason="\x1b[2J")
    assert "".join(lines(ended)).isprintable()


def test_a_character_cut_in_two_is_left_out() -> None:
    assert text(message("ä".encode()[:1], size=500)).endswith("  500  ")


def test_older_messages_that_are_gone_are_counted() -> None:
    one, more = (WebSocketView((message(),), forgotten=count) for count in (1, 7))
    assert lines(one)[0] == "1 older message was dropped to stay within bounds"
    assert lines(more)[0] == "7 older messages were dropped to stay within bounds"
    assert len(lines(more)) == 2


def test_the_end_is_told_below_the_messages() -> None:
    assert lines(WebSocketView(())) == ["There are no messages yet."]
    closed = WebSocketView((message(),), ended_by="client", close_code=3001, close_reason="enough")
    assert lines(closed)[1:] == ["Closed by the client with 3001: enough"]
    broken = WebSocketView((message(),), ended_by="server", close_code=1006)
    assert "without a close frame" in lines(broken)[-1]


def test_there_is_no_line_behind_the_last() -> None:
    made = rows(WebSocketView((message(),)))
    with pytest.raises(IndexError):
        made.key_at(1)


def test_a_message_keeps_its_key_while_older_ones_go() -> None:
    messages = tuple(message(b"%d" % number) for number in range(5))
    made = rows(WebSocketView(messages, ended_by="client", close_code=1000))
    keys = [made.key_at(index) for index in range(len(made))]
    assert keys == [0, 1, 2, 3, 4, 5]
    assert made.message(5) is None
    made.show(WebSocketView(messages[3:], forgotten=3))
    assert [made.key_at(index) for index in range(len(made))] == [2, 3, 4]
    assert [made.message(key) for key in (2, 3, 4)] == [None, *messages[3:]]
    assert [made.index_of(key) for key in (0, 2, 3, 4, 5)] == [0, 0, 1, 2, 3]
    assert made.total == 5


def test_a_message_shown_whole_has_all_that_is_known_of_it() -> None:
    edited = message(b"hi", edited=True, by=("rule x",), compressed=True)
    assert head(edited)[0].startswith("Message 7, client to server  ")
    assert head(edited)[1:] == ["text, 2 bytes, compressed on the wire", "edited by rule x", ""]
    closed = message(b"\x03\xe8bye \x1b", opcode=8, from_client=False)
    assert head(closed)[0].startswith("Message 7, server to client  ")
    assert head(closed)[1] == "close, 7 bytes, code 1000"
    content = message_content(closed)
    assert [p for p, _ in content.open("text").line(0)] == ["bye ␛"]


def test_a_message_is_looked_at_in_the_ways_that_suit_it() -> None:
    assert message_content(message(b'{"a": [1]}')).modes == ("json", "text", "hex")
    assert message_content(message(b"\0\1", opcode=2)).modes == ("hex", "text")
    (note, *_) = message_content(message(b"abc", size=5000)).open("text").line(0)
    assert note == ("the first 3 of 4.9k were kept", "notice")
