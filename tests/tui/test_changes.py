"""The console shows what was done to a flow, and who did it."""

from __future__ import annotations

from int3rceptor_tui.screens.detail import DetailScreen
from int3rceptor_tui.screens.plugins import PluginsScreen
from proxy_core.config import Settings
from proxy_core.control.views import BodyView, ChangeView, HeadView
from proxy_core.model.ids import FlowId
from tests.tui.console import open_console
from tests.tui.fake_control import FakeControl, make_detail, make_plugin, make_summary

ASKED = HeadView("GET /items/2 HTTP/2", (("accept", "*/*"), ("cookie", "secret")), b"")
SENT = HeadView("GET /items/2 HTTP/2", (("accept", "*/*"), ("x-seen", "yes")), b"")
CAME = HeadView("HTTP/2 200", (("content-type", "text/plain"),), b"")
CHANGES = (
    ChangeView("plugin alpha", False, ASKED, SENT),
    ChangeView("plugin beta", True, CAME, CAME, BodyView(b"one\ntwo", 7), BodyView(b"one\n2", 5)),
)


def with_changes() -> FakeControl:
    control = FakeControl()
    rows = [make_summary(number) for number in (1, 2, 3)]
    control.put(*rows, plugins=[make_plugin("alpha"), make_plugin("beta"), make_plugin("gamma")])
    control.details[FlowId(2)] = make_detail(rows[1], changes=CHANGES)
    return control


async def test_the_changes_of_a_flow_stand_in_a_tab_of_their_own() -> None:
    async with open_console(with_changes(), size=(80, 24)) as console:
        await console.press("g", "j", "enter")
        assert "Changes 2" in console.text
        await console.press("tab", "tab")
        for line in (
            "1  plugin alpha changed the request",
            "- cookie: secret",
            "+ x-seen: yes",
            "2  plugin beta changed the response",
            "- two",
            "+ 2",
        ):
            assert line in console.text
        await console.press("space")
        assert "Nothing changed this flow on its way." in console.text
        assert "Changes 2" not in console.text


async def test_m_leaves_the_changes_of_one_editor_after_the_other() -> None:
    async with open_console(with_changes()) as console:
        await console.press("g", "j", "enter", "tab", "tab", "m")
        assert "by plugin alpha" in console.text
        assert "plugin beta changed" not in console.text
        await console.press("m")
        assert "plugin alpha changed" not in console.text
        assert "2  plugin beta changed the response" in console.text
        await console.press("m")
        assert "plugin alpha changed" in console.text
        assert "by all" in console.text


async def test_a_plugins_changes_of_the_selected_flow_are_a_key_away() -> None:
    async with open_console(with_changes()) as console:
        await console.press("g", "j", "2", "j", "c")
        assert isinstance(console.app.screen, DetailScreen)
        assert console.app.screen.flow_id == 2
        assert "plugin beta changed the response" in console.text
        assert "plugin alpha changed" not in console.text
        console.app.performer.run_line("plugins.changes gamma")
        await console.settle()
        assert "plugin gamma changed nothing of this flow on its way." in console.text
        assert "What did: plugin alpha, plugin beta." in console.text
        await console.press("q")
        below: object = console.app.screen
        assert isinstance(below, PluginsScreen)


async def test_without_a_flow_or_a_plugin_the_key_says_so() -> None:
    control = FakeControl()
    async with open_console(control) as console:
        await console.press("2", "c")
        assert console.was_told("There are no plugins.")
        control.put(plugins=[make_plugin("alpha")])
        await console.tick()
        await console.press("c")
        assert console.was_told("There is no flow to choose.")


async def test_the_key_that_changes_the_view_is_named_as_it_was_remapped() -> None:
    settings = Settings(keys={"detail.mode": "f8"})
    async with open_console(with_changes(), settings=settings) as console:
        await console.press("g", "j", "enter", "tab", "tab")
        assert "f8: by all" in console.text
