"""Shared data with compare-and-swap, and queues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_core.plugin_host.belongings.belongings import Commons
from proxy_core.plugin_host.files.foreign_options import ProxyWasmOptions
from proxy_core.plugin_host.foreign.proxy_wasm import machines, shared
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    CAS_MISMATCH,
    EMPTY,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
)
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE
from tests.plugin_host.foreign.proxy_wasm.fake_filter import NUMBER_AT, FakeFilter

GET, SET = "proxy_get_shared_data", "proxy_set_shared_data"
REGISTER, RESOLVE = "proxy_register_shared_queue", "proxy_resolve_shared_queue"
ENQUEUE, DEQUEUE = "proxy_enqueue_shared_queue", "proxy_dequeue_shared_queue"


def fetch(guest: FakeFilter, key: bytes) -> tuple[bytes, int] | int:
    status = guest.run(GET, key, 0, 4, NUMBER_AT)
    return status or (guest.bytes(guest.u32(0), guest.u32(4)), guest.u32(NUMBER_AT))


def queue(guest: FakeFilter, name: bytes) -> int:
    assert guest.run(REGISTER, name, NUMBER_AT) == OK
    return guest.u32(NUMBER_AT)


def limited(limit: int) -> FakeFilter:
    guest = FakeFilter()
    guest.configure(limits=replace(guest.manifest.limits, kv_bytes=limit))
    return guest


def test_a_value_is_kept_with_a_number_that_changes_with_it() -> None:
    guest = FakeFilter()
    assert fetch(guest, b"k") == NOT_FOUND
    assert guest.run(SET, b"k", b"one", 0) == OK
    first = fetch(guest, b"k")
    assert guest.run(SET, b"k", b"two", 0) == OK
    second = fetch(guest, b"k")
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert (first[0], second[0]) == (b"one", b"two")
    assert 0 not in (first[1], second[1])
    assert first[1] != second[1]


def test_compare_and_swap_fails_for_whoever_comes_second() -> None:
    guest = FakeFilter()
    guest.run(SET, b"k", b"", 0)
    value = fetch(guest, b"k")
    assert isinstance(value, tuple)
    assert value[0] == b""
    assert guest.run(SET, b"k", b"mine", value[1]) == OK
    assert guest.run(SET, b"k", b"yours", value[1]) == CAS_MISMATCH
    assert guest.run(SET, b"k", b"yours", HIGH) == CAS_MISMATCH
    assert guest.run(SET, b"absent", b"x", 7) == OK


def test_the_number_never_becomes_zero() -> None:
    guest = FakeFilter()
    state = guest.call.belongings.state
    assert state.set(b"shared:k", b"\xff\xff\xff\xffold", 10_000) == 0
    assert guest.run(SET, b"k", b"new", HIGH) == OK
    assert fetch(guest, b"k") == (b"new", 1)


def test_data_counts_against_the_plugins_limit() -> None:
    guest = limited(200)
    assert guest.run(SET, b"k", b"x" * 100, 0) == OK
    assert guest.run(SET, b"l", b"x" * 100, 0) == INTERNAL_FAILURE
    assert guest.run(SET, b"k", b"x" * 201, 0) == INTERNAL_FAILURE
    assert guest.run(SET, 0, shared.NAME_BYTES + 1, b"x", 0) == BAD_ARGUMENT
    assert guest.run(GET, 0, shared.NAME_BYTES + 1, 0, 4, 8) == NOT_FOUND


def test_a_value_or_an_item_is_no_larger_than_can_be_copied_in_one_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared, "VALUE_BYTES", 100)
    guest = limited(1000)
    number = queue(guest, b"q")
    assert guest.run(SET, b"k", b"x" * 101, 0) == INTERNAL_FAILURE
    assert guest.run(ENQUEUE, number, b"x" * 101) == INTERNAL_FAILURE
    assert guest.run(SET, b"k", b"x" * 100, 0) == OK
    assert guest.run(ENQUEUE, number, b"x" * 100) == OK


def test_queues_are_first_in_first_out() -> None:
    guest = FakeFilter()
    number = queue(guest, b"q")
    assert queue(guest, b"q") == number
    assert queue(guest, b"r") != number
    assert guest.ask(DEQUEUE, number) == EMPTY
    for item in (b"one", b"", b"three"):
        assert guest.run(ENQUEUE, number, item) == OK
    assert [guest.ask(DEQUEUE, number) for _ in range(4)] == [b"one", b"", b"three", EMPTY]
    assert list(guest.instance.news) == [number] * 3


def test_queues_outlive_the_instance() -> None:
    first, second = FakeFilter(), FakeFilter()
    second.call.belongings = first.call.belongings
    number = queue(first, b"q")
    first.run(ENQUEUE, number, b"x")
    assert second.ask(DEQUEUE, queue(second, b"q")) == b"x"


def test_a_queue_is_resolved_by_its_name_in_the_own_machine() -> None:
    guest = FakeFilter()
    guest.configure(proxy_wasm=ProxyWasmOptions(vm_id="vm"))
    number = queue(guest, b"q")
    for machine in (b"", b"vm"):
        assert guest.run(RESOLVE, machine, b"q", NUMBER_AT) == OK
        assert guest.u32(NUMBER_AT) == number
    assert guest.run(RESOLVE, b"other", b"q", NUMBER_AT) == NOT_FOUND
    assert guest.run(RESOLVE, b"", b"absent", NUMBER_AT) == NOT_FOUND


def test_queues_are_limited_in_number_and_size() -> None:
    guest = limited(200)
    number = queue(guest, b"q")
    assert guest.run(ENQUEUE, number, b"x" * 100) == OK
    assert guest.run(ENQUEUE, number, b"x" * 100) == INTERNAL_FAILURE
    assert guest.run(ENQUEUE, number, b"x" * 201) == INTERNAL_FAILURE
    assert guest.ask(DEQUEUE, number) == b"x" * 100
    assert guest.run(ENQUEUE, number, b"x" * 100) == OK
    for index in range(1, machines.MOST_QUEUES):
        queue(guest, b"q%d" % index)
    assert guest.run(REGISTER, b"one more", NUMBER_AT) == INTERNAL_FAILURE
    assert guest.run(REGISTER, 0, shared.NAME_BYTES + 1, NUMBER_AT) == BAD_ARGUMENT


def test_an_unknown_queue_is_not_found() -> None:
    guest = FakeFilter()
    queue(guest, b"q")
    for number in (0, 2, HIGH):
        assert guest.run(ENQUEUE, number, b"x") == NOT_FOUND
        assert guest.ask(DEQUEUE, number) == NOT_FOUND


def test_bad_pointers_lose_no_item() -> None:
    guest = FakeFilter()
    number = queue(guest, b"q")
    guest.run(ENQUEUE, number, b"x")
    assert guest.run(DEQUEUE, number, HIGH, 0) == INVALID_MEMORY
    assert guest.run(ENQUEUE, number, PAGE, 1) == INVALID_MEMORY
    assert guest.run(REGISTER, PAGE, 1, 0) == INVALID_MEMORY
    assert guest.run(REGISTER, b"r", PAGE) == INVALID_MEMORY
    assert guest.run(RESOLVE, HIGH, 1, b"q", 0) == INVALID_MEMORY
    assert guest.run(RESOLVE, b"", b"q", PAGE) == INVALID_MEMORY
    assert guest.run(SET, PAGE, 1, b"", 0) == INVALID_MEMORY
    assert guest.run(SET, b"k", PAGE, 1, 0) == INVALID_MEMORY
    guest.run(SET, b"k", b"v", 0)
    assert guest.run(GET, b"k", HIGH, 0, 8) == INVALID_MEMORY
    assert guest.run(GET, b"k", 0, 4, PAGE) == INVALID_MEMORY
    assert guest.run(GET, PAGE, 1, 0, 4, 8) == INVALID_MEMORY
    assert guest.ask(DEQUEUE, number) == b"x"


def in_machine(vm_id: str, commons: Commons) -> FakeFilter:
    guest = FakeFilter()
    guest.configure(proxy_wasm=ProxyWasmOptions(vm_id=vm_id))
    guest.call.belongings.commons = commons
    return guest


def test_a_queue_of_another_machine_is_found_by_its_id() -> None:
    commons = Commons()
    receiver, sender = in_machine("receiver", commons), in_machine("", commons)
    number = queue(receiver, b"q")
    assert queue(sender, b"q") != number
    assert sender.run(RESOLVE, b"receiver", b"q", NUMBER_AT) == OK
    assert sender.u32(NUMBER_AT) == number
    assert sender.run(ENQUEUE, number, b"item") == OK
    assert (list(receiver.instance.news), list(sender.instance.news)) == ([number], [])
    assert receiver.ask(DEQUEUE, number) == b"item"


def test_a_plugin_without_a_machine_id_is_alone() -> None:
    commons = Commons()
    first, second = in_machine("", commons), in_machine("", commons)
    number = queue(first, b"q")
    assert second.run(RESOLVE, b"", b"q", NUMBER_AT) == NOT_FOUND
    assert second.run(ENQUEUE, number, b"item") == NOT_FOUND
    first.run(SET, b"k", b"v", 0)
    assert fetch(second, b"k") == NOT_FOUND


def test_plugins_of_one_machine_share_their_data() -> None:
    commons = Commons()
    first, second = in_machine("vm", commons), in_machine("vm", commons)
    assert first.run(SET, b"k", b"v", 0) == OK
    assert fetch(second, b"k") == (b"v", 1)
    assert second.run(SET, b"k", b"w", 1) == OK
    assert first.run(SET, b"k", b"x", 1) == CAS_MISMATCH
    assert fetch(in_machine("other", commons), b"k") == NOT_FOUND


def test_items_are_told_to_who_is_at_work_and_not_to_who_was_lost() -> None:
    first, second, failed = FakeFilter(), FakeFilter(), FakeFilter()
    second.call.belongings = failed.call.belongings = first.call.belongings
    told: list[str] = []
    number = queue(first, b"q")
    first.instance.on_news = lambda: told.append("first")
    first.run(ENQUEUE, number, b"x")
    queue(second, b"q")
    second.instance.on_news = lambda: told.append("second")
    queue(failed, b"q")
    first.run(ENQUEUE, number, b"x")
    second.instance.lose()
    first.instance.news.clear()
    first.run(ENQUEUE, number, b"x")
    assert told == ["first", "second", "first"]
