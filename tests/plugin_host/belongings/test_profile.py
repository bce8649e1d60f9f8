"""What a plugin's hooks have cost and done, as its status tells it."""

from __future__ import annotations

import time

import pytest

from proxy_core.model.plugin_status import HookProfile
from proxy_core.plugin_host.belongings.profile import RECENT, HookRecord, Profile, percentile
from proxy_core.plugin_host.codes import Hook
from tests.plugin_host.guests import Host, guest, importing, make_flow, respond_with


@pytest.mark.parametrize(
    ("count", "p50", "p99"), [(0, 0, 0), (1, 1, 1), (2, 1, 2), (100, 50, 99), (500, 250, 495)]
)
def test_percentiles_are_values_that_were_there(count: int, p50: int, p99: int) -> None:
    ordered = [float(number) for number in range(1, count + 1)]
    assert (percentile(ordered, 50), percentile(ordered, 99)) == (p50, p99)


def test_percentiles_are_of_the_last_calls_and_not_sorted_at_every_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    record = HookRecord()

    def call(seconds: float, times: int) -> None:
        record.recent.extend([seconds] * times)
        record.calls += times

    call(1.0, 3)
    assert record.percentiles() == (1.0, 1.0)
    call(2.0, RECENT)
    assert record.percentiles() == (1.0, 1.0)
    now += 1
    assert record.percentiles() == (2.0, 2.0)


def test_hooks_that_did_nothing_are_left_out() -> None:
    figures = Profile()
    assert figures.snapshot() == ()
    figures.deny(Hook.START, "host_read")
    figures.deny(Hook.START, "host_read")
    assert figures.snapshot() == (HookProfile("plugin_init", denied=(("host_read", 2),)),)


def test_every_hook_has_a_place_of_its_own() -> None:
    assert [hook.index for hook in Hook] == list(range(len(Hook)))


async def profile_of(host: Host, name: str = "a") -> dict[str, HookProfile]:
    return {told.hook: told for told in host.status(name).profile}


ADD = importing("host_add_header", 4) + '(data (i32.const 0) "X-Name")'
ADDING = "(drop (call $add_header (i32.const 0) (i32.const 6) (i32.const 0) (i32.const 4)))"


async def test_calls_fuel_and_memory_are_counted_by_hook(host: Host) -> None:
    both = f'{ADD} (func (export "on_response") (result i32) i32.const 0)'
    await host.load("a", guest(f"{ADDING} i32.const 0", imports=both))
    flow = respond_with(make_flow())
    for _ in range(3):
        await host.request(make_flow())
    await host.response(flow)
    told = await profile_of(host)
    request, response = told["on_request"], told["on_response"]
    assert (request.calls, response.calls) == (3, 1)
    assert request.fuel > response.fuel > 0
    assert 0 < request.p50 <= request.p99
    assert request.bytes_changed == 3 * (6 + 4 + 4)
    assert (response.bytes_changed, response.denied) == (0, ())
    status = host.status("a")
    assert (status.calls, status.memory_pages, status.instances) == (4, 1, 1)
    assert status.fuel_used == request.fuel + response.fuel
    assert status.time_used > 0


async def test_edits_that_are_dropped_are_not_counted(host: Host) -> None:
    await host.load("a", guest(f"{ADDING} i32.const -1", imports=ADD))
    await host.request(make_flow())
    assert (await profile_of(host))["on_request"].bytes_changed == 0


async def test_traps_are_counted_where_they_happen(host: Host) -> None:
    await host.load("a", guest("unreachable"))
    for _ in range(2):
        await host.request(make_flow())
    told = (await profile_of(host))["on_request"]
    assert (told.calls, told.traps, host.status("a").traps) == (2, 2, 2)


ALL = " ".join(
    [
        importing("host_add_header", 4),
        importing("host_set_header", 4),
        importing("host_remove_header", 2),
        importing("host_set_field", 3),
        importing("host_respond", 5),
    ]
)
TRY_ALL = " ".join(
    f"(drop (call ${name} {'(i32.const 1) ' * count}))"
    for name, count in (
        ("add_header", 4),
        ("set_header", 4),
        ("remove_header", 2),
        ("set_field", 3),
        ("respond", 5),
    )
)


async def test_denied_calls_are_counted_by_import(host: Host) -> None:
    manifest = "[permissions]\nmodify_requests = false"
    await host.load("a", guest(f"{TRY_ALL} i32.const 0", imports=ALL), manifest)
    await host.request(make_flow())
    await host.request(make_flow())
    denied = dict((await profile_of(host))["on_request"].denied)
    assert denied == {
        "host_add_header": 2,
        "host_set_header": 2,
        "host_remove_header": 2,
        "host_respond": 2,
        "host_set_field": 2,
    }


async def test_what_is_not_valid_was_not_denied(host: Host) -> None:
    await host.load("a", guest(f"{TRY_ALL} i32.const 0", imports=ALL))
    await host.request(make_flow())
    assert (await profile_of(host))["on_request"].denied == ()


async def test_answers_count_as_changes(host: Host) -> None:
    body = (
        "(drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0)"
        " (i32.const 50))) i32.const 3"
    )
    await host.load("a", guest(body, imports=importing("host_respond", 5)))
    await host.request(make_flow())
    assert (await profile_of(host))["on_request"].bytes_changed == 50


async def test_figures_go_on_over_a_reload(host: Host) -> None:
    await host.load("a", guest("i32.const 0"))
    await host.request(make_flow())
    assert (await host.manager.reload("a")).ok
    await host.request(make_flow())
    assert host.status("a").calls == 2
