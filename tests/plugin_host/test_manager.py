"""Discovering, loading, enabling, disabling, reloading by swap, stopping."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from proxy_core.bus.bus import Bus
from proxy_core.errors import PluginNotFound
from proxy_core.exchange.hooks import Hooks
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import LoadPhase, PluginState
from proxy_core.model.verdict import CONTINUE, Block
from proxy_core.plugin_host import PluginManager
from proxy_core.plugin_host.generation import Blueprint
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.logs import StartLog
from tests.plugin_host.guests import LOG, MEMORY, Host, Newcomers, guest, make_flow, wasm
from tests.waiting import until

PASS = guest("i32.const 0")
BLOCK = guest("i32.const 1")


def speaking(text: str, entry: str, result: bool = True) -> bytes:
    """A module that logs `text` in one entry."""
    call = f"(call $log (i32.const 1) (i32.const 0) (i32.const {len(text)}))"
    body = f'(func (export "{entry}") {"(result i32)" if result else ""} {call}'
    body += " i32.const 0)" if result else ")"
    hook = '(func (export "on_request") (result i32) i32.const 0)'
    return wasm(f'(module {LOG} {MEMORY} (data (i32.const 0) "{text}") {body} {hook})')


# discover


async def test_without_directories_nothing_is_found(tmp_path: Path) -> None:
    hooks = Hooks()
    manager = PluginManager([tmp_path / "nowhere"], hooks, Bus(), 10)
    report = await manager.start()
    assert (report.found, report.added, report.refused) == (0, (), ())
    assert report.directories == (str(tmp_path / "nowhere"),)
    assert manager.statuses() == []
    assert hooks.request is None
    await manager.stop()


async def test_plugins_are_found_and_told_of(host: Host) -> None:
    host.put("one", PASS, 'version = "1.2"\ndescription = "Passes"')
    (host.directory / "two.wasm").write_bytes(PASS)
    report = await host.start()
    assert (report.found, report.added, report.refused) == (2, ("one", "two"), ())
    one, two = host.manager.statuses()
    assert (one.name, one.version, one.description) == ("one", "1.2", "Passes")
    assert (one.abi, one.state, one.enabled, one.generation) == (
        "int3 v1",
        PluginState.READY,
        True,
        1,
    )
    assert one.hooks == ("on_request",)
    assert one.permissions == ("modify_requests", "modify_responses", "access_bodies")
    assert one.path == str(host.directory / "one" / "module.wasm")
    assert one.loaded
    assert (two.name, two.version) == ("two", "")


async def test_what_is_refused_is_listed_with_its_reason(host: Host) -> None:
    host.put("good", PASS)
    host.put("odd", PASS, "colour = 1")
    (host.directory / "text.wasm").write_text("(module)")
    report = await host.start()
    assert (report.found, report.added) == (3, ("good",))
    assert {Path(where).name: "unknown key" in why for where, why in report.refused} == {
        "plugin.toml": True,
        "text.wasm": False,
    }
    assert host.status("odd").state is PluginState.REFUSED
    assert "unknown key 'colour'" in (host.status("odd").last_error or "")
    assert not host.status("text").loaded
    assert await host.request(make_flow()) is CONTINUE


async def test_what_was_refused_is_tried_again(host: Host) -> None:
    host.put("a", b"")
    assert (await host.start()).added == ()
    host.put("a", PASS)
    assert (await host.manager.discover()).added == ("a",)
    assert host.status("a").state is PluginState.READY
    assert (await host.manager.discover()).added == ()


async def test_what_is_gone_is_forgotten(host: Host) -> None:
    path = host.put("a", PASS)
    host.put("b", PASS)
    await host.start()
    (path.parent / "plugin.toml").unlink()
    path.unlink()
    report = await host.manager.discover()
    assert report.removed == ("a",)
    assert [status.name for status in host.manager.statuses()] == ["b"]
    with pytest.raises(PluginNotFound, match="no plugin 'a'; known: b"):
        await host.manager.reload("a")


async def test_discovering_again_leaves_loaded_plugins_alone(host: Host) -> None:
    host.put("a", PASS)
    await host.start()
    host.put("a", BLOCK)
    report = await host.manager.discover()
    assert (report.found, report.added) == (1, ())
    assert await host.request(make_flow()) is CONTINUE


async def test_the_first_directory_wins_a_name(tmp_path: Path) -> None:
    for name, module in (("first", BLOCK), ("second", PASS)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.wasm").write_bytes(module)
    hooks = Hooks()
    manager = PluginManager([tmp_path / "first", tmp_path / "second"], hooks, Bus(), 10)
    report = await manager.start()
    assert report.added == ("same",)
    ((where, why),) = report.refused
    assert where == str(tmp_path / "second" / "same.wasm")
    assert "'same' is taken by" in why
    assert hooks.request is not None
    assert await hooks.request(make_flow()) == Block("plugin same", 403)
    await manager.stop()


# loading


async def test_a_load_is_told_phase_by_phase_and_how_long_it_took(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.load("a", PASS)
    first = host.status("a")
    assert (first.phase, first.loading_for) == (None, 0.0)
    assert first.load_seconds > 0
    go_on = threading.Event()
    draw = Blueprint.draw

    def draw_slowly(*arguments: Any) -> Blueprint:
        assert go_on.wait(10)
        return draw(*arguments)

    monkeypatch.setattr(Blueprint, "draw", draw_slowly)
    news = host.bus.plugins.subscribe(100)
    async with asyncio.TaskGroup() as group:
        reloading = group.create_task(host.manager.reload("a"))
        await until(lambda: host.status("a").phase is LoadPhase.COMPILING)
        told = host.status("a")
        assert (told.state, told.generation) == (PluginState.LOADING, 1)
        assert 0 < told.loading_for <= host.status("a").loading_for
        go_on.set()
    assert reloading.result().message.startswith("a: generation 2 is at work, loaded in ")
    phases = [status.phase for status in news.drain()]
    assert phases == [LoadPhase.READING, LoadPhase.COMPILING, LoadPhase.STARTING, None]
    assert host.status("a").phase is None


async def test_a_load_that_fails_is_in_no_phase_any_more(host: Host) -> None:
    await host.load("a", PASS)
    took = host.status("a").load_seconds
    host.put("a", b"")
    await host.manager.reload("a")
    status = host.status("a")
    assert (status.phase, status.load_seconds) == (None, took)


async def test_lines_of_plugin_init_are_kept(host: Host) -> None:
    await host.load("a", speaking("getting up", "plugin_init"))
    assert host.texts() == ["getting up"]
    assert host.status("a").log_lines == 1


async def test_initialize_runs_before_plugin_init(host: Host) -> None:
    text = (
        f'(module {LOG} {MEMORY} (data (i32.const 0) "ab")'
        ' (func (export "plugin_init") (result i32)'
        " (call $log (i32.const 1) (i32.const 1) (i32.const 1)) i32.const 0)"
        ' (func (export "_initialize") (call $log (i32.const 1) (i32.const 0) (i32.const 1)))'
        ' (func (export "on_request") (result i32) i32.const 0))'
    )
    await host.load("a", wasm(text))
    assert host.texts() == ["a", "b"]


@pytest.mark.parametrize("code", [1, -1, 300])
async def test_plugin_init_may_decline(host: Host, code: int) -> None:
    init = f'(func (export "plugin_init") (result i32) i32.const {code})'
    why = await host.refusal(guest("i32.const 0", imports=init))
    assert why == f"plugin_init returned {code}; 0 means ready"
    assert host.hooks.request is None


async def test_another_abi_version_is_refused(host: Host) -> None:
    module = wasm(
        '(module (func (export "int3_abi_version") (result i32) i32.const 2)'
        ' (func (export "on_request") (result i32) i32.const 0))'
    )
    assert "int3_abi_version is 2" in await host.refusal(module)


async def test_hooks_that_a_plugin_of_v0_cannot_have_are_mentioned(host: Host) -> None:
    tick = '(func (export "on_tick") (result i32) i32.const 0)'
    await host.load("a", guest("i32.const 0", imports=tick, v1=False))
    assert host.texts(LogLevel.WARN) == [
        "not called: on_tick; that needs int3_abi_version, returning 1"
    ]


# enable and disable


async def test_a_plugin_that_is_disabled_is_not_loaded(host: Host) -> None:
    await host.load("a", BLOCK, "enabled = false")
    status = host.status("a")
    assert (status.state, status.enabled, status.generation) == (PluginState.DISABLED, False, 0)
    assert host.hooks.request is None


async def test_enabling_loads_and_disabling_unloads(host: Host) -> None:
    await host.load("a", BLOCK, "enabled = false")
    status = await host.manager.set_enabled("a", True)
    assert (status.state, status.enabled, status.generation) == (PluginState.READY, True, 1)
    assert await host.request(make_flow()) == Block("plugin a", 403)
    status = await host.manager.set_enabled("a", False)
    assert (status.state, status.enabled, status.loaded) == (PluginState.DISABLED, False, False)
    assert host.hooks.request is None
    assert (await host.manager.set_enabled("a", True)).generation == 2


async def test_enabling_twice_changes_nothing(host: Host) -> None:
    await host.load("a", PASS)
    assert (await host.manager.set_enabled("a", True)).generation == 1


async def test_enabling_what_cannot_be_loaded_tells_why(host: Host) -> None:
    await host.load("a", b"(module)", "enabled = false")
    status = await host.manager.set_enabled("a", True)
    assert status.state is PluginState.REFUSED
    assert "not a WebAssembly module" in (status.last_error or "")


async def test_unknown_plugins_are_not_found(host: Host) -> None:
    await host.start()
    with pytest.raises(PluginNotFound, match="no plugin 'x'; known: none"):
        await host.manager.reload("x")
    with pytest.raises(PluginNotFound, match="no plugin 'x'; known: none"):
        await host.manager.set_enabled("x", True)


# reload


async def test_a_reload_swaps_in_the_new_version(host: Host) -> None:
    await host.load("a", PASS)
    host.put("a", BLOCK, 'version = "2"\npriority = 7')
    report = await host.manager.reload("a")
    assert (report.name, report.ok, report.generation) == ("a", True, 2)
    assert await host.request(make_flow()) == Block("plugin a", 403)
    status = host.status("a")
    assert (status.version, status.generation, status.last_error) == ("2", 2, None)


@pytest.mark.parametrize(
    ("module", "manifest", "why"),
    [
        (b"", "", "empty"),
        (b"\0asm\1\0\0\0", "", "exports no hook"),
        (PASS[:-2], "", "truncated"),
        (guest("unreachable", "plugin_init"), "", "exports no hook"),
        (BLOCK, "oops = 1", "unknown key 'oops'"),
        (BLOCK, "[limits]\nfuel = -1", "limits.fuel"),
        (speaking("x", "plugin_init").replace(b"\x41\x00\x0b", b"\x41\x01\x0b"), "", "returned 1"),
    ],
)
async def test_a_broken_reload_keeps_the_old_version(
    host: Host, module: bytes, manifest: str, why: str
) -> None:
    await host.load("a", PASS, 'version = "1"')
    host.put("a", module, manifest)
    report = await host.manager.reload("a")
    assert (report.ok, report.generation) == (False, 1)
    assert report.message.startswith("a goes on as generation 1: ")
    assert why in report.message
    assert await host.request(make_flow()) is CONTINUE
    status = host.status("a")
    assert (status.version, status.state, status.generation) == ("1", PluginState.READY, 1)
    assert why in (status.last_error or "")


async def test_a_reload_that_works_clears_the_error_of_one_that_did_not(host: Host) -> None:
    await host.load("a", PASS)
    host.put("a", b"")
    await host.manager.reload("a")
    host.put("a", PASS)
    assert (await host.manager.reload("a")).ok
    assert host.status("a").last_error is None


async def test_a_reload_loads_what_was_refused(host: Host) -> None:
    host.put("a", b"")
    await host.start()
    report = await host.manager.reload("a")
    assert not report.ok
    assert report.message.startswith("a could not be loaded: ")
    host.put("a", PASS)
    assert (await host.manager.reload("a")).generation == 1


async def test_a_disabled_plugin_is_not_reloaded(host: Host) -> None:
    await host.load("a", PASS, "enabled = false")
    report = await host.manager.reload("a")
    assert (report.ok, report.message) == (False, "a is disabled; enable it to load it")


async def test_a_manifest_that_changes_its_name_is_not_swapped_in(host: Host) -> None:
    path = host.put("a", PASS)
    await host.start()
    (path.parent / "plugin.toml").write_text('name = "b"\nwasm = "module.wasm"\n')
    assert "now names it 'b'" in (await host.manager.reload("a")).message


async def test_a_reload_ends_quarantine(host: Host) -> None:
    await host.load("a", guest("unreachable"))
    for _ in range(3):
        await host.request(make_flow())
    assert host.status("a").state is PluginState.QUARANTINED
    host.put("a", PASS)
    await host.manager.reload("a")
    assert host.status("a").state is PluginState.READY


async def test_guests_that_spin_on_the_loop_do_not_keep_a_load_waiting(host: Host) -> None:
    minutes = "[limits]\nfuel = 1_000_000_000_000\ndeadline_ms = 60_000\nmemory_mb = 4"
    await host.load("a", guest("(loop (br 0)) i32.const 0"), minutes)
    loop = asyncio.get_running_loop()
    spinning = [loop.create_task(host.request(make_flow())) for _ in range(4)]
    await asyncio.sleep(0)
    for _ in range(3):
        await host.load(f"b{_}", PASS)
    assert not any(task.done() for task in spinning)
    for task in spinning:
        task.cancel()
    await asyncio.wait(spinning)


@pytest.mark.parametrize("alone", ["true", "false"])
async def test_a_version_is_not_blamed_for_calls_that_fail_in_the_one_before(
    host: Host, alone: str
) -> None:
    limits = "[limits]\nfuel = 1_000_000_000_000\ndeadline_ms = 200\nmemory_mb = 4"
    endless = f"single_instance = {alone}\n{limits}"
    await host.load("a", guest("(loop (br 0)) i32.const 0"), endless)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(host.request(make_flow()))
        await asyncio.sleep(0)
        host.put("a", PASS)
        assert (await host.manager.reload("a")).ok
    status = host.status("a")
    assert status.traps >= 1
    assert (status.state, status.last_error) == (PluginState.READY, None)
    errors = host.texts(LogLevel.ERROR)
    assert all(text.endswith("in the version before") for text in errors)
    assert any("did not return within 200 ms" in text for text in errors)
    assert any("was busy with other calls" in text for text in errors) or alone == "false"


async def test_calls_under_way_finish_on_the_old_version(host: Host) -> None:
    spin = (
        "(local $n i32) (local.set $n (i32.const 150000))"
        "(loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) i32.const 1"
    )
    await host.load("a", guest(spin))
    host.put("a", PASS)

    async def request() -> object:
        return await host.request(make_flow())

    async with asyncio.TaskGroup() as group:
        old = [group.create_task(request()) for _ in range(3)]
        await asyncio.sleep(0)
        reloading = group.create_task(host.manager.reload("a"))
    assert [task.result() for task in old] == [Block("plugin a", 403)] * 3
    assert reloading.result().ok
    assert await host.request(make_flow()) is CONTINUE


async def test_no_flow_is_lost_while_versions_change(host: Host) -> None:
    await host.load("a", PASS)
    done = asyncio.Event()
    verdicts: list[object] = []

    async def traffic() -> None:
        while not done.is_set():
            verdicts.append(await host.request(make_flow()))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(traffic())
        for number in range(10):
            host.put("a", b"" if number % 3 == 0 else PASS)
            await host.manager.reload("a")
        done.set()
    assert len(verdicts) > 10
    assert all(verdict is CONTINUE for verdict in verdicts)
    assert host.status("a").generation == 7
    assert host.status("a").traps == 0


async def test_the_old_version_says_goodbye(host: Host) -> None:
    await host.load("a", speaking("bye", "plugin_shutdown", result=False))
    host.put("a", PASS)
    await host.manager.reload("a")
    await host.manager.stop()
    assert "bye" in host.texts()


async def test_a_version_that_is_busy_says_goodbye_when_it_is_done(host: Host) -> None:
    spin = (
        "(local $n i32) (local.set $n (i32.const 150000))"
        "(loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) i32.const 0"
    )
    bye = '(func (export "plugin_shutdown") (call $log (i32.const 1) (i32.const 0) (i32.const 3)))'
    module = guest(spin, imports=f'{LOG} {bye} (data (i32.const 0) "bye")')
    await host.load("a", module, "single_instance = true")

    async def request() -> object:
        return await host.request(make_flow())

    async with asyncio.TaskGroup() as group:
        requests = [group.create_task(request()) for _ in range(3)]
        await asyncio.sleep(0)
        await host.manager.set_enabled("a", False)
        assert "bye" not in host.texts()
    assert [task.result() for task in requests] == [CONTINUE] * 3
    await host.manager.stop()
    assert host.texts().count("bye") == 1


async def test_a_goodbye_that_fails_is_told(host: Host) -> None:
    module = wasm(
        '(module (func (export "plugin_shutdown") unreachable)'
        ' (func (export "on_request") (result i32) i32.const 0))'
    )
    await host.load("a", module)
    await host.manager.stop()
    assert any(text.startswith("plugin_shutdown: trapped") for text in host.texts())


# bus, threads, stop


async def test_changes_are_told_on_the_bus(host: Host) -> None:
    news = host.bus.plugins.subscribe(50)
    await host.load("a", PASS)
    await host.manager.set_enabled("a", False)
    assert [status.state for status in news.drain()] == [
        *[PluginState.LOADING] * 3,
        PluginState.READY,
        PluginState.DISABLED,
    ]


async def test_statuses_are_read_from_another_thread_while_things_change(host: Host) -> None:
    await host.load("a", PASS)
    stop = threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        while not stop.is_set():
            try:
                assert host.manager.statuses()[0].name == "a"
                host.manager.logs.snapshot()
            except Exception as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(10):
        await host.manager.reload("a")
        await host.request(make_flow())
    stop.set()
    await asyncio.to_thread(reader.join)
    assert failures == []


async def test_stopping_empties_the_slots_and_may_be_repeated(host: Host) -> None:
    await host.load("a", PASS)
    await host.manager.stop()
    assert host.hooks.request is None
    assert host.manager.statuses() == []
    await host.manager.stop()


async def test_after_a_stop_it_can_start_again(host: Host) -> None:
    await host.load("a", PASS)
    await host.manager.stop()
    assert (await host.manager.start()).added == ("a",)
    assert await host.request(make_flow()) is CONTINUE


async def test_a_cancelled_reload_changes_nothing(host: Host) -> None:
    await host.load("a", PASS)
    host.put("a", BLOCK)

    async def reload() -> None:
        await host.manager.reload("a")

    async with asyncio.TaskGroup() as group:
        reloading = group.create_task(reload())
        await asyncio.sleep(0)
        reloading.cancel()
    assert await host.request(make_flow()) is CONTINUE
    assert host.status("a").state is PluginState.READY
    assert (await host.manager.reload("a")).ok


async def test_what_a_cancelled_reload_builds_is_closed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    guests = Newcomers("RawGuest", "GuestBeside", "OfficialGuest")
    await host.load("a", PASS)
    building, cancelled = threading.Event(), threading.Event()
    build = Blueprint.build

    def build_slowly(blueprint: Blueprint, log: StartLog) -> Guest:
        building.set()
        assert cancelled.wait(10)
        return build(blueprint, log)

    async def reload() -> None:
        await host.manager.reload("a")

    async def reload_and_cancel() -> None:
        building.clear()
        cancelled.clear()
        async with asyncio.TaskGroup() as group:
            reloading = group.create_task(reload())
            assert await asyncio.to_thread(building.wait, 10)
            reloading.cancel()
        cancelled.set()
        assert reloading.cancelled()

    monkeypatch.setattr(Blueprint, "build", build_slowly)
    for _ in range(3):
        await reload_and_cancel()
    monkeypatch.undo()
    assert (await host.manager.reload("a")).ok
    workshop = host.manager._workshop
    workers, engine = workshop.workers, workshop._engine
    assert engine is not None  # and kept, as it would keep what nobody closed
    await host.manager.stop()
    await asyncio.to_thread(workers.shutdown)
    await until(lambda: guests.count() == 0)
