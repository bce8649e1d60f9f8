from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import (
    Comparison,
    DiscoverReport,
    HookProfile,
    PluginState,
    PluginStatus,
    ReloadReport,
    WatchReport,
)
from tests.api.asgi import Client
from tests.control.cores import RunningCore
from tests.waiting import until


def change(core: RunningCore, name: str, **changes: Any) -> None:
    status = core.plugins.by_name[name]
    core.plugins.by_name[name] = msgspec.structs.replace(status, **changes)


async def test_list_has_every_plugin_with_what_is_known(core: RunningCore, api: Client) -> None:
    change(
        core,
        "alpha",
        description="says hello",
        hooks=("on_request",),
        permissions=("modify_requests",),
        calls=3,
        metrics=(("seen", 2**60),),
        compared=Comparison(1, 20, (FlowId(7), FlowId(9))),
        watched=WatchReport(1.7e9, True, "alpha: generation 2 is at work"),
        profile=(HookProfile("on_request", calls=3, p50=0.5, denied=(("host_log", 1),)),),
    )
    change(core, "beta", state=PluginState.QUARANTINED, quarantined_for=4.5)
    assert (await api.get("/api/plugins")).document["plugins"][1]["stats"]["quarantined_for"] == 4.5
    change(core, "beta", state=PluginState.REFUSED, last_error="no memory", generation=0)
    reply = await api.get("/api/plugins")
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    document = reply.document
    assert document["total"] == 2
    alpha, beta = document["plugins"]
    stats = alpha.pop("stats")
    assert alpha == {
        "name": "alpha",
        "version": "1.0.0",
        "description": "says hello",
        "abi": "int3 v0",
        "state": "ready",
        "loaded": True,
        "enabled": True,
        "hooks": ["on_request"],
        "permissions": ["modify_requests"],
        "error": None,
        "compared": {"generation": 1, "flows": 20, "differing": [7, 9]},
        "watched": {"at": 1.7e9, "ok": True, "text": "alpha: generation 2 is at work"},
    }
    assert (stats["calls"], stats["generation"], stats["metrics"]) == (3, 1, {"seen": 2**60})
    assert stats["profile"]["on_request"]["denied"] == {"host_log": 1}
    assert beta["compared"] is beta["watched"] is None
    assert (beta["loaded"], beta["state"], beta["error"]) == (False, "refused", "no memory")


def answers_reload(core: RunningCore, monkeypatch: pytest.MonkeyPatch, ok: bool) -> None:
    async def reload(name: str) -> ReloadReport:
        return ReloadReport(name, ok, 4, "the module is truncated")

    monkeypatch.setattr(core.plugins, "reload", reload)


async def test_reload_tells_the_generation(core: RunningCore, api: Client) -> None:
    reply = await api.post("/api/plugins/reload/alpha")
    assert reply.status == 200
    assert reply.document == {"success": True, "message": "swapped", "generation": 2}
    assert core.plugins.threads == [core.thread.ident]


