"""Properties: facts of a flow in the binary forms that filters expect."""

from __future__ import annotations

import hashlib
import struct

import pytest

from proxy_core.model.connection import ServerConnection, TlsFacts
from proxy_core.model.flow import Flow
from proxy_core.model.ids import ConnectionId
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.files.foreign_options import ProxyWasmOptions
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import PROPERTY_BYTES
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import pack_pairs
from proxy_core.plugin_host.functions.message_fields import HOST_VERSION
from proxy_core.plugin_host.hook.commit import commit
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE
from tests.plugin_host.foreign.proxy_wasm.fake_filter import FakeFilter
from tests.plugin_host.guests import make_flow, respond_with

GET = "proxy_get_property"
SET = "proxy_set_property"


def a_flow() -> Flow:
    flow = make_flow(
        [
            (b"Host", b"example.com"),
            (b"Referer", b"r"),
            (b"User-Agent", b"u"),
            (b"X-Request-Id", b"id"),
        ]
    )
    flow.started, flow.request_sent, flow.first_byte, flow.ended = 100.5, 101.0, 101.25, 103.0
    flow.request_body.feed(b"12345")
    flow.response_body.feed(b"123")
    flow.response_body.trailers = [(b"Grpc-Status", b"5"), (b"grpc-status", b"7")]
    flow.client.tls = TlsFacts("TLSv1.3", "c", None, "sni.example", b"der", verified=True)
    flow.server = ServerConnection(ConnectionId(2), "example.com", 443, ("2001:db8::1", 443))
    flow.server.tls = TlsFacts("TLSv1.2", "c", None, "upstream.example", b"cert")
    return respond_with(flow, 404, [(b"Server", b"s")])


def number(value: int) -> bytes:
    return struct.pack("<q", value)


def guest_on(hook: Hook = Hook.RESPONSE) -> FakeFilter:
    guest = FakeFilter(hook, a_flow())
    guest.configure(proxy_wasm=ProxyWasmOptions(root_id="root", vm_id="vm"))
    return guest


def ask(guest: FakeFilter, path: str) -> bytes | int:
    return guest.ask(GET, path.replace(".", "\0").encode())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("plugin_name", b"p"),
        ("plugin_root_id", b"root"),
        ("plugin_vm_id", b"vm"),
        ("node.id", b"int3rceptor"),
        ("node.user_agent_version", HOST_VERSION),
        ("listener_direction", number(2)),
        ("cluster_name", b"example.com"),
        ("request.path", b"/path?q=1"),
        ("request.url_path", b"/path"),
        ("request.query", b"q=1"),
        ("request.host", b"example.com"),
        ("request.scheme", b"http"),
        ("request.method", b"GET"),
        ("request.protocol", b"HTTP/1.1"),
        ("request.referer", b"r"),
        ("request.useragent", b"u"),
        ("request.id", b"id"),
        ("request.time", number(100_500_000_000)),
        ("request.duration", number(2_500_000_000)),
        ("request.size", number(5)),
        ("request.headers.user-agent", b"u"),
        ("request.headers.absent", NOT_FOUND),
        ("request.invented", NOT_FOUND),
        ("response.code", number(404)),
        ("response.size", number(3)),
        ("response.flags", number(0)),
        ("response.grpc_status", number(7)),
        ("response.backend_latency", number(250_000_000)),
        ("response.headers.server", b"s"),
        ("response.headers", pack_pairs([(b":status", b"404"), (b"server", b"s")])),
        ("response.trailers.grpc-status", b"7"),
        ("source.address", b"192.0.2.7:5555"),
        ("source.port", number(5555)),
        ("destination.address", b"127.0.0.1:8080"),
        ("destination.port", number(8080)),
        ("connection.id", struct.pack("<Q", 1)),
        ("connection.mtls", b"\1"),
        ("connection.tls_version", b"TLSv1.3"),
        ("connection.requested_server_name", b"sni.example"),
        (
            "connection.sha256_peer_certificate_digest",
            hashlib.sha256(b"der").hexdigest().encode(),
        ),
        ("upstream.address", b"[2001:db8::1]:443"),
        ("upstream.port", number(443)),
        ("upstream.tls_version", b"TLSv1.2"),
        ("flow.id", b"17"),
        ("flow.comment", NOT_FOUND),
        ("request", NOT_FOUND),
        ("", NOT_FOUND),
        ("invented.thing", NOT_FOUND),
    ],
)
def test_a_property_has_the_form_that_filters_expect(path: str, value: bytes | int) -> None:
    assert ask(guest_on(), path) == value


