"""Every operator against its documented meaning."""

from __future__ import annotations

import gzip

import pytest

from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.policy.filters import Filter
from proxy_core.policy.filters.operators import OPERATORS
from tests.policy.flows import annotated, answered, request_flow, web_socket

JSON = (b"Content-Type", b"application/json")
HTML = (b"content-type", b"text/html; charset=utf-8")
GZIP = (b"content-encoding", b"gzip")

failed = request_flow()
failed.error = "the origin closed the connection"
held = request_flow()
held.state = FlowState.HELD
edited = request_flow()
edited.edited_by = ("plugin header-modifier", "rule 3")
noted = request_flow()
noted.notes = ("body over the limit streamed on", "second")
tunnel = request_flow(method=b"CONNECT", path=b"", kind=FlowKind.TUNNEL, body=b"up hello")
tunnel.response_body.feed(b"down hi")
other_host = request_flow((b"Host", b"public.test"))
asked = request_flow(JSON, (b"X-Token", b"abc"), method=b"POST", body=b"a question\nof two lines")
both = answered(
    HTML,
    (b"Server", b"demo"),
    status=404,
    body=b"an Answer",
    flow=request_flow(JSON, body=b"question"),
)
packed = answered(
    HTML, GZIP, body=gzip.compress(b"unpacked"), flow=request_flow(GZIP, body=gzip.compress(b"ask"))
)
socket = web_socket((True, b"ping me"), (False, b"pong you"))

