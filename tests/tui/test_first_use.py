"""The console asks by itself what a plugin may reach, and not under anybody's fingers."""

from __future__ import annotations

import time

import pytest

from int3rceptor_tui.app import ConsoleApp
from int3rceptor_tui.screens.flows import FlowsScreen
from int3rceptor_tui.screens.permission import PermissionScreen
from proxy_core.model.plugin_status import (
    AskedPermission,
    HookProfile,
    PermissionState,
    PluginStatus,
)
from tests.tui.console import Console, open_console
from tests.tui.fake_control import FakeControl, make_plugin, make_summary
from tests.waiting import until

NETWORK = AskedPermission("network", ("api.example.com",), PermissionState.UNASKED)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for quiet, but where a test is about that."""
    monkeypatch.setattr(ConsoleApp, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(PermissionScreen, "QUIET_SECONDS", 0.0)


def refused(*entries: str) -> PluginStatus:
    asked = AskedPermission("network", entries or NETWORK.entries, PermissionState.UNASKED)
    profile = (HookProfile("on_request", calls=1, denied=(("host_http_request", 1),)),)
    return make_plugin("alpha", asked=(asked,), profile=profile)


def asking(console: Console) -> bool:
    return isinstance(console.app.screen, PermissionScreen)


def with_unasked() -> FakeControl:
    control = FakeControl()
    control.put(make_summary(1), plugins=[make_plugin("alpha", asked=(NETWORK,))])
    return control


async def look(console: Console) -> None:
    """Let the console look at the plugins' figures, as it does twice a second."""
    await console.app._refresh_figures()
    await console.settle()


@pytest.mark.parametrize(("key", "granted"), [("y", True), ("n", False)])
async def test_a_first_refusal_brings_the_question_and_the_answer_is_told(
    key: str, granted: bool
) -> None:
    control = with_unasked()
    async with open_console(control, size=(80, 24)) as console:
        await look(console)
        assert not asking(console)
        control.plugin_map["alpha"] = refused()
        await look(console)
        await until(lambda: asking(console))
        assert "alpha asks for network" in console.text
        assert "api.example.com" in console.text
        await console.press(key)
        await until(lambda: bool(control.asked))
        assert control.asked == [("permission", "alpha", "network", granted)]


async def test_later_decides_nothing_and_the_question_stays_in_the_status_bar() -> None:
    control = with_unasked()
    control.plugin_map["alpha"] = refused()
    async with open_console(control, size=(80, 24)) as console:
        await look(console)
        await until(lambda: asking(console))
        await console.press("l")
        await until(lambda: not asking(console))
        await look(console)
        await look(console)
        assert not asking(console)
        assert control.asked == []
        assert "alpha asks for network: api.example.com, P decides" in console.text
        await console.press("P")
        await until(lambda: asking(console))
        await console.press("y")
        await until(lambda: bool(control.asked))
        control.plugin_map["alpha"] = make_plugin("alpha")
        await look(console)
        assert "P decides" not in console.text


async def test_enter_does_not_allow() -> None:
    control = with_unasked()
    control.plugin_map["alpha"] = refused()
    async with open_console(control) as console:
        await look(console)
        await until(lambda: asking(console))
        await console.press("enter", "space")
        assert asking(console)
        assert control.asked == []


async def test_who_types_in_the_prompt_is_left_alone_until_it_is_closed() -> None:
    control = with_unasked()
    async with open_console(control, size=(80, 24)) as console:
        await console.press("colon")
        await console.type("pl")
        control.plugin_map["alpha"] = refused()
        await look(console)
        assert isinstance(console.app.screen, FlowsScreen)
        assert "alpha asks for network: api.example.com, P decides" in console.text
        await console.type("y")
        assert console.app.screen.prompt.value == "ply"
        await console.press("escape")
        await look(console)
        await until(lambda: asking(console))


async def test_no_question_comes_over_another_dialog() -> None:
    control = with_unasked()
    async with open_console(control) as console:
        await console.press("z")
        dialog = console.app.screen
        control.plugin_map["alpha"] = refused()
        await look(console)
        assert console.app.screen is dialog
        await console.press("n")
        await look(console)
        await until(lambda: asking(console))


async def test_no_question_comes_right_after_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    control = with_unasked()
    monkeypatch.setattr(ConsoleApp, "IDLE_SECONDS", 3600.0)
    async with open_console(control) as console:
        await console.press("j")
        control.plugin_map["alpha"] = refused()
        await look(console)
        assert not asking(console)
        console.app.last_key_at = time.monotonic() - 3601
        await look(console)
        await until(lambda: asking(console))


async def test_keys_do_not_count_until_it_was_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    control = with_unasked()
    control.plugin_map["alpha"] = refused()
    monkeypatch.setattr(PermissionScreen, "QUIET_SECONDS", 3600.0)
    async with open_console(control) as console:
        await look(console)
        await until(lambda: asking(console))
        await console.press("y", "n", "q", "y")
        assert asking(console)
        assert control.asked == []
        monkeypatch.setattr(PermissionScreen, "QUIET_SECONDS", 0.0)
        await console.press("n")
        await until(lambda: bool(control.asked))
        assert control.asked == [("permission", "alpha", "network", False)]


async def test_many_entries_leave_the_keys_in_sight() -> None:
    control = with_unasked()
    control.plugin_map["alpha"] = refused(*(f"host{number}.example" for number in range(40)))
    async with open_console(control, size=(80, 24)) as console:
        await look(console)
        await until(lambda: asking(console))
        await console.settle()
        assert "and 30 more, which its profile shows" in console.text
        assert "y  allow      n  deny      l  later" in console.text
