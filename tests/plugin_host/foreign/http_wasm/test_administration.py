"""Configuration, features and logging."""

from __future__ import annotations

import pytest

from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.faults import HostCallFailed
from proxy_core.plugin_host.foreign.http_wasm.arguments import instance_of
from proxy_core.plugin_host.foreign.http_wasm.functions import FUNCTIONS
from proxy_core.plugin_host.foreign.http_wasm.passage import Features
from proxy_core.plugin_host.logs import LINE_BYTES
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE, FakeGuest
from tests.plugin_host.foreign.http_wasm.handler import OUT, Handler

BOTH = Features.BUFFER_REQUEST | Features.BUFFER_RESPONSE


def test_configuration_is_handed_over() -> None:
    assert Handler().text("get_config") == b'{"a":1}'


def test_configuration_can_be_read_while_the_plugin_loads() -> None:
    guest = FakeGuest()
    assert FUNCTIONS["get_config"].run(guest.host, OUT, 100) == 7
    assert guest.bytes(OUT, 7) == b'{"a":1}'


@pytest.mark.parametrize("limit", [0, 6])
def test_nothing_is_written_beyond_the_limit_and_the_length_is_told(limit: int) -> None:
    handler = Handler()
    assert handler.run("get_config", OUT, limit) == 7
    assert handler.bytes(OUT, 8) == bytes(8)
    assert handler.run("get_config", HIGH, 0) == 7  # nothing to write, so nothing to check


def test_features_enabled_while_loading_hold_for_every_flow() -> None:
    guest = FakeGuest()
    assert FUNCTIONS["enable_features"].run(guest.host, 1) == 1
    assert FUNCTIONS["enable_features"].run(guest.host, 2) == 3
    assert instance_of(guest.host).features == BOTH


def test_features_enabled_for_a_flow_hold_for_that_flow() -> None:
    handler = Handler(features=Features.TRAILERS)
    assert handler.run("enable_features", 2) == 6
    assert handler.passage.features == Features.TRAILERS | Features.BUFFER_RESPONSE
    assert instance_of(handler.host).features == Features.TRAILERS


@pytest.mark.parametrize("wanted", [8, 0xFFFFFFF8])
def test_features_that_nobody_knows_are_not_enabled(wanted: int) -> None:
    assert Handler().run("enable_features", wanted) == 0


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        (HIGH, LogLevel.DEBUG),
        (0, LogLevel.INFO),
        (1, LogLevel.WARN),
        (2, LogLevel.ERROR),
        (0x80000000, LogLevel.DEBUG),
    ],
)
def test_lines_are_logged_at_their_level(level: int, logged: LogLevel) -> None:
    handler = Handler()
    assert handler.run("log_enabled", level) == (logged is not LogLevel.DEBUG)
    handler.run("log", level, b"hello")
    assert handler.lines == [(logged, "hello")]


@pytest.mark.parametrize("level", [3, 4, 0x7FFFFFFF])
def test_level_none_is_not_logged(level: int) -> None:
    handler = Handler()
    assert handler.run("log_enabled", level) == 0
    handler.run("log", level, b"hello")
    assert handler.lines == []


def test_logging_never_traps() -> None:
    handler = Handler()
    handler.run("log", 0, PAGE - 1, 2)
    handler.run("log", 0, 0, 0)
    handler.run("log", 0, b"\xff")
    assert handler.lines == [
        (LogLevel.WARN, f"log: 2 bytes at {PAGE - 1} outside its memory"),
        (LogLevel.INFO, ""),
        (LogLevel.INFO, "\ufffd"),
    ]


def test_a_long_line_is_cut_and_says_so() -> None:
    handler = Handler()
    handler.run("log", 0, 0, LINE_BYTES + 3)
    ((_, text),) = handler.lines
    assert text == "\0" * LINE_BYTES + "... (3 bytes more)"


@pytest.mark.parametrize(
    "name",
    [n for n in FUNCTIONS if n not in ("get_config", "enable_features", "log", "log_enabled")],
)
def test_there_is_no_request_while_the_plugin_loads(name: str) -> None:
    function = FUNCTIONS[name]
    with pytest.raises(HostCallFailed, match=f"was stopped in {name}: there is no request"):
        function.run(FakeGuest().host, *[0] * len(function.params))
