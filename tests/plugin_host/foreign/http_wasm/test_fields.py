"""Headers and trailers."""

from __future__ import annotations

import pytest

from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLevel
from proxy_core.model.message import HTTP_2
from proxy_core.plugin_host.faults import HostCallFailed
from proxy_core.plugin_host.foreign.http_wasm.passage import Features
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.commit import commit
from tests.plugin_host.foreign.http_wasm.handler import OUT, Handler
from tests.plugin_host.guests import make_flow, respond_with

REQUEST, RESPONSE, REQUEST_TRAILERS, RESPONSE_TRAILERS = range(4)
FIELDS = ((b"Host", b"example.com"), (b"X-A", b"1"), (b"Other", b""), (b"x-a", b"2"))
WRITES = ("set_header_value", "add_header_value", "remove_header")


def flow_with_trailers() -> Flow:
    flow = make_flow(FIELDS)
    flow.whole = WholeBody(b"x", [(b"T-One", b"1"), (b"t-one", b"2")])
    return flow


def write(handler: Handler, function: str, kind: int, name: bytes, value: bytes = b"v") -> None:
    if function == "remove_header":
        handler.run(function, kind, name)
    else:
        handler.run(function, kind, name, value)


def test_names_are_told_once_and_in_lower_case() -> None:
    assert Handler(make_flow(FIELDS)).items("get_header_names", REQUEST) == [
        b"host",
        b"x-a",
        b"other",
    ]


@pytest.mark.parametrize("name", [b"x-a", b"X-A"])
def test_values_are_told_in_order_whatever_the_spelling(name: bytes) -> None:
    handler = Handler(make_flow(FIELDS))
    assert handler.items("get_header_values", REQUEST, name) == [b"1", b"2"]
    assert handler.items("get_header_values", REQUEST, b"other") == [b""]
    assert handler.items("get_header_values", REQUEST, b"absent") == []


def test_a_list_is_told_as_count_and_length_and_written_only_whole() -> None:
    handler = Handler(make_flow(FIELDS))
    assert handler.run("get_header_names", REQUEST, OUT, 14) == 3 << 32 | 15
    assert handler.bytes(OUT, 15) == bytes(15)
    assert handler.run("get_header_names", REQUEST, OUT, 15) == 3 << 32 | 15
    assert handler.bytes(OUT, 15) == b"host\0x-a\0other\0"


def test_http2_has_its_authority_as_host() -> None:
    handler = Handler(make_flow(((b"accept", b"*/*"),), version=HTTP_2))
    assert handler.items("get_header_names", REQUEST) == [b"host", b"accept"]
    assert handler.items("get_header_values", REQUEST, b"Host") == [b"example.com"]


def test_request_headers_are_edited_and_read_back() -> None:
    handler = Handler(make_flow(FIELDS))
    handler.run("set_header_value", REQUEST, b"X-A", b"3")
    handler.run("add_header_value", REQUEST, b"X-B", b"4")
    handler.run("add_header_value", REQUEST, b"X-B", 0, 0)
    handler.run("remove_header", REQUEST, b"OTHER")
    handler.run("remove_header", REQUEST, b"absent")
    assert handler.items("get_header_values", REQUEST, b"x-b") == [b"4", b""]
    commit(handler.call)
    assert handler.flow.request.headers.fields == [
        (b"Host", b"example.com"),
        (b"X-A", b"3"),
        (b"X-B", b"4"),
        (b"X-B", b""),
    ]


def test_headers_of_the_response_that_it_makes_are_kept_apart() -> None:
    handler = Handler()
    assert handler.items("get_header_names", RESPONSE) == []
    handler.run("add_header_value", RESPONSE, b"Set-Cookie", b"a=1")
    handler.run("add_header_value", RESPONSE, b"Set-Cookie", b"b=2")
    assert handler.items("get_header_values", RESPONSE, b"set-cookie") == [b"a=1", b"b=2"]
    assert handler.passage.has_begun_response
    assert not handler.call.edited


def test_the_origins_headers_are_read_without_and_edited_with_the_feature() -> None:
    handler = Handler(respond_with(make_flow(), 200, FIELDS)).turn()
    assert handler.items("get_header_values", RESPONSE, b"x-a") == [b"1", b"2"]
    for function in WRITES:
        with pytest.raises(HostCallFailed, match="has not enabled buffer_response"):
            write(handler, function, RESPONSE, b"X-A")
    handler.passage.features = Features.BUFFER_RESPONSE
    handler.run("remove_header", RESPONSE, b"x-a")
    commit(handler.call)
    assert handler.flow.response is not None
    assert b"x-a" not in handler.flow.response.headers


@pytest.mark.parametrize("function", WRITES)
@pytest.mark.parametrize("name", sorted(rules.PROXY_OWNED))
def test_the_proxys_own_fields_stay_and_that_is_told_once(function: str, name: bytes) -> None:
    fields = ((b"Host", b"example.com"), (name, b"mine"))
    handler = Handler(make_flow(fields))
    write(handler, function, REQUEST, name.upper(), b"5")
    write(handler, function, REQUEST, name, b"6")
    commit(handler.call)
    assert handler.flow.request.headers.fields == list(fields)
    ((level, text),) = handler.lines
    assert level is (LogLevel.DEBUG if name == b"content-length" else LogLevel.WARN)
    assert text == f"{function}: {name.decode()} is the proxy's own field and stays as it is"


