"""What a manager does when files of plugins have changed: real files, real modules."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import LoadPhase, PluginState, WatchReport
from proxy_core.model.verdict import CONTINUE, Block
from proxy_core.plugin_host import PluginManager
from proxy_core.plugin_host.building import Builder
from tests.plugin_host.guests import Host, guest, make_flow, past_flow
from tests.waiting import until

PASS = guest("i32.const 0")
BLOCK = guest("i32.const 1")


@pytest.fixture
def flows() -> list[Flow]:
    """What has passed lately."""
    return []


@pytest.fixture
async def host(tmp_path: Path, flows: list[Flow]) -> AsyncIterator[Host]:
    """A host that watches once it is started; most tests tell it of changes themselves."""
    made = Host(tmp_path)
    made.manager = PluginManager(
        [tmp_path], made.hooks, made.bus, 1000, recent_flows=lambda: flows, watch=True
    )
    yield made
    await made.manager.stop()


async def follow(host: Host, name: str, there: bool = True) -> WatchReport:
    """Tell the manager of a change of `name/plugin.toml`; return what came of it."""
    before = {status.name: status.watched for status in host.manager.statuses()}
    await host.manager.follow({host.directory / name / "plugin.toml": there})
    reports = [
        status.watched
        for status in host.manager.statuses()
        if status.watched is not None and status.watched is not before.get(status.name)
    ]
    (report,) = reports
    return report


async def follow_nothing(host: Host, *paths: str) -> None:
    """Tell the manager of changes of which nothing comes."""
    before = (host.texts(), host.manager.statuses())
    await host.manager.follow({host.directory / path: True for path in paths})
    after = (host.texts(), host.manager.statuses())
    assert after == before


# By itself.


async def test_a_new_version_is_swapped_in_by_itself(host: Host) -> None:
    host.put("a", PASS)
    await host.start()
    host.put("a", BLOCK, 'version = "2"')
    await until(lambda: host.status("a").generation == 2)
    assert await host.request(make_flow()) == Block("plugin a", 403)
    assert "reloaded by watch: generation 2" in host.texts()
    report = host.status("a").watched
    assert report is not None
    assert report.ok
    assert report.text.startswith("a: generation 2 is at work, loaded in ")


async def test_a_new_plugin_is_loaded_by_itself(host: Host) -> None:
    await host.start()
    host.put("a", BLOCK)
    await until(lambda: host.hooks.request is not None)
    await until(lambda: "loaded by watch: generation 1" in host.texts())


async def test_who_does_not_watch_reloads_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.put("a", PASS)
    await host.start()
    host.put("a", BLOCK)
    await asyncio.sleep(1.0)
    assert host.status("a").generation == 1
    await host.manager.stop()


async def test_nothing_is_loaded_after_the_end(host: Host) -> None:
    host.put("a", PASS)
    await host.start()
    host.put("a", BLOCK)
    await host.manager.stop()
    await asyncio.sleep(0.1)
    assert host.manager.statuses() == []
    assert host.hooks.request is None


async def test_that_watching_has_failed_is_in_the_log(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, directories: object) -> None:
        raise RecursionError("too many links")

    monkeypatch.setattr("proxy_core.plugin_host.files.watcher.FileWatch.look", fail)
    await host.start()
    await until(lambda: host.texts(LogLevel.ERROR))
    (told,) = host.texts(LogLevel.ERROR)
    assert told.startswith("plugins are not watched any more: RecursionError('too many links'")


# What has changed.


async def test_a_broken_version_leaves_the_old_one_and_is_told_once(host: Host) -> None:
    await host.load("a", PASS)
    host.put("a", b"\0asm\1\0\0\0 half")
    report = await follow(host, "a")
    assert not report.ok
    assert report.text.startswith("a goes on as generation 1: truncated")
    assert "truncated" in (host.status("a").last_error or "")
    assert await host.request(make_flow()) is CONTINUE
    await follow_nothing(host, "a/plugin.toml")
    (host.directory / "a" / "module.wasm").touch()
    await follow_nothing(host, "a/plugin.toml")
    host.put("a", BLOCK)
    assert (await follow(host, "a")).ok
    assert host.status("a").last_error is None
    assert await host.request(make_flow()) == Block("plugin a", 403)


async def test_a_manifest_alone_is_a_change(host: Host) -> None:
    await host.load("a", PASS)
    host.put("a", PASS, "priority = 7\ncolour = 1")
    assert "unknown key 'colour'" in (await follow(host, "a")).text
    host.put("a", PASS, 'version = "7"')
    assert (await follow(host, "a")).ok
    assert host.status("a").version == "7"


async def test_what_a_key_has_loaded_already_is_not_loaded_again(host: Host) -> None:
    await host.load("a", PASS)
    host.put("a", BLOCK)
    assert (await host.manager.reload("a")).ok
    await follow_nothing(host, "a/plugin.toml")
    host.put("a", b"")
    assert not (await host.manager.reload("a")).ok
    await follow_nothing(host, "a/plugin.toml")


async def test_what_changes_while_it_is_loaded_is_not_swapped_in(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.load("a", PASS)
    build = Builder.build

    def build_while_written(self: Builder, *arguments: object) -> object:
        built = build(self, *arguments)  # type: ignore[arg-type]
        host.put("a", BLOCK, 'description = "all of it"')
        return built

    monkeypatch.setattr(Builder, "build", build_while_written)
    host.put("a", BLOCK)
    report = await follow(host, "a")
    assert report.text == "a goes on as generation 1: its files changed while they were loaded"
    assert await host.request(make_flow()) is CONTINUE
    monkeypatch.undo()
    assert (await follow(host, "a")).ok
    assert host.status("a").description == "all of it"


async def test_what_was_refused_is_tried_again_when_it_changes(host: Host) -> None:
    host.put("a", b"")
    await host.start()
    await follow_nothing(host, "a/plugin.toml")
    host.put("a", BLOCK)
    assert (await follow(host, "a")).ok
    assert host.status("a").state is PluginState.READY
    assert host.status("a").generation == 1


async def test_a_disabled_plugin_stays_so_and_is_loaded_as_it_is_when_enabled(host: Host) -> None:
    await host.load("a", PASS)
    await host.manager.set_enabled("a", False)
    host.put("a", BLOCK)
    await follow_nothing(host, "a/plugin.toml")
    assert host.hooks.request is None
    await host.manager.set_enabled("a", True)
    assert await host.request(make_flow()) == Block("plugin a", 403)
    await follow_nothing(host, "a/plugin.toml")


# What is gone, and what has moved.


async def test_what_is_gone_goes_on_and_says_so_once(host: Host) -> None:
    path = host.put("a", BLOCK)
    await host.start()
    path.unlink()
    assert "module.wasm cannot be read: No such file" in (await follow(host, "a")).text
    shutil.rmtree(path.parent)
    report = await follow(host, "a", there=False)
    assert not report.ok
    assert report.text == (
        "a: its files are gone; generation 1 goes on until plugins are discovered anew"
    )
    assert await host.request(make_flow()) == Block("plugin a", 403)
    before = host.texts()
    await host.manager.follow({path.parent / "plugin.toml": False})
    assert host.texts() == before
    host.put("a", BLOCK)
    assert (await follow(host, "a")).ok
    assert host.status("a").last_error is None


async def test_what_is_gone_and_never_worked_is_forgotten(host: Host) -> None:
    path = host.put("a", b"")
    await host.start()
    shutil.rmtree(path.parent)
    await host.manager.follow({path.parent / "plugin.toml": False})
    assert host.manager.statuses() == []


async def test_what_was_forgotten_by_key_and_comes_back_the_same_is_taken_up(host: Host) -> None:
    path = host.put("a", BLOCK)
    await host.start()
    shutil.rmtree(path.parent)
    assert (await host.manager.discover()).removed == ("a",)
    host.put("a", BLOCK)
    assert (await follow(host, "a")).ok


async def test_a_module_whose_manifest_is_gone_is_not_taken_up_without_it(host: Host) -> None:
    path = host.put("a", BLOCK, "[permissions]\nmodify_requests = false\n")
    await host.start()
    (path.parent / "plugin.toml").unlink()
    await host.manager.follow({path.parent / "plugin.toml": False, path: True})
    assert [status.name for status in host.manager.statuses()] == ["a"]
    assert "modify_requests" not in host.status("a").permissions
    assert await host.request(make_flow()) == Block("plugin a", 403)


async def test_a_module_that_gets_a_manifest_is_one_plugin(host: Host) -> None:
    (host.directory / "b").mkdir()
    (host.directory / "b" / "module.wasm").write_bytes(PASS)
    await host.start()
    host.put("b", BLOCK)
    await host.manager.follow(
        {host.directory / "b" / name: True for name in ("module.wasm", "plugin.toml")}
    )
    assert [status.name for status in host.manager.statuses()] == ["b"]
    assert await host.request(make_flow()) == Block("plugin b", 403)


async def test_a_plugin_that_was_moved_goes_on_from_its_new_place(host: Host) -> None:
    path = host.put("a", PASS)
    await host.start()
    path.parent.rename(host.directory / "b")
    (host.directory / "b" / "module.wasm").write_bytes(BLOCK)
    gone, new = host.directory / "a" / "plugin.toml", host.directory / "b" / "plugin.toml"
    await host.manager.follow({gone: False, new: True})
    (status,) = host.manager.statuses()
    assert (status.name, status.generation, status.last_error) == ("a", 2, None)
    assert status.path == str(host.directory / "b" / "module.wasm")
    assert await host.request(make_flow()) == Block("plugin a", 403)


async def test_a_name_that_is_taken_is_told_once(host: Host) -> None:
    await host.load("a", PASS)
    shutil.copytree(host.directory / "a", host.directory / "b")
    await host.manager.follow({host.directory / "b" / "plugin.toml": True})
    (told,) = host.texts(LogLevel.WARN)
    assert "b/plugin.toml: the name 'a' is taken by " in told
    await follow_nothing(host, "b/plugin.toml")


# Beside the old version.


async def test_a_comparison_is_a_phase_of_a_load_and_told_everywhere(
    host: Host, flows: list[Flow]
) -> None:
    await host.load("a", PASS)
    flows += [past_flow(number) for number in range(1, 26)]
    news = host.bus.plugins.subscribe(100)
    host.put("a", BLOCK)
    report = await follow(host, "a")
    await asyncio.sleep(0)
    assert report.text.endswith("; 20 of 20 recent flows differ from generation 1")
    compared = host.status("a").compared
    assert compared is not None
    assert (compared.generation, compared.flows) == (1, 20)
    assert compared.differing == tuple(range(6, 26))
    assert LoadPhase.COMPARING in [status.phase for status in news.drain()]
    told = " / ".join(host.texts())
    assert "20 of 20 recent flows differ from generation 1: 6, 7, 8, " in told
    assert "reloaded by watch: generation 2; 20 of 20 recent flows differ from " in told


async def test_a_reload_by_key_is_compared_too(host: Host, flows: list[Flow]) -> None:
    await host.load("a", PASS)
    flows.append(past_flow(5))
    report = await host.manager.reload("a")
    assert report.message.endswith("; 0 of 1 recent flow differs from generation 1")
    flows.clear()
    report = await host.manager.reload("a")
    assert "recent" not in report.message
    assert host.status("a").compared is None


async def test_a_replaced_version_is_freed_before_the_collector_comes(
    host: Host, flows: list[Flow]
) -> None:
    await host.load("a", PASS)
    flows.append(past_flow(5))

    def code() -> object:
        generation = host.manager._plugins["a"].generation
        assert generation is not None
        return generation.blueprint.code.handle

    gc.disable()
    try:
        old = weakref.ref(code())
        await host.request(make_flow())
        report = await host.manager.reload("a")
        assert "1 recent flow differs from generation 1" in report.message
        await until(lambda: old() is None)
    finally:
        gc.enable()


async def test_a_version_that_does_not_start_offline_is_loaded_without_a_comparison(
    host: Host, flows: list[Flow]
) -> None:
    wants_state = (
        '(import "env" "host_kv_add" (func $add (param i32 i32 i64) (result i64)))'
        ' (func (export "plugin_init") (result i32) '
        "(i32.wrap_i64 (i64.sub (call $add (i32.const 0) (i32.const 1) (i64.const 1)) "
        "(i64.const 1))))"
    )
    await host.load("a", PASS)
    flows.append(past_flow(5))
    host.put("a", guest("i32.const 1", imports=wants_state))
    assert (await follow(host, "a")).ok
    assert host.texts(LogLevel.WARN) == [
        "not compared with generation 1: plugin_init returned 1; 0 means ready"
    ]
    assert host.status("a").compared is None
    assert await host.request(make_flow()) == Block("plugin a", 403)