# operator -> expression, flow, whether it matches
TABLE: dict[str, list[tuple[str, Flow, bool]]] = {
    "a": [
        ("~a", answered(HTML), False),
        ("~a", request_flow((b"content-type", b"text/css")), False),
        *[
            ("~a", answered((b"content-type", kind)), True)
            for kind in (
                b"text/javascript",
                b"application/x-javascript",
                b"application/javascript; charset=utf-8",
                b"text/css",
                b"image/png",
                b"font/woff2",
                b"application/font-woff",
            )
        ],
    ],
    "all": [("~all", tunnel, True), ("~all", failed, True), ("!~all", both, False)],
    "b": [
        ("~b question", both, True),
        ("~b answer", both, True),
        ("~b unpacked", packed, True),
        ("~b ^ask$", packed, True),
        ("~b nothing", both, False),
        ("~b question", request_flow(), False),
        ("~b question.of", asked, True),
        ("~b 'a.question'", asked, True),
        ("~b hello", tunnel, True),
        ("~b hi", tunnel, True),
        ("~b pong", socket, True),
    ],
    "bq": [
        ("~bq question", both, True),
        ("~bq answer", both, False),
        ("~bq hello", tunnel, True),
        ("~bq hi", tunnel, False),
        ("~bq ping", socket, True),
        ("~bq pong", socket, False),
    ],
    "bs": [
        ("~bs question", both, False),
        ("~bs answer", both, True),
        ("~bs hi", tunnel, True),
        ("~bs ping", socket, False),
        ("~bs pong", socket, True),
        ("~bs answer", request_flow(), False),
    ],
    "by": [
        ("~by header-modifier", edited, True),
        ("~by '^rule 3$'", edited, True),
        ("~by rule", both, False),
    ],
    "c": [
        ("~c 404", both, True),
        ("~c 200", both, False),
        ("~c 404", asked, False),
        ("~c 4xx", both, True),
        ("~c 4XX", both, True),
        ("~c 5xx", both, False),
        ("~c 400-404", both, True),
        ("~c 405-499", both, False),
        ("~c >=404", both, True),
        ("~c >404", both, False),
        ("~c <404", both, False),
        ("~c <=404", both, True),
        ("~c =404", both, True),
    ],
    "colour": [
        ("~colour red", annotated(colour="red"), True),
        ("~colour red", annotated(tag="red"), False),
    ],
    "comment": [
        ("~comment ^see$", annotated(comment="first\nsee\nlast"), True),
        ("~comment see", both, False),
        ("~comment .", annotated(comment="x"), True),
        ("~comment .", both, False),
    ],
    "d": [
        ("~d example.com", both, True),
        ("~d EXAMPLE.COM$", both, True),
        ("~d 8443", both, False),
        ("~d example.org", both, False),
        ("~d public", other_host, True),
        ("~d www", other_host, True),
        ("~d example", tunnel, True),
    ],
    "dns": [("~dns", both, False)],
    "dst": [
        ("~dst www.example.com:8443", both, True),
        ("~dst ^192.0.2.7:8443$", both, True),
        ("~dst 192.0.2.8", both, False),
        ("~dst :8443", request_flow(), True),
    ],
    "e": [("~e", failed, True), ("~e", both, False)],
    "h": [
        ("~h json", both, True),
        ("~h demo", both, True),
        ("~h '^server: demo$'", both, True),
        ("~h '^demo'", both, False),
        ("~h absent", both, False),
    ],
    "held": [("~held", held, True), ("~held", both, False)],
    "hq": [
        ("~hq 'content-type: application/json'", both, True),
        ("~hq demo", both, False),
        ("~hq '^x-token: ABC$'", asked, True),
    ],
    "hs": [("~hs json", both, False), ("~hs 'server: demo'", both, True), ("~hs x", asked, False)],
    "http": [("~http", both, True), ("~http", socket, True), ("~http", tunnel, False)],
    "id": [("~id 17", both, True), ("~id 18", both, False), ("~id 10-20", both, True)],
    "m": [("~m post", asked, True), ("~m ^P", asked, True), ("~m post", both, False)],
    "marked": [("~marked", annotated(mark="x"), True), ("~marked", both, False)],
    "marker": [("~marker ^x$", annotated(mark="x"), True), ("~marker y", both, False)],
    "meta": [
        ("~meta '^tag: blue$'", annotated(comment="c", tag="blue"), True),
        ("~meta tag", both, False),
    ],
    "note": [
        ("~note 'over the limit'", noted, True),
        ("~note ^second", noted, True),
        ("~note x", both, False),
    ],
    "q": [("~q", asked, True), ("~q", both, False), ("~q", tunnel, False)],
    "replay": [
        ("~replay", annotated(replay="request"), True),
        ("~replay", annotated(replay="response"), True),
        ("~replay", both, False),
    ],
    "replayq": [
        ("~replayq", annotated(replay="request"), True),
        ("~replayq", annotated(replay="response"), False),
        ("~replayq", both, False),
    ],
    "replays": [
        ("~replays", annotated(replay="response"), True),
        ("~replays", annotated(replay="request"), False),
        ("~replays", both, False),
    ],
    "s": [("~s", both, True), ("~s", asked, False), ("~s", tunnel, False)],
    "size": [("~size 17", both, True), ("~size >1k", both, False), ("~size 0", failed, True)],
    "sizeq": [("~sizeq 8", both, True), ("~sizeq 8b", both, True), ("~sizeq >8", both, False)],
    "sizes": [("~sizes 9", both, True), ("~sizes 1k-2k", both, False)],
    "src": [
        ("~src ^127.0.0.1:50123$", both, True),
        ("~src :50123", both, True),
        ("~src 10.0", both, False),
    ],
    "t": [
        ("~t json", both, True),
        ("~t html", both, True),
        ("~t ^text/html", both, True),
        ("~t xml", both, False),
    ],
    "tag": [("~tag blue", annotated(tag="blue"), True), ("~tag blue", both, False)],
    "tcp": [("~tcp", tunnel, True), ("~tcp", both, False)],
    "time": [
        ("~time >1s", both, True),
        ("~time >1500ms", both, False),
        ("~time 1.5", both, True),
        ("~time <1m", both, True),
        ("~time >0", asked, False),
    ],
    "tq": [("~tq json", both, True), ("~tq html", both, False)],
    "ts": [("~ts json", both, False), ("~ts html", both, True), ("~ts json", asked, False)],
    "u": [
        ("~u example", both, True),
        ("~u ^https://www.example.com:8443/index", both, True),
        ("index\\.html", both, True),
        ("INDEX", both, True),
        ("index.php", both, False),
        ("example", tunnel, True),
        ("~u &id=", request_flow(path=b"/?a=1&id=2"), True),
    ],
    "udp": [("~udp", both, False)],
    "websocket": [("~websocket", socket, True), ("~websocket", both, False)],
}