async def test_reload_that_fails_is_422(
    core: RunningCore, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers_reload(core, monkeypatch, ok=False)
    reply = await api.post("/api/plugins/reload/alpha")
    assert reply.status == 422
    assert reply.document == {"success": False, "error": "the module is truncated"}


async def test_reload_of_a_disabled_plugin_is_409(
    core: RunningCore, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers_reload(core, monkeypatch, ok=False)
    change(core, "alpha", enabled=False, state=PluginState.DISABLED)
    reply = await api.post("/api/plugins/reload/alpha")
    assert reply.status == 409
    assert reply.document["success"] is False


async def test_reload_of_a_plugin_that_is_being_reloaded_is_409(
    core: RunningCore, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = asyncio.Event()
    began: list[str] = []

    async def reload(name: str) -> ReloadReport:
        began.append(name)
        await goes_on.wait()
        return ReloadReport(name, True, 2, "swapped")

    monkeypatch.setattr(core.plugins, "reload", reload)
    first = asyncio.get_running_loop().create_task(api.post("/api/plugins/reload/alpha"))
    await until(lambda: began)
    assert (await api.post("/api/plugins/reload/alpha")).status == 409
    core.call(goes_on.set)
    assert (await first).status == 200
    assert (await api.post("/api/plugins/reload/alpha")).status == 200


@pytest.mark.parametrize(
    "path", ["/api/plugins/reload/gamma", "/api/plugins/gamma/enable", "/api/plugins/gamma/disable"]
)
async def test_commands_for_an_unknown_plugin_are_404(api: Client, path: str) -> None:
    reply = await api.post(path)
    assert reply.status == 404
    assert reply.document["success"] is False
    assert "gamma" in reply.document["error"]


async def test_disable_and_enable_tell_the_plugin_as_it_is_then(api: Client) -> None:
    reply = await api.post("/api/plugins/alpha/disable")
    assert reply.status == 200
    assert (reply.document["success"], reply.document["message"]) == (True, "alpha is disabled")
    assert (reply.document["plugin"]["enabled"], reply.document["plugin"]["loaded"]) == (
        False,
        False,
    )
    reply = await api.post("/api/plugins/alpha/enable")
    assert reply.status == 200
    assert reply.document["plugin"]["loaded"] is True


async def test_a_plugin_that_is_enabled_and_cannot_be_loaded_is_422(
    core: RunningCore, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(name: str, enabled: bool) -> PluginStatus:
        status = core.plugins.by_name[name]
        return msgspec.structs.replace(
            status, state=PluginState.REFUSED, last_error="no such import"
        )

    monkeypatch.setattr(core.plugins, "set_enabled", refuse)
    reply = await api.post("/api/plugins/alpha/enable")
    assert reply.status == 422
    assert "no such import" in reply.document["error"]


async def test_discover_tells_what_lies_there_and_why_one_was_refused(
    core: RunningCore, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def discover() -> DiscoverReport:
        change(core, "beta", state=PluginState.REFUSED, last_error="no memory")
        return DiscoverReport(
            ("/plugins",), 2, added=("alpha",), refused=(("/plugins/beta", "no memory"),)
        )

    monkeypatch.setattr(core.plugins, "discover", discover)
    document = (await api.get("/api/plugins/discover")).document
    assert document["directories"] == ["/plugins"]
    assert [(p["name"], p["loaded"], p["error"]) for p in document["plugins"]] == [
        ("alpha", True, None),
        ("beta", False, "no memory"),
    ]
    assert document["total"] == 2
    assert (document["added"], document["removed"]) == (["alpha"], [])
    assert document["refused"] == [{"path": "/plugins/beta", "error": "no memory"}]


@pytest.fixture
def logged(core: RunningCore) -> RunningCore:
    core.log("one", level=LogLevel.DEBUG, at=1_700_000_000.0)
    core.log("two", plugin="beta", at=1_700_000_001.0)
    core.log("three\x1b[31m", level=LogLevel.ERROR, at=1_700_000_002.5)
    return core


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        ("", [1, 3]),
        ("?since=1", [3]),
        ("?since=3", []),
        ("?level=warn", [3]),
        ("?level=ERROR&since=0&follow=false", [3]),
        ("?limit=1", [3]),
        ("?limit=0", []),
        ("?since=2023-11-14T22:13:20Z", [3]),
        ("?since=2023-11-14T23:13:22%2B01:00", [3]),
        ("?since=2023-11-14T23:13:22+01:00", [3]),
        ("?since=2023-11-14T22:13:23Z", []),
    ],
)
async def test_logs_are_chosen_by_the_query(api: Client, query: str, seqs: list[int]) -> None:
    document = (await api.get(f"/api/plugins/alpha/logs{query}")).document
    assert [line["seq"] for line in document["lines"]] == seqs
    assert document["plugin"] == "alpha"


@pytest.mark.usefixtures("logged")
async def test_a_line_is_told_whole_and_where_to_go_on(api: Client) -> None:
    document = (await api.get("/api/plugins/alpha/logs?since=1")).document
    assert document["lines"] == [
        {
            "seq": 3,
            "time": 1_700_000_002.5,
            "level": "error",
            "plugin": "alpha",
            "flow_id": None,
            "text": "three\x1b[31m",
        }
    ]
    assert document["last"] == 3
    assert (await api.get("/api/plugins/alpha/logs?since=7")).document["last"] == 7


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("level=loud", "level is 'loud'; give one of debug, info, warn, error"),
        ("since=yesterday", "since is 'yesterday'; give the seq of a line, or a time"),
        ("since=2026-01-31T12:00:00", "with its zone"),
        ("since=-1", "since is '-1'"),
        ("since=" + "9" * 5000, "since is '999"),
        ("limit=10001", "limit is '10001'; give a whole number from 0 to 10000"),
        ("limit=\u0661", "limit is"),
        ("limit=", "limit is ''"),
        ("follow=perhaps", "follow is 'perhaps'; give true or false"),
        ("follow=", "follow is ''"),
        ("level=warn&level=info", "level is given 2 times"),
        ("levle=warn", "unknown query parameter 'levle'; known: since, level, follow, limit"),
        ("&".join(f"a{n}=1" for n in range(30)), "more than 20 query parameters"),
    ],
)
async def test_a_query_that_makes_no_sense_is_400_with_what_does(
    api: Client, query: str, complaint: str
) -> None:
    reply = await api.get(f"/api/plugins/alpha/logs?{query}")
    assert reply.status == 400
    assert complaint in reply.document["error"]
    assert len(reply.document["error"]) < 300


async def test_the_log_of_an_unknown_plugin_is_404(api: Client) -> None:
    reply = await api.get("/api/plugins/gamma/logs?follow=true")
    assert reply.status == 404
    assert "no plugin 'gamma'" in reply.document["error"]
