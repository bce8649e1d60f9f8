"""First lines: method, URI, version, client, status."""

from __future__ import annotations

import pytest

from proxy_core.model.message import HTTP_2, HTTP_10, HTTP_11, RequestHead
from proxy_core.plugin_host.faults import HostCallFailed
from proxy_core.plugin_host.foreign.http_wasm.passage import Features
from proxy_core.plugin_host.hook.commit import commit
from tests.plugin_host.foreign.http_wasm.handler import Handler
from tests.plugin_host.guests import make_flow, respond_with

BUFFER_RESPONSE = Features.BUFFER_RESPONSE


def edited(handler: Handler) -> RequestHead:
    commit(handler.call)
    return handler.flow.request


def test_the_request_is_told() -> None:
    handler = Handler()
    assert handler.text("get_method") == b"GET"
    assert handler.text("get_uri") == b"/path?q=1"
    assert handler.text("get_protocol_version") == b"HTTP/1.1"
    assert handler.text("get_source_addr") == b"192.0.2.7:5555"


@pytest.mark.parametrize(
    ("version", "told"),
    [(HTTP_10, b"HTTP/1.0"), (HTTP_11, b"HTTP/1.1"), (HTTP_2, b"HTTP/2.0")],
)
def test_the_version_is_told_as_the_standard_spells_it(version: str, told: bytes) -> None:
    assert Handler(make_flow(version=version)).text("get_protocol_version") == told


def test_method_and_uri_are_changed_and_read_back() -> None:
    handler = Handler()
    handler.run("set_method", b"POST")
    handler.run("set_uri", b"/other?x=%26")
    assert handler.text("get_method") == b"POST"
    assert handler.text("get_uri") == b"/other?x=%26"
    head = edited(handler)
    assert (head.method, head.path, head.authority) == (b"POST", b"/other?x=%26", b"example.com")


def test_an_empty_uri_is_the_root() -> None:
    handler = Handler()
    handler.run("set_uri", 0, 0)
    assert edited(handler).path == b"/"


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("set_method", b""),
        ("set_method", b"A B"),
        ("set_method", b"CONNECT"),
        ("set_method", b"HEAD"),
        ("set_method", b"G" * 65),
        ("set_uri", b"no-slash"),
        ("set_uri", b"/a b"),
        ("set_uri", b"/a\r\nX: y"),
        ("set_uri", b"http://elsewhere/"),
    ],
)
def test_what_cannot_be_sent_traps(function: str, value: bytes) -> None:
    handler = Handler()
    with pytest.raises(HostCallFailed, match=f"was stopped in {function}: .* may not be written"):
        handler.run(function, value)
    assert not handler.flow.edited_by


@pytest.mark.parametrize(("function", "value"), [("set_method", b"PUT"), ("set_uri", b"/")])
def test_the_request_is_edited_by_permission_and_in_time(function: str, value: bytes) -> None:
    with pytest.raises(HostCallFailed, match=r"withholds permissions\.modify_requests"):
        Handler(modify_requests=False).run(function, value)
    with pytest.raises(HostCallFailed, match="on its way already"):
        Handler(features=Features(7)).turn().run(function, value)


def test_the_request_can_still_be_read_beside_the_response() -> None:
    handler = Handler().turn()
    assert handler.text("get_method") == b"GET"
    assert handler.text("get_uri") == b"/path?q=1"


def test_a_response_that_the_handler_makes_is_200_unless_it_says_otherwise() -> None:
    handler = Handler()
    assert handler.run("get_status_code") == 200
    handler.run("set_status_code", 404)
    assert handler.run("get_status_code") == 404
    assert (handler.passage.made.status, handler.passage.made.reason) == (404, b"Not Found")


@pytest.mark.parametrize("status", [0, 100, 199, 600, 0xFFFFFFFF])
def test_a_status_that_is_none_traps(status: int) -> None:
    with pytest.raises(HostCallFailed, match=f"{status} is no status"):
        Handler().run("set_status_code", status)
    with pytest.raises(HostCallFailed, match="may not be written"):
        Handler(features=BUFFER_RESPONSE).turn().run("set_status_code", status)


def test_the_origins_status_is_told_and_changed() -> None:
    handler = Handler(respond_with(make_flow(), 418), BUFFER_RESPONSE).turn()
    assert handler.run("get_status_code") == 418
    handler.run("set_status_code", 503)
    commit(handler.call)
    response = handler.flow.response
    assert response is not None
    assert (response.status, response.reason) == (503, b"Service Unavailable")


def test_the_origins_status_is_changed_by_feature_and_permission() -> None:
    with pytest.raises(HostCallFailed, match="has not enabled buffer_response"):
        Handler().turn().run("set_status_code", 500)
    with pytest.raises(HostCallFailed, match=r"permissions\.modify_responses"):
        Handler(None, BUFFER_RESPONSE, modify_responses=False).turn().run("set_status_code", 500)


def test_a_response_is_made_by_permission_to_edit_requests() -> None:
    Handler(modify_responses=False).run("set_status_code", 403)
    with pytest.raises(HostCallFailed, match=r"permissions\.modify_requests"):
        Handler(modify_requests=False).run("set_status_code", 403)
