"""HTTP calls: where they go, what they carry, and what is refused."""

from __future__ import annotations

import pytest

from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.files.foreign_options import ProxyWasmOptions
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    OK,
    UNIMPLEMENTED,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import MOST_CALLS, OutgoingCall
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import pack_pairs
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE
from tests.plugin_host.foreign.proxy_wasm.fake_filter import NUMBER_AT, FakeFilter
from tests.plugin_host.guests import make_flow

CALL = "proxy_http_call"
NEEDED: list[Field] = [(b":method", b"GET"), (b":path", b"/a?b"), (b":authority", b"auth.example")]


def call(
    guest: FakeFilter,
    upstream: bytes = b"cluster",
    fields: list[Field] | bytes = NEEDED,
    body: bytes = b"",
    trailers: bytes = b"",
    milliseconds: int = 1500,
) -> int:
    packed = fields if isinstance(fields, bytes) else pack_pairs(fields)
    return guest.run(CALL, upstream, packed, body, trailers, milliseconds, NUMBER_AT)


def allowed(hook: Hook = Hook.START, flow: Flow | None = None) -> FakeFilter:
    guest = FakeFilter(hook, flow)
    guest.allow_network("*.example", "127.0.0.1", "svc.ns:8080")
    return guest


def made(guest: FakeFilter) -> OutgoingCall:
    (outgoing,) = guest.instance.outbox
    return outgoing


def test_a_call_carries_what_the_filter_gave() -> None:
    guest = allowed(Hook.REQUEST, make_flow())
    fields = [*NEEDED, (b"x", b"1"), (b"content-length", b"99"), (b"connection", b"close")]
    assert call(guest, fields=fields, body=b"body") == OK
    outgoing = made(guest)
    assert outgoing.id == guest.u32(NUMBER_AT) != 0
    assert (outgoing.method, outgoing.url) == (b"GET", "http://auth.example/a?b")
    assert (outgoing.headers, outgoing.body, outgoing.seconds) == ([(b"x", b"1")], b"body", 1.5)
    assert outgoing.stream is guest.stream
    assert guest.stream is not None
    assert guest.stream.calls == 1


@pytest.mark.parametrize(
    ("upstream", "scheme", "base"),
    [
        (b"known", b"", "https://127.0.0.1:9"),
        (b"cluster", b"https", "https://auth.example"),
        (b"cluster", b"ftp", "http://auth.example"),
        (b"https://Other.example:8443/ignored", b"", "https://Other.example:8443"),
        (b"outbound|8080||svc.ns", b"", "http://svc.ns:8080"),
        (b"\xff", b"", "http://auth.example"),
    ],
)
def test_where_a_call_goes(upstream: bytes, scheme: bytes, base: str) -> None:
    guest = allowed()
    guest.configure(proxy_wasm=ProxyWasmOptions(upstreams={"known": "https://127.0.0.1:9"}))
    assert call(guest, upstream, [*NEEDED, (b":scheme", scheme)]) == OK
    assert made(guest).url == f"{base}/a?b"
    assert made(guest).stream is None


@pytest.mark.parametrize("missing", range(3))
def test_method_path_and_authority_are_needed(missing: int) -> None:
    fields = [field for index, field in enumerate(NEEDED) if index != missing]
    assert call(allowed(), fields=fields) == BAD_ARGUMENT


@pytest.mark.parametrize(
    "field",
    [
        (b":method", b"CONNECT"),
        (b":method", b"BAD METHOD"),
        (b":path", b"no-slash"),
        (b":path", b"/a b"),
        (b":authority", b"user@host"),
        (b"bad name", b"x"),
        (b"x", b"a\nb"),
    ],
)
def test_malformed_parts_are_bad_arguments(field: Field) -> None:
    assert call(allowed(), fields=[*NEEDED, field]) == BAD_ARGUMENT


def test_other_things_that_are_refused() -> None:
    guest = allowed()
    assert call(guest, fields=b"\1\2") == BAD_ARGUMENT
    assert call(guest, trailers=b"\1\2") == BAD_ARGUMENT
    assert call(guest, upstream=b"http://user@host/") == BAD_ARGUMENT
    assert call(guest, trailers=pack_pairs([(b"t", b"1")])) == UNIMPLEMENTED
    assert guest.instance.outbox == []


def test_time_is_limited() -> None:
    guest = allowed()
    for milliseconds in (0, HIGH):
        guest.instance.outbox.clear()
        assert call(guest, milliseconds=milliseconds) == OK
        assert made(guest).seconds == 60.0


def test_only_so_many_calls_are_under_way() -> None:
    guest = allowed()
    for _ in range(MOST_CALLS):
        guest.room = 64
        assert call(guest) == OK
    assert call(guest) == INTERNAL_FAILURE
    assert len({outgoing.id for outgoing in guest.instance.outbox}) == MOST_CALLS


@pytest.mark.parametrize("place", [0, 2, 4, 6])
def test_bad_pointers_are_answered(place: int) -> None:
    guest = allowed()
    arguments = [64, 0, 64, 0, 64, 0, 64, 0, 100, NUMBER_AT]
    arguments[place : place + 2] = [PAGE, 1]
    assert guest.run(CALL, *arguments) == INVALID_MEMORY
    arguments[place : place + 2] = [HIGH, HIGH]
    assert guest.run(CALL, *arguments) == INVALID_MEMORY
    assert guest.run(CALL, 64, 0, 64, 0, 64, 0, 64, 0, 100, PAGE) == INVALID_MEMORY


def test_hosts_need_the_permission() -> None:
    guest = FakeFilter()
    assert call(guest) == INTERNAL_FAILURE
    guest.allow_network("other.example", "auth.example:81")
    assert call(guest) == INTERNAL_FAILURE
    assert guest.instance.outbox == []
    assert guest.denied == {"proxy_http_call": 2}