def test_a_path_may_end_with_a_zero_byte() -> None:
    assert guest_on().ask(GET, b"request\0method\0") == b"GET"


def test_request_headers_are_a_map() -> None:
    value = ask(guest_on(), "request.headers")
    assert isinstance(value, bytes)
    assert value.startswith(struct.pack("<I", 7))


def test_sizes_of_whole_messages_count_their_heads() -> None:
    guest = guest_on()
    flow = a_flow()
    assert ask(guest, "request.total_size") == number(len(flow.request.raw) + 5)
    assert flow.response is not None
    assert ask(guest, "response.total_size") == number(len(flow.response.raw) + 3)


def test_properties_show_what_the_filter_has_written_so_far() -> None:
    guest = FakeFilter(Hook.REQUEST, make_flow())
    assert guest.run("proxy_replace_header_map_value", 0, b":path", b"/new") == OK
    assert guest.run("proxy_add_header_map_value", 0, b"x-new", b"1") == OK
    assert ask(guest, "request.path") == b"/new"
    assert ask(guest, "request.headers.x-new") == b"1"


def test_there_is_no_response_before_it_comes() -> None:
    guest = FakeFilter(Hook.REQUEST, make_flow())
    assert ask(guest, "response.code") == NOT_FOUND
    assert ask(guest, "upstream.address") == NOT_FOUND
    assert ask(guest, "connection.tls_version") == NOT_FOUND
    assert ask(guest, "connection.mtls") == b"\0"


def test_the_plugin_itself_has_no_flow() -> None:
    assert ask(FakeFilter(), "request.path") == NOT_FOUND
    assert ask(FakeFilter(), "plugin_name") == b"p"


def test_what_is_set_is_the_contexts_own() -> None:
    guest = guest_on()
    other = guest.add_stream(a_flow())
    assert guest.run(SET, b"my\0key", b"value") == OK
    assert guest.ask(GET, b"my\0key") == b"value"
    guest.instance.begin(other)
    assert guest.ask(GET, b"my\0key") == NOT_FOUND
    guest.instance.begin(None)
    assert guest.run(SET, b"my\0key", b"root") == OK
    assert guest.ask(GET, b"my\0key") == b"root"


def test_what_is_set_is_limited() -> None:
    guest = guest_on()
    assert guest.run(SET, b"", b"x") == BAD_ARGUMENT
    assert guest.run(SET, 0, 10, 0, PROPERTY_BYTES - 10) == OK
    assert guest.run(SET, b"another", b"x") == INTERNAL_FAILURE
    assert guest.run(SET, 0, 10, b"less") == OK
    assert guest.run(SET, b"another", b"x") == OK
    assert guest.run(SET, b"more", 0, PROPERTY_BYTES + 1) == INVALID_MEMORY


def test_notes_for_people_are_put_on_the_flow() -> None:
    guest = guest_on()
    assert guest.run(SET, b"flow\0comment", b"seen") == OK
    assert ask(guest, "flow.comment") == b"seen"
    assert guest.run(SET, b"flow\0id", b"1") == BAD_ARGUMENT
    assert guest.run(SET, b"flow\0tag", 0, 5000) == BAD_ARGUMENT
    commit(guest.call)
    assert guest.call.flow is not None
    assert guest.call.flow.annotations == {"comment": "seen"}


def test_bad_pointers_are_answered() -> None:
    guest = guest_on()
    assert guest.run(GET, PAGE, 1, 0, 4) == INVALID_MEMORY
    assert guest.run(GET, b"plugin_name", HIGH, 4) == INVALID_MEMORY
    assert guest.run(GET, 0, 5000, 0, 4) == NOT_FOUND
    assert guest.run(SET, HIGH, 1, b"x") == INVALID_MEMORY
    assert guest.run(SET, b"x", HIGH, HIGH) == INVALID_MEMORY
