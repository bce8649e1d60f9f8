"""Views of flows: every odd flow has a row and a detail."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization

from proxy_core.control import render
from proxy_core.control.render import detail, media_type, summarize
from proxy_core.control.views import WebSocketMessageView
from proxy_core.model.connection import ClientConnection, ServerConnection, TlsFacts
from proxy_core.model.edits import Change
from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.headers import Headers
from proxy_core.model.ids import ConnectionId, FlowId
from proxy_core.model.message import HTTP_2, RequestHead, ResponseHead
from proxy_core.model.websocket import WebSocketEnd, WebSocketLog, WebSocketMessage
from tests.ca.certificates import make
from tests.control.cores import finish, make_flow


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n", "text/html"),
        (b"HTTP/1.1 200 OK\r\ncontent-type:Application/JSON\r\n\r\n", "application/json"),
        (b":status: 200\r\ncontent-type: image/png\r\n\r\n", "image/png"),
        (b"HTTP/1.1 200 OK\r\nX-Content-Type: text/css\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Type:\r\nX: y\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
    ],
)
def test_media_type_is_the_type_alone(head: bytes, expected: str | None) -> None:
    assert media_type(head) == expected


@pytest.mark.parametrize(
    ("authority", "scheme", "host", "port"),
    [
        (b"example.com", "https", "example.com", 443),
        (b"example.com:8443", "https", "example.com", 8443),
        (b"[::1]:81", "http", "::1", 81),
        (b"caf\xe9.example", "http", "café.example", 80),
    ],
)
def test_host_and_port_are_decoded(authority: bytes, scheme: str, host: str, port: int) -> None:
    flow = make_flow(1)
    flow.request = RequestHead(b"GET", scheme, authority, b"/")
    row = summarize(flow)
    assert (row.host, row.port) == (host, port)


def test_a_flow_under_way_has_no_status_and_no_duration() -> None:
    row = summarize(make_flow(1))
    assert (row.state, row.status, row.duration) == (FlowState.ACTIVE, None, None)


def test_the_protocol_is_the_one_the_client_spoke() -> None:
    flow = make_flow(1)
    flow.request_received = RequestHead(b"GET", "https", b"a", b"/", version=HTTP_2)
    assert summarize(flow).protocol == "HTTP/2"


def test_a_failed_flow_shows_its_error_without_a_response() -> None:
    flow = make_flow(1)
    flow.state, flow.error, flow.ended = FlowState.FAILED, "connection refused", flow.started + 1
    shown = detail(flow)
    assert shown.response is None
    assert shown.response_body is None
    assert shown.summary.error == "connection refused"


def test_a_tunnel_shows_the_bytes_of_both_directions() -> None:
    connect = RequestHead(b"CONNECT", "https", b"example.com:443", b"")
    client = make_flow(1).client
    flow = Flow(FlowId(2), client, connect, 1000.0, 10, kind=FlowKind.TUNNEL)
    flow.request_body.feed(b"ping")
    flow.response_body.feed(b"pong, and more than is kept")
    shown = detail(flow)
    assert shown.request.start_line == "CONNECT example.com:443 HTTP/1.1"
    assert shown.request_body.kept == b"ping"
    assert shown.response_body is not None
    assert shown.response_body.truncated
    assert shown.response_body.size == 27


def test_http2_heads_get_a_start_line_and_no_pseudo_fields() -> None:
    flow = make_flow(1)
    fields = Headers([(b"accept", b"*/*")])
    flow.request = RequestHead(b"GET", "https", b"example.com", b"/a", fields, HTTP_2)
    flow.response = ResponseHead(204, b"", Headers([(b"server", b"x")]), HTTP_2)
    shown = detail(flow)
    assert shown.request.start_line == "GET /a HTTP/2"
    assert shown.request.fields == (("accept", "*/*"),)
    assert shown.request.raw.startswith(b":method: GET\r\n")
    assert shown.response is not None
    assert shown.response.start_line == "HTTP/2 204"
    assert shown.response.fields == (("server", "x"),)


def test_looking_at_a_finished_flow_leaves_it_compact() -> None:
    flow = make_flow(1)
    finish(flow)
    detail(flow)
    summarize(flow)
    assert flow.request._headers is None
    assert flow.response is not None
    assert flow.response._headers is None


def test_edits_keep_what_was_received_beside_what_was_sent() -> None:
    flow = make_flow(1)
    flow.request_received = flow.request
    flow.request = flow.request.replace(path=b"/edited")
    flow.edited_by = ("plugin alpha",)
    shown = detail(flow)
    assert shown.request.start_line == "GET /edited HTTP/1.1"
    assert shown.request_received is not None
    assert shown.request_received.start_line == "GET / HTTP/1.1"
    assert shown.edited_by == ("plugin alpha",)


def test_connections_show_addresses_and_tls() -> None:
    flow = make_flow(1)
    tls = TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", "h2", "example.com", b"der", True)
    flow.client = ClientConnection(
        ConnectionId(3), ("::1", 999), ("::1", 8080), "regular", 1.0, tls=tls
    )
    flow.server = ServerConnection(ConnectionId(4), "example.com", 443, opened=2.0)
    shown = detail(flow)
    assert shown.client.address == "[::1]:999"
    assert shown.client.tls is not None
    assert (shown.client.tls.alpn, shown.client.tls.verified) == ("h2", True)
    assert shown.server is not None
    assert shown.server.address == "example.com:443"
    flow.server.peer = ("192.0.2.1", 443)
    again = detail(flow).server
    assert again is not None
    assert again.address == "192.0.2.1:443"


def test_trailers_and_annotations_are_shown() -> None:
    flow = make_flow(1)
    finish(flow, body=b"x")
    flow.response_body.trailers = [(b"Checksum", b"abc")]
    flow.annotations = {"comment": "odd"}
    shown = detail(flow)
    assert shown.response_body is not None
    assert shown.response_body.trailers == (("Checksum", "abc"),)
    assert shown.annotations == {"comment": "odd"}


def test_of_many_messages_only_those_are_made_that_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow = make_flow(1)
    log = flow.web_socket = WebSocketLog(10**9)
    for number in range(30_000):
        log.add(WebSocketMessage(True, 1, 5.0, b"%d" % number))
    log.held = WebSocketMessage(True, 1, 6.0, b"waits")
    made: list[bytes] = []
    really = render._web_socket_message

    def make(message: WebSocketMessage, held: bool = False) -> WebSocketMessageView:
        made.append(message.payload)
        return really(message, held)

    monkeypatch.setattr(render, "_web_socket_message", make)
    view = detail(flow).web_socket
    assert view is not None
    assert (len(view.messages), made) == (30_001, [])
    assert view.messages[7].payload == b"7"
    assert [message.payload for message in view.messages[-2:]] == [b"29999", b"waits"]
    assert view.messages[-1].held
    assert not view.messages[-2].held
    assert len(made) == 5
    for beyond in (30_001, -30_002):
        with pytest.raises(IndexError):
            view.messages[beyond]


def test_a_web_socket_shows_its_messages_and_no_bodies() -> None:
    flow = make_flow(1)
    flow.kind = FlowKind.WEBSOCKET
    flow.response = ResponseHead(101, b"Switching Protocols")
    flow.request_body.size, flow.response_body.size = 40, 50
    assert detail(flow).web_socket is None
    log = flow.web_socket = WebSocketLog(700)
    for number in range(10):
        log.add(WebSocketMessage(number % 2 == 0, 1, 5.0, b"%d" % number, 7, compressed=True))
    edited = WebSocketMessage(False, 2, 6.0, b"new", 3, injected=True)
    edited.edited = edited.dropped = edited.cut = True
    log.add(edited)
    log.end = WebSocketEnd("server", 1001, "away")
    shown = detail(flow)
    view = shown.web_socket
    assert view is not None
    assert view.forgotten == 9
    older, newest = view.messages
    assert (older.from_client, older.payload, older.size, older.at) == (False, b"9", 7, 5.0)
    assert (older.compressed, older.edited, older.dropped, older.injected, older.cut) == (
        True,
        *[False] * 4,
    )
    assert (newest.opcode, newest.compressed) == (2, False)
    assert newest.edited
    assert newest.dropped
    assert newest.injected
    assert newest.cut
    assert (view.ended_by, view.close_code, view.close_reason) == ("server", 1001, "away")
    assert shown.response_body is None
    assert shown.request_body.size == 0
    assert (shown.summary.request_size, shown.summary.response_size) == (40, 50)


def test_a_peer_s_certificate_is_shown_and_one_that_is_none_is_left_out() -> None:
    pair = make("good.example")
    der = pair.certificate.public_bytes(serialization.Encoding.DER)
    for certificate, subject in ((der, "CN=good.example"), (b"no certificate", None)):
        flow = make_flow(1)
        tls = TlsFacts("TLSv1.3", "X", "h2", "good.example", certificate, True)
        flow.server = ServerConnection(ConnectionId(2), "good.example", 443, opened=1.0)
        flow.server.tls = tls
        shown = detail(flow).server
        assert shown is not None
        assert shown.tls is not None
        view = shown.tls.certificate
        assert (None if view is None else view.subject) == subject
        if view is not None:
            assert view.names == ("good.example",)
            assert view.begins < view.ends
            assert len(view.sha256) == 64


def test_each_change_is_shown_with_what_it_became() -> None:
    flow = make_flow(1)
    first, second = flow.request, flow.request.replace(path=b"/2")
    flow.request = second.replace(path=b"/3")
    finish(flow, body=b"three")
    assert flow.response is not None
    came = flow.response.replace(status=201)
    flow.changes = (
        Change("plugin a", first),
        Change("plugin a", came, b"one"),
        Change("rule b", second),
        Change("plugin c", flow.response),
        Change("rule d", flow.response, b"two"),
    )
    changes = detail(flow).changes
    assert [(change.by, change.of_response) for change in changes] == [
        ("plugin a", False),
        ("plugin a", True),
        ("rule b", False),
        ("plugin c", True),
        ("rule d", True),
    ]
    lines = [(change.before.start_line, change.after.start_line) for change in changes]
    where = first.url.removesuffix("/")
    assert lines[0] == (f"GET {where}/ HTTP/1.1", f"GET {where}/2 HTTP/1.1")
    assert lines[1] == ("HTTP/1.1 201 OK", "HTTP/1.1 200 OK")
    assert lines[2] == (f"GET {where}/2 HTTP/1.1", f"GET {where}/3 HTTP/1.1")
    bodies = [
        (change.body_before.kept, change.body_after.kept)
        for change in changes
        if change.body_before is not None and change.body_after is not None
    ]
    assert bodies == [(b"one", b"two"), (b"two", b"three")]


def test_a_request_that_named_its_whole_url_is_not_changed_by_being_sent_on_without() -> None:
    raw = b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
    came = RequestHead(b"GET", "http", b"a.test", b"/", raw=raw)
    flow = Flow(FlowId(1), make_flow(1).client, came, 0.0, 1000)
    flow.request = RequestHead(
        b"GET", "http", b"a.test", b"/", Headers([(b"Host", b"a.test"), (b"X", b"1")])
    )
    flow.changes = (Change("plugin a", came),)
    (change,) = detail(flow).changes
    assert change.before.start_line == change.after.start_line == "GET http://a.test/ HTTP/1.1"
    assert change.after.fields[1:] == (("X", "1"),)
