"""State and metrics as guests see them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from proxy_core.bus.bus import Bus
from proxy_core.exchange.hooks import Hooks
from proxy_core.model.verdict import CONTINUE, Block
from proxy_core.plugin_host import PluginManager
from proxy_core.plugin_host.belongings.state import KEY_BYTES, VALUE_BYTES
from proxy_core.plugin_host.codes import ABSENT, BAD_POINTER, NOT_PERMITTED, OK, OVER_LIMIT, Hook
from proxy_core.plugin_host.files.manifest import GuestLimits
from tests.plugin_host.caller import PAGE, Caller
from tests.plugin_host.functions.test_host_functions import HIGH
from tests.plugin_host.guests import Host, guest, make_flow

MANY = 2**64 - 3


def test_a_value_is_read_back() -> None:
    caller = Caller(Hook.REQUEST)
    assert caller.answer("host_kv_get", b"k") == ABSENT
    assert caller.run("host_kv_set", b"k", b"value") == OK
    assert caller.answer("host_kv_get", b"k") == b"value"
    assert caller.run("host_kv_get", b"k", 0, 0) == 5
    assert caller.run("host_kv_get", b"k", 0, 4) == 5
    assert caller.run("host_kv_set", b"k", b"") == OK
    assert caller.answer("host_kv_get", b"k") == ABSENT


def test_a_count_is_signed_and_its_delta_too() -> None:
    caller = Caller(Hook.REQUEST)
    assert caller.run("host_kv_add", b"n", 10) == 10
    assert caller.run("host_kv_add", b"n", MANY) == 7
    caller.run("host_kv_set", b"text", b"four")
    assert caller.run("host_kv_add", b"text", 1) == NOT_PERMITTED


def test_state_has_its_limits() -> None:
    caller = Caller(Hook.REQUEST)
    limit = caller.call.manifest.limits.kv_bytes
    assert caller.run("host_kv_set", b"k", 0, limit + 1) == OVER_LIMIT
    long = (0, KEY_BYTES + 1)
    assert caller.run("host_kv_set", *long, b"v") == OVER_LIMIT
    assert caller.run("host_kv_get", *long, 0, 0) == OVER_LIMIT
    assert caller.run("host_kv_add", *long, 1) == OVER_LIMIT


def test_a_value_has_a_limit_of_its_own() -> None:
    caller = Caller(Hook.REQUEST)
    caller.call.manifest = replace(
        caller.call.manifest, limits=GuestLimits(kv_bytes=4 * VALUE_BYTES)
    )
    assert caller.run("host_kv_set", b"k", 0, VALUE_BYTES + 1) == OVER_LIMIT
    assert caller.run("host_kv_set", b"k", 0, VALUE_BYTES) == BAD_POINTER


def test_pointers_are_checked() -> None:
    caller = Caller(Hook.REQUEST)
    for at in (PAGE, HIGH):
        assert caller.run("host_kv_get", at, 1, 0, 0) == BAD_POINTER
        assert caller.run("host_kv_set", at, 1, b"v") == BAD_POINTER
        assert caller.run("host_kv_set", b"k", at, 1) == BAD_POINTER
        assert caller.run("host_kv_add", at, 1, 1) == BAD_POINTER
        assert caller.run("host_metric_add", at, 1, 1) == BAD_POINTER
    caller.run("host_kv_set", b"k", b"value")
    assert caller.run("host_kv_get", b"k", PAGE - 4, 5) == BAD_POINTER


def test_metrics_are_counted() -> None:
    caller = Caller(Hook.CAPTURE)
    assert caller.run("host_metric_add", b"seen", 4) == OK
    assert caller.run("host_metric_add", b"seen", MANY) == OK
    assert caller.run("host_metric_add", 0, 257, 1) == OVER_LIMIT
    assert caller.call.belongings.metrics.snapshot() == (("seen", 1),)


IMPORTS = (
    '(import "env" "host_kv_add" (func $add (param i32 i32 i64) (result i64)))'
    '(import "env" "host_metric_add" (func $count (param i32 i32 i64)))'
    '(data (i32.const 0) "hits")'
)
THIRD = guest(
    "(call $count (i32.const 0) (i32.const 4) (i64.const 2))"
    "(i64.eq (call $add (i32.const 0) (i32.const 4) (i64.const 1)) (i64.const 3))",
    imports=IMPORTS,
)
"""Blocks the third request that it sees in its life."""


async def test_state_survives_traps_reloads_and_restarts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    host = Host(tmp_path / "plugins")
    host.directory.mkdir()
    host.manager = PluginManager([host.directory], host.hooks, host.bus, 100, data)
    await host.load("a", THIRD)
    await host.load("b", THIRD)
    assert await host.request(make_flow()) is CONTINUE
    assert host.status("a").metrics == (("hits", 2),)
    assert host.status("a").state_bytes == 4 + 8 + 64
    assert (await host.manager.reload("a")).ok
    await host.manager.set_enabled("b", False)
    assert await host.request(make_flow()) is CONTINUE
    assert host.status("a").metrics == (("hits", 4),)
    await host.manager.stop()
    assert sorted(path.name for path in (data / "plugin-state").iterdir()) == ["a", "b"]
    hooks = Hooks()
    manager = PluginManager([host.directory], hooks, Bus(), 100, data)
    await manager.start()
    assert hooks.request is not None
    assert await hooks.request(make_flow()) == Block("plugin a", 403)
    await manager.stop()


async def test_what_is_set_while_shutting_down_is_kept(tmp_path: Path) -> None:
    bye = (
        '(func (export "plugin_shutdown")'
        " (drop (call $add (i32.const 0) (i32.const 4) (i64.const 2))))"
    )
    module = guest("i32.const 0", imports=IMPORTS + bye)
    for name in ("plugins", "again"):
        (tmp_path / name).mkdir()
        host = Host(tmp_path / name)
        host.manager = PluginManager([host.directory], host.hooks, host.bus, 100, tmp_path / "data")
        await host.load("a", module if name == "plugins" else THIRD)
        verdict = await host.request(make_flow())
        await host.manager.stop()
    assert verdict == Block("plugin a", 403)


async def test_a_plugin_that_comes_back_finds_its_state(tmp_path: Path) -> None:
    host = Host(tmp_path / "plugins")
    host.directory.mkdir()
    host.manager = PluginManager([host.directory], host.hooks, host.bus, 100, tmp_path / "data")
    for _ in range(2):
        await host.load("a", THIRD)
        assert await host.request(make_flow()) is CONTINUE
        (host.directory / "a" / "plugin.toml").unlink()
        (host.directory / "a" / "module.wasm").unlink()
        assert (await host.manager.discover()).removed == ("a",)
    await host.load("a", THIRD)
    assert await host.request(make_flow()) == Block("plugin a", 403)
    await host.manager.stop()