@pytest.mark.parametrize("function", WRITES[:2])
@pytest.mark.parametrize(
    ("name", "value"),
    [(b"X Y", b"v"), (b"X:", b"v"), (b"X", b"a\r\nb"), (b"X", b"\0"), (b"X\n", b"v")],
)
def test_what_is_no_field_traps(function: str, name: bytes, value: bytes) -> None:
    handler = Handler()
    with pytest.raises(HostCallFailed, match=f"was stopped in {function}: .* may not be written"):
        handler.run(function, REQUEST, name, value)


def test_fields_are_limited() -> None:
    handler = Handler()
    name = handler.put(b"x")
    for _ in range(rules.HEADER_COUNT):
        handler.run("add_header_value", RESPONSE, *name, 0, 0)
    with pytest.raises(HostCallFailed, match="is more than the message may hold"):
        handler.run("add_header_value", RESPONSE, *name, 0, 0)


@pytest.mark.parametrize("function", ["get_header_values", *WRITES])
def test_an_empty_name_traps(function: str) -> None:
    arguments = (0, 0, 0, 0) if function != "remove_header" else (0, 0)
    with pytest.raises(HostCallFailed, match="its name is empty"):
        Handler().run(function, REQUEST, *arguments)


@pytest.mark.parametrize("kind", [4, 0xFFFFFFFF])
@pytest.mark.parametrize("function", ["get_header_names", "get_header_values", *WRITES])
def test_an_unknown_kind_traps(function: str, kind: int) -> None:
    handler = Handler()
    at, length = handler.put(b"name")
    arguments = {"get_header_names": (OUT, 9), "remove_header": (at, length)}
    with pytest.raises(HostCallFailed, match=f"was stopped in {function}: there is no kind {kind}"):
        handler.run(function, kind, *arguments.get(function, (at, length, OUT, 1)))


@pytest.mark.parametrize("function", WRITES)
def test_headers_are_edited_by_permission_and_in_time(function: str) -> None:
    with pytest.raises(HostCallFailed, match=r"permissions\.modify_requests"):
        write(Handler(modify_requests=False), function, REQUEST, b"X")
    handler = Handler(None, Features.BUFFER_RESPONSE, modify_responses=False).turn()
    with pytest.raises(HostCallFailed, match=r"permissions\.modify_responses"):
        write(handler, function, RESPONSE, b"X")
    for kind in (REQUEST, REQUEST_TRAILERS):
        with pytest.raises(HostCallFailed, match="on its way already"):
            write(Handler(features=Features(7)).turn(), function, kind, b"X")


def test_trailers_are_read_and_edited_with_the_feature() -> None:
    handler = Handler(flow_with_trailers(), Features.TRAILERS)
    assert handler.items("get_header_names", REQUEST_TRAILERS) == [b"t-one"]
    assert handler.items("get_header_values", REQUEST_TRAILERS, b"T-ONE") == [b"1", b"2"]
    handler.run("set_header_value", REQUEST_TRAILERS, b"T-One", b"3")
    handler.run("add_header_value", REQUEST_TRAILERS, b"T-Two", b"4")
    whole = handler.passage.request_edits(handler.flow)
    assert whole is handler.flow.whole
    assert whole is not None
    assert whole.trailers == [(b"T-One", b"3"), (b"T-Two", b"4")]
    assert whole.data == b"x"


def test_trailers_without_the_feature_are_none_and_cannot_be_written() -> None:
    handler = Handler(flow_with_trailers())
    assert handler.items("get_header_names", REQUEST_TRAILERS) == []
    assert handler.items("get_header_values", REQUEST_TRAILERS, b"t-one") == []
    with pytest.raises(HostCallFailed, match="not enabled the feature trailers"):
        handler.run("set_header_value", REQUEST_TRAILERS, b"T", b"v")


@pytest.mark.parametrize("kind", [REQUEST_TRAILERS, RESPONSE_TRAILERS])
def test_trailers_of_what_has_not_passed_are_none_and_cannot_be_written(kind: int) -> None:
    handler = Handler(features=Features(7))
    assert handler.items("get_header_names", kind) == []
    with pytest.raises(HostCallFailed, match="not at hand before its body has passed"):
        handler.run("add_header_value", kind, b"T", b"v")


def test_trailers_of_the_response_are_written_behind_it() -> None:
    handler = Handler(features=Features(7)).turn(b"body")
    handler.run("add_header_value", RESPONSE_TRAILERS, b"Sum", b"12")
    whole = handler.passage.response_edits(handler.flow)
    assert whole is not None
    assert (whole.data, whole.trailers, whole.edited) == (b"body", [(b"Sum", b"12")], True)