def test_the_table_knows_every_operator() -> None:
    assert set(TABLE) == set(OPERATORS)


@pytest.mark.parametrize(
    ("expression", "flow", "expected"), [case for cases in TABLE.values() for case in cases]
)
def test_an_operator_matches_as_documented(expression: str, flow: Flow, expected: bool) -> None:
    assert Filter(expression)(flow) is expected
    assert Filter(f"!{expression}")(flow) is not expected


def test_at_the_request_what_a_response_is_asked_for_is_not_there() -> None:
    flow = request_flow(JSON, body=b"x")
    for expression in ("~s", "~c 200", "~hs .", "~ts .", "~a", "~time >=0", "~bs ."):
        assert not Filter(expression)(flow), expression


def test_a_body_that_hooks_decide_about_is_searched_whole() -> None:
    flow = request_flow(GZIP)
    flow.whole = WholeBody(gzip.compress(b"in flight"))
    assert Filter("~bq 'in flight'")(flow)
    assert not Filter("~bs flight")(flow)
    flow = answered(flow=request_flow())
    flow.whole = WholeBody(b"coming back")
    assert Filter("~bs back")(flow)
    assert not Filter("~bq back")(flow)


def test_a_compacted_flow_matches_as_before() -> None:
    flow = answered(HTML, status=404, body=b"an Answer", flow=request_flow(JSON, body=b"question"))
    flow.compact()
    for expression, _, expected in TABLE["h"] + TABLE["t"] + TABLE["hs"][:2] + TABLE["tq"]:
        if "demo" not in expression:
            assert Filter(expression)(flow) is expected, expression
    assert flow.request._headers is None  # and keeps no more than before


def test_a_body_broken_in_its_coding_is_searched_as_far_as_it_goes() -> None:
    cut = gzip.compress(b"beginning " * 400)[:-12]
    assert Filter("~bs beginning")(answered(GZIP, body=cut))
    assert Filter("~bs plain")(answered(GZIP, body=b"plain, not gzip"))


@pytest.mark.parametrize("word", ["яч", "测试", "Äÿ", "神"])
def test_bodies_are_searched_for_text_in_utf_8(word: str) -> None:
    assert Filter(f"~bs {word}")(answered(body=f"x {word} y".encode()))
    assert not Filter(f"~bs {word}")(answered(body=b"x y"))


def test_bytes_that_are_no_text_are_matched_by_a_dot() -> None:
    assert Filter(r"~bs ^\x89PNG.{4}$")(answered(body=b"\x89PNG\r\n\x1a\n"))


@pytest.mark.parametrize(
    ("expression", "request_body", "response", "response_body"),
    [
        ("~u a", False, False, False),
        ("~b a", True, True, True),
        ("~u a | !(~bq b ~m get)", True, False, False),
        ("~bs a", False, True, True),
        ("~c 200", False, True, False),
        ("~q", False, True, False),
        ("~hq a", False, False, False),
        ("~h a", False, True, False),
    ],
)
def test_a_filter_tells_what_it_needs(
    expression: str, request_body: bool, response: bool, response_body: bool
) -> None:
    made = Filter(expression)
    assert made.needs_request_body is request_body
    assert made.needs_response is response
    assert made.needs_response_body is response_body
