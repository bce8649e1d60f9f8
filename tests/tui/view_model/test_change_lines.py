"""What was done to a flow, as lines."""

from __future__ import annotations

import gzip

from int3rceptor_tui.view_model.change_lines import change_lines, editors
from int3rceptor_tui.view_model.lines import Piece
from proxy_core.control.views import BodyView, ChangeView, FlowDetail, HeadView
from tests.tui.fake_control import make_detail, make_summary


def head(start_line: str, *fields: tuple[str, str]) -> HeadView:
    return HeadView(start_line, fields, b"")


def shown(rows: list[list[Piece]]) -> list[str]:
    return ["".join(text for text, _ in row) for row in rows]


GET = head("GET /a HTTP/1.1", ("Host", "a"), ("Cookie", "1"), ("Accept", "*/*"))
OK = head("HTTP/1.1 200 OK", ("X", "1"))


def flow_with(*changes: ChangeView, **others: object) -> FlowDetail:
    return make_detail(make_summary(1), changes=changes, **others)


def test_each_change_has_a_section_with_who_and_which_message_in_order() -> None:
    after = head("GET /b HTTP/1.1", ("Host", "a"), ("Accept", "*/*"), ("X-By", "alpha"))
    flow = flow_with(
        ChangeView("plugin alpha", False, GET, after),
        ChangeView("rule 3", True, OK, head("HTTP/1.1 404 Not Found", ("X", "2"))),
    )
    assert shown(change_lines(flow)) == [
        "1  plugin alpha changed the request",
        "- GET /a HTTP/1.1",
        "+ GET /b HTTP/1.1",
        "- Cookie: 1",
        "+ X-By: alpha",
        "",
        "2  rule 3 changed the response",
        "- HTTP/1.1 200 OK",
        "+ HTTP/1.1 404 Not Found",
        "- X: 1",
        "+ X: 2",
    ]
    assert editors(flow) == ("plugin alpha", "rule 3")


def test_how_a_body_is_framed_is_nobodys_edit() -> None:
    flow = flow_with(
        ChangeView(
            "plugin late",
            True,
            head("HTTP/1.1 200 OK", ("content-length", "8"), ("X", "1")),
            head("HTTP/1.1 200 OK", ("Transfer-Encoding", "chunked"), ("X", "2")),
        )
    )
    assert shown(change_lines(flow))[1:] == ["- X: 1", "+ X: 2"]


def test_only_what_one_of_them_did_is_shown_with_its_number_among_all() -> None:
    flow = flow_with(
        ChangeView("plugin alpha", True, OK, head("HTTP/1.1 200 OK")),
        ChangeView("plugin beta", True, head("HTTP/1.1 200 OK"), OK),
    )
    assert shown(change_lines(flow, "plugin beta")) == [
        "2  plugin beta changed the response",
        "+ X: 1",
    ]
    assert shown(change_lines(flow, "plugin gamma")) == [
        "plugin gamma changed nothing of this flow on its way.",
        "What did: plugin alpha, plugin beta.",
    ]


def test_a_flow_that_nothing_changed_says_so() -> None:
    assert shown(change_lines(flow_with())) == ["Nothing changed this flow on its way."]


def test_edits_that_are_not_kept_are_not_denied() -> None:
    rows = shown(change_lines(flow_with(edited_by=("plugin mock",))))
    assert rows[0] == "What did: plugin mock."
    assert "Nothing" not in "".join(rows)


def test_a_body_is_told_apart_as_decoded_text() -> None:
    packed = gzip.compress(b"one\ntwo\nthree\nfour\nfive\nsix\n")
    before = BodyView(packed, len(packed), "text/plain", "gzip")
    text = b"one\ntwo\nthree\nfour\nFIVE\nsix\n"
    after = BodyView(text, len(text), "text/plain")
    assert shown(change_lines(flow_with(ChangeView("rule 1", True, OK, OK, before, after)))) == [
        "1  rule 1 changed the response",
        f"~ body  {len(packed)} gzip → {len(text)}",
        "  ...",
        "  three",
        "  four",
        "- five",
        "+ FIVE",
        "  six",
        "  ",
    ]


def test_hostile_text_is_made_visible() -> None:
    change = ChangeView(
        "plugin \x1b[2J",
        True,
        OK,
        head("HTTP/1.1 200 \x1b[2J", ("X\x9b", "\x07")),
        BodyView(b"a", 1),
        BodyView(b"\x1b[2Ja", 5),
    )
    rows = shown(change_lines(flow_with(change)))
    assert all(line.isprintable() for line in rows)
    assert shown(change_lines(flow_with(change), "\x1b"))[0].isprintable()


def test_a_change_into_the_same_is_said_to_be_one() -> None:
    rows = shown(change_lines(flow_with(ChangeView("rule 1", True, OK, OK))))
    assert rows == ["1  rule 1 changed the response", "  into what it was: nothing differs"]


def test_an_edit_in_pieces_is_told_though_nothing_of_it_is_kept() -> None:
    rows = shown(change_lines(flow_with(ChangeView("plugin a", True, OK, OK, in_pieces=True))))
    assert rows == [
        "1  plugin a changed the response",
        "  its body, piece by piece: what that was is not kept",
    ]
