from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from int3rceptor_tui.view_model.detail_lines import fact_lines, head_lines, held_lines
from int3rceptor_tui.view_model.lines import Piece
from proxy_core.control.views import (
    BodyView,
    CertificateView,
    ConnectionView,
    FlowDetail,
    FlowSummary,
    HeadView,
    TlsView,
)
from proxy_core.model.flow import FlowKind, FlowState
from proxy_core.model.ids import FlowId

HOSTILE = "a\x1b[2J\x9b\u202eb\n"
SHOWN = "a\u241b[2J<U+009B><U+202E>b\u240a"
T = 1_700_000_000.0


def text(row: Sequence[Piece]) -> str:
    return "".join(piece for piece, _ in row)


def head(start_line: str, *fields: tuple[str, str]) -> HeadView:
    return HeadView(start_line=start_line, fields=fields, raw=b"")


def flow_of(**changes: object) -> FlowDetail:
    flow = FlowDetail(
        summary=FlowSummary(
            id=FlowId(7),
            kind=FlowKind.HTTP,
            state=FlowState.DONE,
            started=T,
            method="GET",
            scheme="https",
            host="example.org",
            port=443,
            path="/",
            protocol="HTTP/1.1",
            request_size=0,
            response_size=2048,
        ),
        url="https://example.org/",
        request=head("GET / HTTP/1.1"),
        request_body=BodyView(kept=b"", size=0),
        client=ConnectionView(id=3, address="127.0.0.1:5000", opened=T - 1),
    )
    return msgspec.structs.replace(flow, **changes)


def facts(flow: FlowDetail) -> dict[str, str]:
    return {
        text(row)[:16].strip(): text(row)[16:].strip()
        for row in fact_lines(flow)
        if text(row).startswith("  ")
    }


def test_a_held_flow_says_by_whom_and_what_can_be_done() -> None:
    flow = flow_of(notes=("held by rule 1", "odd", "held by plugin \x1bx"))
    assert held_lines(flow) == []
    held = msgspec.structs.replace(
        flow, summary=msgspec.structs.replace(flow.summary, state=FlowState.HELD)
    )
    (row, gap) = held_lines(held)
    assert text(row) == "Held by plugin ␛x: a lets it go on, X ends it"
    assert gap == []


# --- heads


def test_a_head_is_its_start_line_and_its_fields_in_order() -> None:
    rows = head_lines(head("GET / HTTP/1.1", ("Host", "a"), ("X", "1"), ("X", "1")))
    assert rows[0] == [("GET / HTTP/1.1", "heading")]
    assert rows[1] == [("Host", "key"), (": ", "dim"), ("a", "")]
    assert [text(row) for row in rows[2:]] == ["X: 1", "X: 1"]


def test_a_proxy_that_leaves_out_the_authority_has_changed_nothing() -> None:
    received = head("GET http://a.test:81/x?http://b/ HTTP/1.1", ("A", "1"))
    shown = [text(row) for row in head_lines(head("GET /x?http://b/ HTTP/1.1"), received)]
    assert shown == ["GET /x?http://b/ HTTP/1.1", "- A: 1"]


def test_changes_on_the_way_are_marked() -> None:
    received = head("GET /a HTTP/1.1", ("Host", "a"), ("Old", "1"), ("X", "1"))
    sent = head("GET /b HTTP/1.1", ("Host", "a"), ("X", "2"))
    rows = head_lines(sent, received)
    assert [(text(row), row[0][1]) for row in rows] == [
        ("- GET /a HTTP/1.1", "bad"),
        ("GET /b HTTP/1.1", "heading"),
        ("Host: a", "key"),
        ("+ X: 2", "good"),
        ("- Old: 1", "bad"),
        ("- X: 1", "bad"),
    ]


def test_one_more_or_one_less_of_the_same_field_is_a_change() -> None:
    one, two = head("S", ("X", "1")), head("S", ("X", "1"), ("X", "1"))
    assert [text(row) for row in head_lines(two, one)] == ["S", "X: 1", "+ X: 1"]
    assert [text(row) for row in head_lines(one, two)] == ["S", "X: 1", "- X: 1"]


def test_a_head_that_lost_all_its_fields_keeps_its_order() -> None:
    rows = head_lines(head("new"), head("old", ("X", "1")))
    assert [text(row) for row in rows] == ["- old", "new", "- X: 1"]


def test_heads_that_are_the_same_have_no_marks() -> None:
    same = head("S", ("X", "1"), ("Y", "2"))
    assert head_lines(same, same) == head_lines(same)


def test_heads_are_safe_to_draw() -> None:
    bad = head(HOSTILE, (HOSTILE, HOSTILE))
    for rows in (
        head_lines(bad),
        head_lines(bad, head("", ("", HOSTILE))),
        head_lines(head(""), bad),
    ):
        joined = "".join(map(text, rows))
        assert joined.isprintable()
        assert SHOWN in joined


# --- facts


