"""Buffers: pieces of bodies and configurations, edits with offsets, and every status."""

from __future__ import annotations

import pytest

from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.files.foreign_options import ProxyWasmOptions
from proxy_core.plugin_host.foreign.proxy_wasm import buffers
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
    Buffer,
    StreamType,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import CallAnswer
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE
from tests.plugin_host.foreign.proxy_wasm.fake_filter import FakeFilter
from tests.plugin_host.guests import make_flow

GET = "proxy_get_buffer_bytes"
SET = "proxy_set_buffer_bytes"
STATUS = "proxy_get_buffer_status"


def with_body(**permissions: bool) -> FakeFilter:
    guest = FakeFilter(Hook.REQUEST, make_flow(), **permissions)
    assert guest.stream is not None
    for kind in StreamType:
        guest.stream.sides[kind].data = bytearray(b"0123456789")
    return guest


@pytest.mark.parametrize(
    ("start", "most", "expected"),
    [
        (0, HIGH, b"0123456789"),
        (0, 3, b"012"),
        (3, HIGH, b"3456789"),
        (9, 5, b"9"),
        (10, 1, b""),
        (HIGH, HIGH, b""),
        (0, 0, b""),
    ],
)
def test_pieces_are_read_by_offset_and_never_past_the_end(
    start: int, most: int, expected: bytes
) -> None:
    assert with_body().ask(GET, Buffer.REQUEST_BODY, start, most) == expected


@pytest.mark.parametrize(
    ("start", "size", "value", "expected"),
    [
        (0, 10, b"all", b"all"),
        (0, HIGH, b"all", b"all"),
        (0, 0, b"before", b"before0123456789"),
        (10, 0, b"after", b"0123456789after"),
        (HIGH, HIGH, b"after", b"0123456789after"),
        (3, 2, b"xyz", b"012xyz56789"),
        (3, HIGH, b"", b"012"),
        (0, HIGH, b"", b""),
    ],
)
@pytest.mark.parametrize("number", list(StreamType))
def test_writing_replaces_what_it_names(
    number: StreamType, start: int, size: int, value: bytes, expected: bytes
) -> None:
    guest = with_body()
    assert guest.run(SET, number, start, size, value) == OK
    assert guest.stream is not None
    assert guest.stream.sides[number].data == bytearray(expected)


def test_the_length_is_told() -> None:
    guest = with_body()
    guest.buffer[0:8] = b"\xff" * 8
    assert guest.run(STATUS, Buffer.RESPONSE_BODY, 0, 4) == OK
    assert (guest.u32(0), guest.u32(4)) == (10, 0)


def test_configurations_and_answers_can_be_read_and_not_written() -> None:
    guest = FakeFilter()
    guest.configure(proxy_wasm=ProxyWasmOptions(vm_config=b"vm"))
    guest.instance.answer = CallAnswer(200, "", [], b"answer")
    for number, text in (
        (Buffer.VM_CONFIGURATION, b"vm"),
        (Buffer.PLUGIN_CONFIGURATION, b'{"a":1}'),
        (Buffer.CALL_BODY, b"answer"),
    ):
        assert guest.ask(GET, number, 0, HIGH) == text
        assert guest.run(SET, number, 0, 0, b"x") == BAD_ARGUMENT


def test_a_plugin_without_configuration_gets_none() -> None:
    guest = FakeFilter()
    guest.configure(config=b"{}")
    assert guest.ask(GET, Buffer.PLUGIN_CONFIGURATION, 0, HIGH) == b""


def test_the_first_version_has_one_function_for_both_configurations() -> None:
    guest = FakeFilter()
    guest.instance.version = (0, 1, 0)
    guest.configure(proxy_wasm=ProxyWasmOptions(vm_config=b"vm"))
    assert guest.ask("proxy_get_configuration") == b'{"a":1}'
    guest.instance.starting_vm = True
    assert guest.ask("proxy_get_configuration") == b"vm"


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (Buffer.REQUEST_BODY, NOT_FOUND),
        (Buffer.UPSTREAM_DATA, NOT_FOUND),
        (Buffer.CALL_BODY, NOT_FOUND),
        (Buffer.GRPC_MESSAGE, NOT_FOUND),
        (Buffer.FOREIGN_ARGUMENTS, NOT_FOUND),
        (9, BAD_ARGUMENT),
        (HIGH, BAD_ARGUMENT),
    ],
)
def test_a_buffer_that_is_not_at_hand_says_so(number: int, status: int) -> None:
    for guest in (FakeFilter(), FakeFilter(Hook.REQUEST, make_flow())):
        assert guest.ask(GET, number, 0, 1) == status
        assert guest.run(STATUS, number, 0, 4) == status
        assert guest.run(SET, number, 0, 0, b"x") == status


@pytest.mark.parametrize(
    ("denied", "number"),
    [
        ("modify_requests", Buffer.REQUEST_BODY),
        ("modify_requests", Buffer.DOWNSTREAM_DATA),
        ("modify_responses", Buffer.RESPONSE_BODY),
        ("modify_responses", Buffer.UPSTREAM_DATA),
    ],
)
def test_writing_needs_the_permission(denied: str, number: int) -> None:
    guest = with_body(**{denied: False})
    assert guest.ask(GET, number, 0, 1) == b"0"
    assert guest.run(SET, number, 0, 0, b"x") == INTERNAL_FAILURE


def test_a_buffer_does_not_grow_beyond_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "BUFFER_BYTES", 12)
    guest = with_body()
    assert guest.run(SET, 0, 0, 0, b"abc") == BAD_ARGUMENT
    assert guest.run(SET, 0, 9, 1, b"abc") == OK


def test_bad_pointers_are_answered() -> None:
    guest = with_body()
    assert guest.run(GET, 0, 0, 5, PAGE - 3, 0) == INVALID_MEMORY
    assert guest.run(GET, 0, 0, 5, 0, HIGH) == INVALID_MEMORY
    assert guest.run(STATUS, 0, PAGE, 0) == INVALID_MEMORY
    assert guest.run(STATUS, 0, 0, PAGE) == INVALID_MEMORY
    assert guest.run(SET, 0, 0, 0, PAGE - 1, 2) == INVALID_MEMORY
    assert guest.run(SET, 0, 0, 0, HIGH, HIGH) == INVALID_MEMORY
