"""Foreign ABIs in the plugin host: who is spoken to how, and what the host makes of a driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest

from proxy_core.exchange.hooks import BodyFilter, TunnelFilter
from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import PluginState
from proxy_core.model.verdict import CONTINUE, Block
from proxy_core.plugin_host import codes, dialects
from proxy_core.plugin_host.abi import Contract, Declared
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.dialects import Room, dialect_of
from proxy_core.plugin_host.faults import GuestFailure, ModuleRefused
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.draft import RequestDraft
from tests.plugin_host.guests import MEMORY, Host, Newcomers, guest, make_flow, wasm
from tests.waiting import until

MODULE = wasm(
    f"""(module {MEMORY} (global $n (mut i32) (i32.const 0)) (func (export "marker"))
      (func (export "count") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))
      (func (export "trap") (result i32) unreachable)
      (func (export "spin") (result i32) (loop (br 0)) i32.const 0))"""
)
I32 = ((), ("i32",))


class Recorder:
    """A dialect whose driver does what `plan` says and remembers what it was asked."""

    name = "recorder"
    drivers: ClassVar[list[Recorder.Driver]] = []

    class Driver:
        hooks = frozenset({Hook.REQUEST, Hook.RESPONSE, Hook.CAPTURE})

        def __init__(self, room: Room) -> None:
            self.room = room
            self.told: list[object] = []
            self.closed = False

        async def hook(self, hook: Hook, call: HookCall) -> int:
            assert call.flow is not None
            action = call.flow.request.path.decode().strip("/")
            self.told.append((hook, action))
            if action in ("count", "trap", "spin"):

                async def work(guest: Guest) -> int:
                    guest.host.call = call
                    result = guest.begin(action)
                    return await guest.finish() if result is None else result

                self.told.append(await self.room.enter(work))
            elif action == "bug":
                raise ZeroDivisionError("a bug")
            elif action == "block":
                return codes.BLOCK
            draft = call.draft
            if isinstance(draft, RequestDraft):
                draft.set_header(b"x-driven", b"yes")
            return codes.CONTINUE

        def wants_body(self, hook: Hook, flow: Flow) -> bool:
            return b"body" in flow.request.path

        def body_filter(self, hook: Hook, flow: Flow) -> BodyFilter | None:
            if b"stream" not in flow.request.path:
                return None

            async def through(data: bytes, ended: bool) -> bytes:
                return b"<%b>" % data

            return through

        def tunnel_filter(self, flow: Flow) -> TunnelFilter | None:
            if b"tunnel" not in flow.request.path:
                return None

            async def through(from_client: bool, data: bytes, ended: bool) -> bytes:
                return (b">%b" if from_client else b"<%b") % data

            return through

        async def close(self) -> None:
            async def work(guest: Guest) -> None:
                self.closed = True

            await self.room.enter(work)

    def agree(self, imports: Sequence[Declared], exports: Sequence[Declared]) -> Contract:
        if any(export.name == "refuse" for export in exports):
            raise ModuleRefused("refused by the recorder")
        hooks = frozenset({Hook.REQUEST, Hook.RESPONSE, Hook.CAPTURE})
        entries = dict.fromkeys(("count", "trap", "spin"), I32)
        return Contract(0, (), entries, hooks, (), True, self.name)

    def load(self, guest: Guest, contract: Contract, call: HookCall) -> None:
        assert guest.run("count") == 1

    def drive(self, room: Room, contract: Contract) -> Driver:
        self.drivers.append(self.Driver(room))
        return self.drivers[-1]


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> list[Recorder.Driver]:
    monkeypatch.setattr(dialects, "FOREIGN", {"marker": Recorder()})
    monkeypatch.setattr(Recorder, "drivers", [])
    return Recorder.drivers


def flow_to(path: str) -> Flow:
    flow = make_flow()
    flow.request = flow.request.replace(path=path.encode())
    return flow


def test_a_module_is_known_by_its_marker_but_by_ours_first() -> None:
    http_wasm = Declared("handle_request", "function", ((), ("i64",)))
    ours = Declared("int3_abi_version", "function", I32)
    dialect = dialect_of([http_wasm])
    assert dialect is not None
    assert dialect.name == "http-wasm"
    assert dialect_of([http_wasm, ours]) is None
    assert dialect_of([Declared("on_request", "function", I32)]) is None


async def test_hooks_go_to_the_driver_and_its_edits_are_committed(
    host: Host, drivers: list[Recorder.Driver]
) -> None:
    await host.load("a", MODULE)
    (driver,) = drivers
    flow = flow_to("/count")
    assert await host.request(flow) is CONTINUE
    assert driver.told == [(Hook.REQUEST, "count"), 2]
    assert flow.request.headers.get(b"x-driven") == b"yes"
    assert flow.edited_by == ("plugin a",)
    status = host.status("a")
    assert (status.abi, status.calls, status.instances) == ("recorder", 1, 1)
    assert status.fuel_used > 0
    assert status.memory_pages == 1


async def test_a_drivers_verdict_is_the_flows(host: Host, drivers: list[Recorder.Driver]) -> None:
    await host.load("a", MODULE)
    assert await host.request(flow_to("/block")) == Block("plugin a")


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("trap", "on_request trapped: executed 'unreachable'"),
        ("spin", "on_request used up its fuel"),
        ("bug", "on_request met an internal error: ZeroDivisionError: a bug"),
    ],
)
async def test_a_failure_costs_the_instance_and_not_the_flow(
    host: Host, drivers: list[Recorder.Driver], action: str, why: str
) -> None:
    guests = Newcomers("RawGuest", "GuestBeside", "OfficialGuest")
    await host.load("a", MODULE, "[limits]\nfuel = 100_000")
    flow = flow_to(f"/{action}")
    assert await host.request(flow) is CONTINUE
    assert flow.edited_by == ()
    assert host.texts(LogLevel.ERROR)[0].startswith(why)
    assert await host.request(flow_to("/count")) is CONTINUE
    assert drivers[0].told[-1] == 2  # of a fresh instance, or of one that was not entered
    assert host.status("a").state is PluginState.FAILING
    await until(lambda: guests.count() == 1)


async def test_a_flow_is_stopped_where_its_plugin_must_not_fail(
    host: Host, drivers: list[Recorder.Driver]
) -> None:
    await host.load("a", MODULE, 'on_failure = "closed"')
    assert await host.request(flow_to("/trap")) == Block("plugin a", 502)


async def test_failures_between_hooks_are_accounted_for(
    host: Host, drivers: list[Recorder.Driver]
) -> None:
    await host.load("a", MODULE)
    drivers[0].room.complain(GuestFailure("fell over"))
    assert host.texts(LogLevel.ERROR) == ["between hooks fell over"]
    assert host.status("a").traps == 1


async def test_limits_are_generous_unless_the_manifest_says_how_much(
    host: Host, drivers: list[Recorder.Driver]
) -> None:
    await host.load("a", MODULE)
    await host.load("b", MODULE, "[limits]\nfuel = 1_000_000\nmemory_mb = 10")
    limits = [driver.room.manifest.limits for driver in drivers]
    assert [(each.fuel, each.memory_mb) for each in limits] == [(10**8, 128), (10**6, 10)]


def slots(host: Host) -> set[object]:
    hooks = host.hooks
    bodies = {hooks.request_body, hooks.response_body}
    return bodies | {hooks.request_stream, hooks.response_stream, hooks.tunnel}


async def test_bodies_are_gathered_and_filtered_as_drivers_want(
    host: Host, drivers: list[Recorder.Driver]
) -> None:
    hooks = host.hooks
    await host.load("ours", guest("i32.const 0"))
    assert slots(host) == {None}
    await host.load("a", MODULE)
    await host.load("b", MODULE)
    assert hooks.request_body is not None
    assert hooks.response_body is not None
    assert hooks.request_stream is not None
    assert hooks.response_stream is not None
    assert hooks.tunnel is not None
    assert not hooks.request_body(flow_to("/"))
    assert hooks.response_body(flow_to("/body"))
    assert hooks.response_stream(flow_to("/")) is None
    assert hooks.tunnel(flow_to("/")) is None
    both = hooks.request_stream(flow_to("/stream"))
    assert both is not None
    assert await both(b"x", True) == b"<<x>>"
    tunnel = hooks.tunnel(flow_to("/tunnel"))
    assert tunnel is not None
    assert await tunnel(True, b"x", False) == b">>x"
    await host.manager.set_enabled("b", False)
    one = hooks.request_stream(flow_to("/stream"))
    assert one is not None
    assert await one(b"x", True) == b"<x>"
    await host.manager.set_enabled("a", False)
    assert slots(host) == {None}


async def test_a_driver_takes_leave_before_its_generation_ends(
    host: Host, drivers: list[Recorder.Driver]
) -> None:
    guests = Newcomers("RawGuest", "GuestBeside", "OfficialGuest")
    await host.load("a", MODULE)
    assert (await host.manager.reload("a")).ok
    assert await host.request(flow_to("/count")) is CONTINUE
    await host.manager.stop()
    assert [driver.closed for driver in drivers] == [True, True]
    assert [len(driver.told) for driver in drivers] == [0, 2]
    await until(lambda: guests.count() == 0)


async def test_a_refusal_of_the_dialect_is_the_plugins(
    host: Host, drivers: list[Recorder.Driver]
) -> None:
    module = wasm('(module (func (export "marker")) (func (export "refuse")))')
    assert await host.refusal(module) == "refused by the recorder"