def test_timings_tell_when_and_how_long_since_the_step_before() -> None:
    flow = flow_of(
        server=ConnectionView(
            id=4, address="10.0.0.1:443", opened=T, connected=T + 0.02, secured=T + 0.05
        ),
        request_sent=T + 0.06,
        first_byte=T + 0.5,
        ended=T + 2,
    )
    said = facts(flow)
    assert said["connected"] == "20ms  (+20ms)"
    assert said["secured"] == "50ms  (+30ms)"
    assert said["request sent"] == "60ms  (+10ms)"
    assert said["first byte"] == "500ms  (+440ms)"
    assert said["ended"] == "2.0s  (+1.5s)"


def test_a_connection_used_again_took_no_time_in_this_flow() -> None:
    old = ConnectionView(id=4, address="o:443", opened=T - 9, connected=T - 8, secured=T - 7)
    said = facts(flow_of(server=old, ended=T + 1))
    assert "connected" not in said
    assert "secured" not in said
    assert said["ended"] == "1.0s  (+1.0s)"


def test_a_clock_that_went_back_gives_no_negative_times() -> None:
    assert facts(flow_of(ended=T - 5))["ended"] == "0us  (+0us)"


@pytest.mark.parametrize(("verified", "words"), [(True, "verified"), (False, "not verified")])
def test_tls_is_told_for_each_side(verified: bool, words: str) -> None:
    server = TlsView("TLSv1.3", "TLS_AES_256_GCM_SHA384", "h2", "example.org", verified)
    said = facts(flow_of(server=ConnectionView(id=4, address="10.0.0.1:443", opened=T, tls=server)))
    assert said["TLS"] == "TLSv1.3, TLS_AES_256_GCM_SHA384"
    assert said["ALPN"] == "h2"
    assert said["SNI"] == "example.org"
    assert said["certificate"] == words


def test_a_clients_fingerprints_are_told() -> None:
    tls = TlsView("TLSv1.2", "C", None, None, False, ja3="771,4865", ja4="t13d1516h2")
    said = facts(flow_of(client=ConnectionView(id=3, address="c:1", opened=T, tls=tls)))
    assert said["JA3"] == "771,4865"
    assert said["JA4"] == "t13d1516h2"
    assert said["ALPN"] == said["SNI"] == "none"


def test_sizes_edits_notes_and_annotations_are_told() -> None:
    said = facts(
        flow_of(notes=("streamed",), edited_by=("sdk-demo",), annotations={"risk": "high"})
    )
    assert said["response body"] == "2.0k (2048 bytes)"
    assert said["note"] == "streamed"
    assert said["edited by"] == "sdk-demo"
    assert said["risk"] == "high"


def test_an_error_comes_first() -> None:
    flow = flow_of()
    failed = msgspec.structs.replace(flow.summary, error="no route to host")
    rows = fact_lines(msgspec.structs.replace(flow, summary=failed))
    assert [text(row) for row in rows[:2]] == ["Error", "  no route to host"]
    assert "Error" not in [text(row) for row in fact_lines(flow)]


def test_facts_are_safe_to_draw() -> None:
    tls = TlsView(HOSTILE, HOSTILE, HOSTILE, HOSTILE, False, HOSTILE, HOSTILE)
    side = ConnectionView(id=1, address=HOSTILE, opened=T, tls=tls)
    flow = flow_of(
        url=HOSTILE,
        client=side,
        server=side,
        notes=(HOSTILE,),
        edited_by=(HOSTILE,),
        annotations={HOSTILE: HOSTILE},
    )
    failed = msgspec.structs.replace(flow.summary, error=HOSTILE)
    rows = fact_lines(msgspec.structs.replace(flow, summary=failed))
    assert all(text(row).isprintable() for row in rows)
    # Error, URL, note, editor, an annotation's name and value; seven facts of each side.
    assert sum(text(row).count(SHOWN) for row in rows) == 6 + 2 * 7


def test_what_a_client_offered_and_an_origin_showed_is_told() -> None:
    offered = TlsView(
        "TLSv1.3", "C", "h2", None, False, "j3", "j4", ("h2", "http/1.1"), ("TLSv1.3", "TLSv1.2")
    )
    certificate = CertificateView(f"CN={HOSTILE}", "CN=CA", ("a.example", "b.example"), T, T, "ab")
    flow = flow_of(
        client=ConnectionView(1, "127.0.0.1:5", T, tls=offered, mode="socks5"),
        server=ConnectionView(
            2,
            "192.0.2.1:443",
            T,
            tls=TlsView("TLSv1.3", "C", None, "x", True, certificate=certificate),
        ),
    )
    lines = [text(row) for row in fact_lines(flow)]
    for words in (
        "socks5",
        "h2 (offered h2, http/1.1)",
        "TLSv1.3, TLSv1.2",
        f"CN={SHOWN}",
        "a.example, b.example",
        "2023-11-1",
    ):
        assert any(words in line for line in lines), words
