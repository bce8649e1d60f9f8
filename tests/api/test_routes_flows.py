from __future__ import annotations

import base64

import pytest

from proxy_core.model.edits import Change
from proxy_core.model.headers import Headers
from proxy_core.model.message import RequestHead
from proxy_core.model.websocket import WebSocketLog, WebSocketMessage
from tests.api.asgi import Client
from tests.control.cores import RunningCore, make_flow


def decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


async def test_the_newest_flows_come_oldest_first(core: RunningCore, api: Client) -> None:
    for number in range(1, 6):
        core.begin(make_flow(number))
    document = (await api.get("/api/flows?limit=2")).document
    assert [flow["id"] for flow in document["flows"]] == [4, 5]
    assert document["total"] == 5
    assert document["flows"][0]["method"] == "GET"
    assert document["flows"][0]["state"] == "active"
    assert (await api.get("/api/flows?limit=0")).document["flows"] == []


async def test_a_hundred_come_unless_asked_otherwise(core: RunningCore, api: Client) -> None:
    for number in range(1, 121):
        core.begin(make_flow(number))
    assert len((await api.get("/api/flows")).document["flows"]) == 100
    assert len((await api.get("/api/flows?limit=1000")).document["flows"]) == 120


@pytest.mark.parametrize("limit", ["-1", "1001", "many", "1e3", "", "1&limit=2"])
async def test_a_limit_that_makes_no_sense_is_400(api: Client, limit: str) -> None:
    assert (await api.get(f"/api/flows?limit={limit}")).status == 400


async def test_one_flow_is_told_whole(core: RunningCore, api: Client) -> None:
    flow = make_flow(7, b"/hello")
    core.begin(flow)
    core.end(flow, b"caf\xc3\xa9")
    document = (await api.get("/api/flows/7")).document
    assert document["summary"]["id"] == 7
    assert document["url"] == "http://example.com/hello"
    assert document["request"]["start_line"] == "GET /hello HTTP/1.1"
    assert document["request"]["headers"] == [{"name": "Host", "value": "example.com"}]
    assert decoded(document["request"]["raw_base64"]).startswith(b"GET /hello HTTP/1.1\r\n")
    body = document["response_body"]
    assert (body["text"], body["base64"], body["size"], body["truncated"]) == (
        "caf\u00e9",
        None,
        5,
        False,
    )
    assert document["request_received"] is None
    assert document["web_socket"] is None


async def test_bytes_that_are_no_text_survive(core: RunningCore, api: Client) -> None:
    flow = make_flow(1)
    odd = Headers([(b"Host", b"example.com"), (b"X-Odd", b"a\xff\x00b"), (b"X-\xfe", b"\xc3\xa9")])
    flow.request = RequestHead(b"GET", "http", b"example.com", b"/\xff", odd)
    flow.response_body.trailers = [(b"X-End", b"\xe9")]
    raw = flow.request.raw
    core.begin(flow)
    core.end(flow, b"\x00\xff\xc3")
    document = (await api.get("/api/flows/1")).document
    _, odd_value, odd_name = document["request"]["headers"]
    assert decoded(odd_value["value_base64"]) == b"a\xff\x00b"
    assert "name_base64" not in odd_value
    assert decoded(odd_name["name_base64"]) == b"X-\xfe"
    assert (odd_name["value"], "value_base64" in odd_name) == ("\u00e9", False)
    assert decoded(document["request"]["raw_base64"]) == raw
    body = document["response_body"]
    assert body["text"] is None
    assert decoded(body["base64"]) == b"\x00\xff\xc3"
    assert decoded(body["trailers"][0]["value_base64"]) == b"\xe9"


async def test_a_body_that_was_not_kept_whole_says_so(core: RunningCore, api: Client) -> None:
    flow = make_flow(1, body_limit=10)
    core.begin(flow)
    core.end(flow, b"x" * 100_000)
    body = (await api.get("/api/flows/1")).document["response_body"]
    assert (body["size"], body["truncated"]) == (100_000, True)
    assert body["kept"] == len(body["text"]) < 100_000


async def test_changes_name_who_made_them(core: RunningCore, api: Client) -> None:
    flow = make_flow(1)
    first = flow.request
    second = first.replace(headers=Headers([(b"Host", b"example.com"), (b"X", b"1")]))
    flow.request_received = first
    flow.request = second.replace(path=b"/other")
    flow.edited_by = ("plugin a", "plugin b")
    core.begin(flow)
    core.end(flow, b"new")
    assert flow.response is not None
    flow.changes = (
        Change("plugin a", first),
        Change("plugin b", second),
        Change("plugin b", flow.response, b"old"),
    )
    changes = (await api.get("/api/flows/1")).document["changes"]
    assert [(change["by"], change["message"]) for change in changes] == [
        ("plugin a", "request"),
        ("plugin b", "request"),
        ("plugin b", "response"),
    ]
    added, moved, body = changes
    assert added["after"]["headers"][1] == {"name": "X", "value": "1"}
    assert added["before"]["headers"] == added["after"]["headers"][:1]
    assert added["body_before"] is None
    assert added["body_after"] is None
    assert moved["after"]["start_line"] == "GET http://example.com/other HTTP/1.1"
    assert (body["body_before"]["text"], body["body_after"]["text"]) == ("old", "new")


async def test_messages_of_a_websocket_are_told(core: RunningCore, api: Client) -> None:
    flow = make_flow(1)
    flow.web_socket = WebSocketLog(1000)
    flow.web_socket.add(WebSocketMessage(True, 1, 1.0, b"hi", 2))
    edited = WebSocketMessage(False, 2, 2.0, b"\xff\x00", 2)
    edited.by = ("plugin a",)
    flow.web_socket.add(edited)
    core.begin(flow)
    messages = (await api.get("/api/flows/1")).document["web_socket"]["messages"]
    assert [(m["from_client"], m["text"]) for m in messages] == [(True, "hi"), (False, None)]
    assert decoded(messages[1]["base64"]) == b"\xff\x00"
    assert [(m["by"], m["held"]) for m in messages] == [([], False), (["plugin a"], False)]


@pytest.mark.parametrize(
    ("flow_id", "status"),
    [("99", 404), ("0", 404), ("x", 400), ("-1", 400), ("\u0661", 400), ("9" * 6000, 400)],
)
async def test_flows_that_are_not_there(api: Client, flow_id: str, status: int) -> None:
    reply = await api.get(f"/api/flows/{flow_id}")
    assert reply.status == status
    assert reply.document["error"]


@pytest.mark.parametrize("count", [0, 1, 256, 257, 700])
async def test_messages_are_all_told_however_many(
    core: RunningCore, api: Client, count: int
) -> None:
    flow = make_flow(1)
    flow.web_socket = WebSocketLog(10**9)
    for number in range(count):
        flow.web_socket.add(WebSocketMessage(True, 1, 1.0, b"%d" % number))
    core.begin(flow)
    messages = (await api.get("/api/flows/1")).document["web_socket"]["messages"]
    assert [message["text"] for message in messages] == [str(number) for number in range(count)]
