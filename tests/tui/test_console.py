from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

import pytest
from textual import events

from int3rceptor_tui.app import ConsoleApp
from int3rceptor_tui.keymap import ACTIONS, Where, check_remapped
from int3rceptor_tui.screens.core_down import CoreDownScreen
from int3rceptor_tui.screens.detail import DetailScreen
from int3rceptor_tui.screens.flows import FlowsScreen
from int3rceptor_tui.screens.help import HelpScreen
from int3rceptor_tui.screens.permission import PermissionScreen
from int3rceptor_tui.screens.plugin import PluginScreen
from int3rceptor_tui.screens.plugins import PluginsScreen
from int3rceptor_tui.widgets.prompt import Prompt
from proxy_core.config import Settings
from proxy_core.control.views import WebSocketMessageView, WebSocketView
from proxy_core.errors import ConfigError, ListenError
from proxy_core.model.flow import FlowKind, FlowState
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import (
    AskedPermission,
    Comparison,
    DiscoverReport,
    LoadPhase,
    PermissionKind,
    PermissionState,
    PluginState,
    ReloadReport,
    WatchReport,
)
from tests.tui.console import Console, open_console
from tests.tui.fake_control import (
    NOON,
    FakeControl,
    FakeRunnableCore,
    make_detail,
    make_line,
    make_plugin,
    make_summary,
)
from tests.waiting import until


def with_flows(count: int) -> FakeControl:
    control = FakeControl()
    control.put(*(make_summary(number) for number in range(1, count + 1)))
    return control


def with_plugins() -> FakeControl:
    control = with_flows(3)
    control.put(plugins=[make_plugin("alpha"), make_plugin("beta", last_error="it trapped")])
    return control


def table_of(console: Console) -> FlowsScreen:
    screen = console.app.screen
    assert isinstance(screen, FlowsScreen)
    return screen


async def test_the_first_screen_says_how_to_use_the_proxy_that_runs() -> None:
    async with open_console() as console:
        assert "listens on 127.0.0.1:8080" in console.text
        assert "CA=/data/ca/int3rceptor-ca.pem" in console.text
        console.control.put(make_summary(1))
        await console.tick()
        assert "/items/1" in console.text
        assert "Nothing has come" not in console.text


async def test_a_flow_shows_number_method_host_path_status_and_sizes() -> None:
    async with open_console(with_flows(1), size=(180, 20)) as console:
        row = next(line for line in console.text.splitlines() if "/items/1" in line)
        words = row.split()
        assert words[0] == "1"
        for word in ("GET", "https", "example.com", "200", "application/json", "1.2k", "42ms"):
            assert word in words
        assert "HTTP/2" in words


async def test_following_stays_at_the_newest_flow_until_the_user_moves() -> None:
    async with open_console(with_flows(100)) as console:
        assert table_of(console).selected == 100
        console.control.put(make_summary(101))
        await console.tick()
        assert table_of(console).selected == 101
        await console.press("k")
        console.control.put(make_summary(102))
        await console.tick()
        assert table_of(console).selected == 100
        await console.press("F")
        assert table_of(console).selected == 102


async def test_movement_keys_go_to_the_ends_and_by_pages() -> None:
    async with open_console(with_flows(200)) as console:
        await console.press("g")
        assert table_of(console).selected == 1
        await console.press("j", "down", "k")
        assert table_of(console).selected == 2
        page = table_of(console).table.page
        await console.press("space")
        assert table_of(console).selected == 2 + page - 1
        await console.press("ctrl+b")
        assert table_of(console).selected == 2
        await console.press("G")
        assert table_of(console).selected == 200


async def test_a_smaller_terminal_keeps_the_newest_or_the_cursor_in_sight() -> None:
    async with open_console(with_flows(200)) as console:
        await console.pilot.resize_terminal(100, 20)
        await console.settle()
        assert "/items/200 " in console.text
        await console.press(*"k" * 14, "colon")
        assert "/items/186 " in console.text
        await console.press("escape")
        await console.pilot.resize_terminal(100, 9)
        await console.settle()
        assert "/items/186 " in console.text
        assert table_of(console).selected == 186


async def test_the_newest_flow_stays_in_sight_behind_the_prompt() -> None:
    async with open_console(with_flows(200)) as console:
        await console.press("colon")
        assert "/items/200 " in console.text
        await console.press("escape")
        assert "/items/200 " in console.text


async def test_the_cursor_stays_on_its_flow_when_older_ones_are_evicted() -> None:
    async with open_console(with_flows(100)) as console:
        await console.press("k", "k")
        assert table_of(console).selected == 98
        console.control.put(make_summary(101), gone=range(1, 50))
        await console.tick()
        assert table_of(console).selected == 98
        console.control.put(make_summary(102), gone=range(50, 99))
        await console.tick()
        assert table_of(console).selected == 99


async def test_a_flow_that_changes_is_shown_as_it_is_now() -> None:
    control = FakeControl()
    control.put(make_summary(1, state=FlowState.ACTIVE, status=None, duration=None))
    async with open_console(control) as console:
        assert " · " in console.text
        control.put(make_summary(1, state=FlowState.FAILED, status=502, error="refused"))
        await console.tick()
        assert "!502" in console.text


async def test_enter_opens_a_flow_and_q_goes_back_to_it() -> None:
    async with open_console(with_flows(5)) as console:
        await console.press("k", "enter")
        await until(lambda: isinstance(console.app.screen, DetailScreen))
        await until(lambda: '"number": 4' in console.text)
        assert "HTTP/2 200" in console.text
        await console.press("p")
        await until(lambda: '"number": 3' in console.text)
        await console.press("q")
        assert table_of(console).selected == 3


def web_socket(count: int) -> WebSocketView:
    return WebSocketView(
        tuple(
            WebSocketMessageView(i % 2 == 0, 1, NOON, 9, b"message %d." % i) for i in range(count)
        )
    )


async def test_the_messages_of_a_web_socket_have_a_part_of_their_own_and_are_followed() -> None:
    control = with_flows(1)
    row = make_summary(2, kind=FlowKind.WEBSOCKET, state=FlowState.ACTIVE, status=101)
    control.put(row)
    control.details[row.id] = make_detail(row, web_socket=web_socket(50))
    async with open_console(control) as console:
        await console.press("enter")
        await until(lambda: "message 49." in console.text)
        assert "Messages" in console.text
        assert "message 0." not in console.text
        control.details[row.id] = make_detail(row, web_socket=web_socket(60))
        control.put(row)
        await console.tick()
        await until(lambda: "message 59." in console.text)
        # Who looks at older ones is left alone.
        await console.press("g")
        control.details[row.id] = make_detail(row, web_socket=web_socket(70))
        control.put(row)
        await console.tick()
        await until(lambda: "70 messages" in console.text)
        assert "message 0." in console.text
        assert "message 69." not in console.text
        # A flow without messages has no such part.
        await console.press("p")
        await until(lambda: '"number": 1' in console.text)
        assert "Messages" not in console.text
        await console.press("tab", "tab", "tab", "tab")
        assert '"number": 1' in console.text


def talking(*messages: WebSocketMessageView, **changes: object) -> FakeControl:
    """A flow, and a WebSocket that is open."""
    control = with_flows(1)
    row = make_summary(2, kind=FlowKind.WEBSOCKET, state=FlowState.ACTIVE, status=101)
    control.put(row)
    control.details[row.id] = make_detail(row, web_socket=WebSocketView(messages, **changes))  # type: ignore[arg-type]
    return control


def said(payload: bytes, opcode: int = 1, **changes: object) -> WebSocketMessageView:
    return WebSocketMessageView(True, opcode, NOON, len(payload), payload, **changes)  # type: ignore[arg-type]


async def test_a_message_opens_whole_and_closes_again() -> None:
    long = "word " * 100 + "the end"
    control = talking(
        said(b'{"role": "admin", "id": 17}', edited=True, by=("rule modify-messages 1",)),
        said(long.encode().replace(b" ", b"\n")),
        said(b"\0\1\2", opcode=2),
    )
    async with open_console(control) as console:
        await console.press("enter")
        await until(lambda: "[edited by rule modify-messages 1]" in console.text)
        assert "the␊end" not in console.text
        await console.press("k", "enter")
        assert "Message 2, client to server" in console.text
        await console.press("G")
        assert "end" in console.text.split()
        await console.press("q")
        assert "3 messages" in console.text
        await console.press("k", "enter")
        assert "edited by rule modify-messages 1" in console.text
        assert '  "role": "admin",' in console.text
        await console.press("m")
        assert '{"role": "admin", "id": 17}' in console.text
        await console.press("m", "m")
        await console.press("p")  # there is none before
        assert "Message 1," in console.text
        await console.press("space", "space")
        assert "Message 3," in console.text
        assert "00000000  00 01 02" in console.text
        await console.press("space")
        assert "Message 3," in console.text
        # Other parts are there beside it, and it is where it was.
        await console.press("tab")
        assert "accept: */*" in console.text
        await console.press("shift+tab")
        assert "Message 3," in console.text
        await console.press("escape")
        assert "3 messages" in console.text
        await console.press("escape")
        assert table_of(console).selected == 2


async def test_an_open_message_stays_while_others_come_and_older_ones_go() -> None:
    control = talking(said(b"first"), said(b"second"))
    async with open_console(control) as console:
        await console.press("enter")
        await until(lambda: "second" in console.text)
        await console.press("g", "enter")
        assert "Message 1," in console.text
        for forgotten, kept in ((0, (b"first", b"second", b"third")), (1, (b"second", b"third"))):
            row = control.known[FlowId(2)]
            messages = tuple(said(payload) for payload in kept)
            control.details[row.id] = make_detail(
                row, web_socket=WebSocketView(messages, forgotten=forgotten)
            )
            control.put(row)
            await console.tick()
            if forgotten:
                await until(lambda: "no longer in memory" in console.text)
            else:
                assert "Message 1," in console.text
        await console.press("q")
        assert "1 older message was dropped" in console.text
        await console.press("enter")  # on that line: there is nothing to open
        assert "2 messages" not in console.text
        assert "3 messages" in console.text


async def test_messages_are_searched_and_moved_through_by_keys() -> None:
    control = talking(*(said(b"message %d." % number) for number in range(100)))
    async with open_console(control, size=(80, 24)) as console:
        await console.press("enter")
        await until(lambda: "message 99." in console.text)
        await console.press("slash", *"message", "space", "7", "full_stop", "enter")
        await until(lambda: "message 7." in console.text)
        await console.press("enter")
        assert "Message 8," in console.text


async def test_a_message_is_sent_into_the_flow_that_is_open() -> None:
    control = talking(said(b"hello"))
    async with open_console(control) as console:
        await console.press("enter")
        await until(lambda: "hello" in console.text)
        await console.press("s")
        await console.type("hi there")
        await console.press("enter")
        await until(lambda: control.asked)
        await console.press("colon")
        await console.type("message.to_client hex:00 ff")
        await console.press("enter")
        await until(lambda: len(control.asked) == 2)
        assert control.asked == [
            ("inject", 2, True, 1, b"hi there"),
            ("inject", 2, False, 2, b"\0\xff"),
        ]
        await until(lambda: "Sent to the client of flow 2: 2 bytes." in console.notes)
        control.refused_message = "flow 2 is no open WebSocket; choose one that is"
        for line, complaint in (
            ("message.to_server text:hex:1", control.refused_message),
            ("message.to_server hex:0", "hex:0 is not hexadecimal; write two digits"),
        ):
            console.app.performer.run_line(line)
            await until(partial(console.was_told, complaint))
        assert control.asked[2:] == [("inject", 2, True, 1, b"hex:1")]


async def test_a_body_is_shown_as_json_text_and_hex() -> None:
    async with open_console(with_flows(1)) as console:
        await console.press("enter")
        await until(lambda: '  "number": 1' in console.text)
        await console.press("m")
        assert '{"number": 1}' in console.text
        await console.press("m")
        assert "7b 22 6e 75" in console.text
        await console.press("f")
        assert "content-type" not in console.text
        await console.press("tab")
        assert "TLS_AES_128_GCM_SHA256" in console.text


async def test_search_finds_in_a_flow() -> None:
    async with open_console(with_flows(1)) as console:
        await console.press("enter")
        await until(lambda: "number" in console.text)
        await console.press("slash")
        await console.type("nothing here")
        await console.press("enter")
        await until(lambda: "Not found." in console.notes)
        await console.press("slash")
        await console.type("number")
        await console.press("enter")
        screen = console.app.screen
        assert isinstance(screen, DetailScreen)
        assert screen.viewer._match is not None
        found = next(
            strip
            for strip in map(screen.viewer.render_line, range(screen.viewer.size.height))
            if '"number": 1' in strip.text
        )
        marked = {segment.style for segment in found if segment.text.strip()}
        assert len({style.color for style in marked if style is not None}) == 1, "readable on it"


async def test_plugins_show_their_state_figures_and_errors() -> None:
    async with open_console(with_plugins()) as console:
        await console.press("2")
        assert isinstance(console.app.screen, PluginsScreen)
        row = next(line for line in console.text.splitlines() if line.startswith("alpha"))
        assert {"alpha", "1.0.0", "ready", "100", "20.0", "12.3k"} <= set(row.split())
        assert "it trapped" in console.text
        await console.press("1")
        assert "/items/3" in console.text


async def test_a_reload_that_waits_for_another_is_acknowledged() -> None:
    async with open_console(with_plugins()) as console:
        console.control.may_reload.clear()
        await console.press("2", "r")
        await until(lambda: console.was_told("Loading alpha anew ...; one plugin is loaded after"))
        console.control.may_reload.set()
        await until(lambda: console.was_told("alpha is now generation 2"))


async def test_the_log_tails_one_plugin_or_all_and_leads_to_the_flow() -> None:
    async with open_console(with_plugins()) as console:
        await console.press("2")
        console.control.put(
            logs=[
                make_line(1, "from alpha", flow=2),
                make_line(2, "from beta", plugin="beta", level=LogLevel.ERROR),
            ]
        )
        await console.tick()
        assert "from alpha" in console.text
        assert "from beta" in console.text
        await console.press("l")
        assert "from beta" not in console.text
        await console.press("tab", "enter")
        await until(lambda: isinstance(console.app.screen, DetailScreen))
        await until(lambda: '"number": 2' in console.text)


async def test_the_log_is_filtered_by_level_and_by_the_plugin_whose_line_has_the_cursor() -> None:
    async with open_console(with_plugins()) as console:
        await console.press("2")
        console.control.put(
            logs=[
                make_line(1, "chatter", level=LogLevel.DEBUG),
                make_line(2, "of the program", plugin=""),
                make_line(3, "worry", plugin="beta", level=LogLevel.WARN),
            ]
        )
        await console.tick()
        await console.press("v")
        assert "chatter" not in console.text
        assert "of the program" in console.text
        assert "info and worse" in console.text
        await console.press("v")
        console.control.put(logs=[make_line(4, "trouble", level=LogLevel.ERROR)])
        console.control.put(logs=[make_line(5, "more chatter", level=LogLevel.DEBUG)])
        await console.tick()
        assert "of the program" not in console.text
        assert "worry" in console.text
        assert "trouble" in console.text
        assert "more chatter" not in console.text
        await console.press("tab", "k", "l")
        assert "Log of beta, l shows all, warn and worse" in console.text
        assert "trouble" not in console.text
        await console.press("l", "v", "v")
        assert "── Log of all plugins " in console.text
        assert "more chatter" in console.text
        await console.press("right")
        assert "── < Log of all plugins " in console.text
        await console.press("left")
        assert "── Log of all plugins " in console.text


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        (("D",), ("discover",)),
        (("r",), ("reload", "alpha")),
        (("j", "r"), ("reload", "beta")),
        (("e",), ("enable", "alpha", False)),
    ],
)
async def test_plugin_keys_reach_the_core(keys: tuple[str, ...], asked: tuple[object, ...]) -> None:
    async with open_console(with_plugins()) as console:
        await console.press("2", *keys)
        await until(lambda: console.control.asked == [asked])


async def test_a_plugin_opens_and_its_keys_work_there_too() -> None:
    async with open_console(with_plugins()) as console:
        await console.press("2", "j", "enter")
        assert isinstance(console.app.screen, PluginScreen)
        await console.press("r", "e")
        await until(lambda: len(console.control.asked) == 2)
        assert console.control.asked == [("reload", "beta"), ("enable", "beta", False)]
        assert isinstance(console.app.screen, PluginScreen)


async def test_what_discover_refuses_is_told_at_once_and_leaves_with_the_next_action() -> None:
    control = with_plugins()
    refused = tuple((f"/plugins/p{number}/plugin.toml", "no " * 200) for number in range(7))
    control.discovered = DiscoverReport(("/plugins",), 9, refused=refused)
    async with open_console(control) as console:
        await console.press("2", "D")
        await until(lambda: len(console.notes) == 2)
        assert console.notes[1].startswith("7 were refused: p0, p1, p2, p3, p4 and 2 more; ")
        control.discovered = DiscoverReport(("/plugins",), 1, refused=refused[:1])
        await console.press("D")
        await until(lambda: len(console.notes) == 2)
        assert console.notes[0] == "1 plugin found."
        assert console.notes[1].startswith("/plugins/p0/plugin.toml was refused: no no ")
        assert len(console.notes[1]) == 300


async def test_a_reload_that_fails_says_what_failed_and_that_the_old_one_goes_on() -> None:
    control = with_plugins()
    control.reload_report = ReloadReport("alpha", False, 1, "no \x1b[31mmemory; 1 goes on")
    async with open_console(control) as console:
        await console.press("2", "r")
        await until(lambda: console.notes)
        assert console.notes == ["no ␛[31mmemory; 1 goes on"]


async def test_the_prompt_completes_and_runs_commands_from_any_screen() -> None:
    async with open_console(with_plugins()) as console:
        await console.press("colon")
        await console.type("plugins.rel")
        await console.press("tab")
        await console.type("be")
        await console.press("tab", "enter")
        await until(lambda: console.control.asked == [("reload", "beta")])
        await console.press("colon", "up")
        assert console.app.screen.query_one("#prompt").value == "plugins.reload beta"  # type: ignore[attr-defined]
        await console.press("escape")
        assert not console.app.screen.query_one("#prompt").display


@pytest.mark.parametrize("line", ["plugins.reload", "plugins.toggle", "plugins.profile"])
async def test_a_command_on_no_plugin_in_sight_asks_which(line: str) -> None:
    async with open_console(with_plugins()) as console:
        await console.press("2", "j", "1", "colon")
        await console.type(line)
        await console.press("enter")
        prompt = console.app.screen.query_one(Prompt)
        assert (prompt.display, prompt.value) == (True, f"{line} ")
        assert console.was_told("Which plugin?")
        assert f"{line} alpha" in console.text
        assert console.control.asked == []


async def test_a_command_on_plugins_says_where_there_are_none() -> None:
    async with open_console(with_flows(1)) as console:
        await console.press("colon")
        await console.type("plugins.reload")
        await console.press("enter")
        assert console.was_told("There are no plugins.")


async def test_tab_goes_through_what_the_line_could_become() -> None:
    async with open_console(with_plugins()) as console:
        prompt = console.app.screen.query_one(Prompt)
        await console.press("colon")
        await console.type("flow.")
        offered = next(line for line in console.text.splitlines() if "flow.clear" in line)
        assert "flow.follow" in offered
        await console.press("tab", "tab", "tab")
        assert prompt.value == "flow.follow"
        await console.press("shift+tab", "shift+tab", "shift+tab")
        assert prompt.value.startswith("flow.")
        assert prompt.value != "flow.clear"
        await console.press("tab", "x")
        assert prompt.value == "flow.clearx"
        assert "flow.follow" not in console.text
        await console.press("escape", "colon")
        await console.type("plugin.")
        assert "plugin.search" not in console.text, "for a place that the user is not in"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("plugins.relaod x", "did you mean plugins.reload"),
        ("nonsense", "there is no command 'nonsense'"),
        ("plugins.reload nobody", "no plugin is called 'nobody'"),
        ("flow.follow now", "takes no argument"),
        ("detail.mode", "is for an open flow; press enter"),
        ("plugin.search", "is for an open plugin; press p"),
    ],
)
async def test_a_wrong_command_says_what_is_wrong(line: str, words: str) -> None:
    async with open_console(with_plugins()) as console:
        console.app.performer.run_line(line)
        await until(lambda: any(words in note for note in console.notes))


async def test_keys_typed_all_at_once_have_their_effect_one_after_the_other() -> None:
    async with open_console(with_plugins()) as console:
        typed = [(":", "colon"), *((c, c) for c in "plugins"), (".", "full_stop")]
        typed += [*((c, c) for c in "reload"), (" ", "space"), *((c, c) for c in "beta")]
        for character, key in typed:
            console.app.post_message(events.Key(key, character))
        for key in ("enter", "g", "colon", "escape", "j"):
            console.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(lambda: console.control.asked == [("reload", "beta")])
        await until(lambda: table_of(console).selected == 2)
        assert console.app.screen.query_one(Prompt).value == ""


async def test_what_a_key_asks_for_is_typed_right_behind_it() -> None:
    async with open_console(with_flows(2)) as console:
        for key in ("y", "u", "r", "l", "enter", "enter"):
            console.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(lambda: console.was_told("Copied flow 2 as url: 27 bytes."))
        await until(lambda: isinstance(console.app.screen, DetailScreen))


@pytest.mark.parametrize("keys", ["?/move", "2p/calls"])
async def test_the_search_of_a_screen_that_just_opened_has_the_keys(keys: str) -> None:
    async with open_console(with_plugins()) as console:
        for character in keys:
            key = {"?": "question_mark", "/": "slash"}.get(character, character)
            console.app.post_message(events.Key(key, character))
        await until(
            lambda: console.app.screen.query(Prompt).first().value == keys.partition("/")[2]
        )


async def test_the_dialog_that_a_key_opens_has_the_next_one() -> None:
    async with open_console(with_flows(2)) as console:
        for key in ("z", "y"):
            console.app.post_message(events.Key(key, key))
        await until(lambda: console.control.asked == [("clear",)])


async def test_the_prompt_for_a_plugin_has_the_keys_that_come_next() -> None:
    async with open_console(with_plugins()) as console:
        await console.press("colon")
        await console.type("plugins.reload")
        for key in ("enter", *"alpha", "enter"):
            console.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(lambda: console.control.asked == [("reload", "alpha")])


async def test_a_flow_is_copied_from_the_list_and_from_the_flow_itself() -> None:
    async with open_console(with_flows(2)) as console:
        await console.press("y")
        assert "curl" in console.text
        await console.type("u")
        await console.press("tab", "enter")
        await until(lambda: console.was_told("Copied flow 2 as url: 27 bytes."))
        assert console.app.clipboard == "https://example.com/items/2"
        await console.press("k", "enter")
        await until(lambda: '"number": 1' in console.text)
        await console.press("y")
        await console.type("body")
        await console.press("enter")
        await until(lambda: console.app.clipboard == '{"number": 1}')


async def test_a_log_line_longer_than_the_screen_can_be_read_whole() -> None:
    long = "it panicked because " + "of this and " * 40 + "of \x1b[31mkey 42"
    lines = [make_line(2, long, flow=3), make_line(3, long + " without a flow")]
    async with open_console(with_plugins(), size=(80, 24)) as console:
        console.control.put(logs=lines)
        await console.tick()
        await console.press("2", "tab", "enter")
        assert "without a flow" in " ".join(console.text.split())
        await console.press("p")
        shown = " ".join(console.text.split())
        assert "of \u241b[31mkey 42" in shown
        assert "#3 enter shows it" in shown
        await console.press("q", "w")
        assert "#3  enter shows it" in console.text, "the cursor went along"
        await console.press("q")
        assert "w shows a line whole, F follows" in console.text
        await console.press("w")
        await console.press("enter")
        await until(lambda: '"number": 3' in console.text)


async def test_help_lists_the_keys_of_the_place() -> None:
    async with open_console(with_flows(1), size=(120, 60)) as console:
        await console.press("question_mark")
        assert isinstance(console.app.screen, HelpScreen)
        assert "Keys in flows" in console.text
        assert "Resume the held flow" in console.text
        await console.press("escape")
        assert isinstance(console.app.screen, FlowsScreen)


async def test_help_shows_no_key_for_what_it_does_not_do_there() -> None:
    async with open_console(with_plugins(), size=(120, 80)) as console:
        await console.press("question_mark")
        assert "pane" not in console.text.partition("Commands")[0]
        await console.press("q", "2", "question_mark")
        keys = {line.split()[0]: line for line in console.text.splitlines() if line[:3] > "   "}
        lines = [line for line in console.text.splitlines() if "Move right" in line]
        assert [line.split()[0] for line in lines] == ["right"]
        assert "only this plugin's log" in keys["l"]


async def test_clearing_asks_first() -> None:
    control = with_flows(3)
    control.put(make_summary(4, state=FlowState.ACTIVE), make_summary(5, state=FlowState.HELD))
    async with open_console(control) as console:
        await console.press("z")
        assert "Clear all finished flows (3)?" in console.text
        await console.press("n")
        assert console.control.asked == []
        await console.press("z", "y")
        await until(lambda: console.control.asked == [("clear",)])


async def test_held_flows_are_resumed_and_killed_by_key() -> None:
    control = FakeControl()
    control.put(make_summary(1, state=FlowState.HELD, status=None))
    async with open_console(control) as console:
        assert "hold" in console.text
        await console.press("a")
        await until(lambda: ("resume", [1]) in console.control.asked)
        await console.press("X")
        await until(lambda: ("kill", [1]) in console.control.asked)
        await console.press("A")
        await until(lambda: ("resume", None) in console.control.asked)


async def test_a_fault_of_the_console_ends_the_core_too() -> None:
    app = ConsoleApp(Settings(), make=lambda _: FakeRunnableCore(FakeControl()))

    def fail() -> None:
        raise ZeroDivisionError

    async def run() -> None:
        async with app.run_test():
            await until(lambda: app.control is not None)
            app.call_later(fail)
            await until(lambda: not app.is_running)

    try:
        with pytest.raises(ZeroDivisionError):
            await run()
        await until(lambda: not app.worker_core.running)
    finally:
        app.worker_core.stop()


async def test_a_core_that_cannot_start_says_why_and_can_be_started_again() -> None:
    control = FakeControl()
    core = FakeRunnableCore(control, ListenError("port 8080 is taken; pass --listen"))
    async with open_console(control, core=core) as console:
        await until(lambda: isinstance(console.app.screen, CoreDownScreen))
        await until(lambda: "port 8080 is taken" in console.text)
        core.start_error = None
        await console.press("r")
        await until(lambda: console.app.control is not None)
        assert isinstance(console.app.screen, FlowsScreen)


async def test_a_core_that_dies_says_why_and_what_was_seen_stays() -> None:
    control = with_flows(2)
    core = FakeRunnableCore(control)
    async with open_console(control, core=core) as console:
        core.die(RuntimeError("out of luck"))
        await until(lambda: isinstance(console.app.screen, CoreDownScreen))
        await until(lambda: "out of luck" in console.text)
        await console.press("q")
        assert "/items/2" in console.text
        assert "ctrl+r starts it again" in console.text


@pytest.mark.parametrize("size", [(20, 5), (3, 2), (80, 24), (200, 60)])
async def test_every_screen_draws_at_any_size(size: tuple[int, int]) -> None:
    async with open_console(with_plugins(), size=size) as console:
        for keys in (("enter",), ("tab",), ("q",), ("2",), ("question_mark",), ("escape",)):
            await console.press(*keys)
            assert len(console.text.splitlines()) <= size[1]


async def test_what_the_network_sends_is_never_drawn_as_control_or_markup() -> None:
    control = FakeControl()
    control.put(make_summary(1, path="/\x1b]0;x\x07[bold]\u202eevil", host="h\r\nost"))
    async with open_console(control, size=(200, 40)) as console:
        assert "␛]0;x␇[bold]<U+202E>evil" in console.text
        assert "\x1b" not in console.text


async def test_a_terminal_that_is_behind_is_given_nothing_more() -> None:
    async with open_console(with_flows(1)) as console:
        console.app.pump._is_behind = lambda: True
        drains = console.control.feeds[0].drains
        await console.tick()
        assert console.control.feeds[0].drains == drains
        assert console.app.pump.skipped > 0


async def test_keys_can_be_remapped_by_action() -> None:
    settings = Settings(keys={"flow.follow": "f8"})
    async with open_console(with_flows(50), settings=settings) as console:
        await console.press("k", "F")
        assert table_of(console).selected == 49
        await console.press("f8")
        assert table_of(console).selected == 50
        await console.press("k")
        assert "f8 follows" in console.text


async def test_hints_name_the_keys_as_they_were_remapped() -> None:
    remapped = {
        "app.help": "f2",
        "app.back": "f3",
        "app.quit": "",
        "screen.plugins": "f4",
        "plugins.permissions": "f5",
        "plugins.discover": "f6",
        "plugins.log": "f7",
        "plugins.profile": "f8",
        "plugin.search": "f9",
    }
    asked = (AskedPermission("network", ("example.com",), PermissionState.UNASKED),)
    control = FakeControl()
    async with open_console(control, settings=Settings(keys=remapped)) as console:
        assert "f2 keys   : commands   f4 plugins   :app.quit quit" in console.text
        assert "1 Flows" in console.text
        assert "f4 Plugins" in console.text
        assert "f2 help" in console.text
        await console.press("f4")
        assert "plugins and press f6." in console.text
        control.put(plugins=[make_plugin("alpha", asked=asked)])
        await console.tick()
        await console.app.fetch_plugins()
        await console.settle()
        assert "f5 decides on network" in console.text
        await console.press("f7")
        assert "Log of alpha, f7 shows all" in console.text
        await console.press("f8")
        assert "f3 goes back" in console.text
        assert "f5 decides" in console.text
        await console.press("n")
        assert console.was_told("press f9")
        await console.press("f3", "1", "colon")
        await console.type("plugin.search")
        await console.press("enter")
        assert console.was_told("press f8 on one")


def test_a_remapped_action_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"flow\.fly.*flow\.follow"):
        check_remapped({"flow.fly": "f"})


def test_no_key_means_two_things_in_one_place() -> None:
    for place in Where:
        keys = [
            key
            for action in ACTIONS
            if action.where is place
            for key in filter(None, action.keys.split(","))
        ]
        assert len(keys) == len(set(keys)), place
        assert not {"ctrl+i", "ctrl+m", "ctrl+j", "ctrl+h"} & set(keys)


def test_the_console_loads_nothing_heavy_before_its_first_frame() -> None:
    code = (
        "import sys, int3rceptor_tui.app\n"
        "heavy = ('cryptography', 'wasmtime', 'h2', 'proxy_core.core', 'uvloop')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_plugin_that_was_refused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    control = with_plugins()
    refused = make_plugin("alpha", state=PluginState.REFUSED, last_error="no exports")

    async def refuse(name: str, enabled: bool) -> object:
        return refused

    monkeypatch.setattr(control, "set_plugin_enabled", refuse)
    async with open_console(control) as console:
        console.app.performer.run_line("plugins.enable alpha")
        await until(lambda: "alpha could not be loaded: no exports" in console.notes)


async def test_a_plugins_profile_is_shown_and_goes_on() -> None:
    control = FakeControl()
    control.put(plugins=[make_plugin("alpha", metrics=(("hits", 7),)), make_plugin("beta")])
    async with open_console(control) as console:
        await console.tick()
        await console.press("2", "p")
        assert isinstance(console.app.screen, PluginScreen)
        assert "7 hits" in console.text
        control.put(plugins=[make_plugin("alpha", metrics=(("hits", 8),))])
        await console.tick()
        assert "8 hits" in console.text
        await console.press("q")
        below: object = console.app.screen
        assert isinstance(below, PluginsScreen)
        await console.press("colon")
        await console.type("plugins.profile beta")
        await console.press("enter")
        assert "What beta does" in console.text
        console.app.performer.run_line("plugins.profile gamma")
        await until(lambda: "no plugin is called 'gamma'" in console.notes)


async def test_a_load_under_way_shows_its_phase_and_how_long_it_takes() -> None:
    control = with_plugins()
    async with open_console(control, size=(80, 24)) as console:
        await console.press("2")
        for phase, seconds in ((LoadPhase.COMPILING, 1.5), (LoadPhase.STARTING, 2.5)):
            control.put(
                plugins=[
                    make_plugin("beta", state=PluginState.LOADING, phase=phase, loading_for=seconds)
                ]
            )
            await console.tick()
            row = next(line for line in console.text.splitlines() if " beta " in f" {line} ")
            assert phase.value in row
            assert f"{seconds}s" in row


async def test_what_watching_has_met_is_told_and_stays_in_the_plugins_row() -> None:
    control = with_plugins()
    async with open_console(control) as console:
        await console.press("2")
        now = time.time()
        text = "beta: generation 2 is at work; 3 of 20 recent flows differ from generation 1"
        compared = Comparison(1, 20, (FlowId(1), FlowId(2), FlowId(3)))
        changed = make_plugin(
            "beta", generation=2, compared=compared, watched=WatchReport(now, True, text)
        )
        control.put(plugins=[changed])
        await console.tick()
        assert console.notes == [text]
        row = next(line for line in console.text.splitlines() if " beta " in f" {line} ")
        assert "3/20 differ; What beta" in row
        control.put(plugins=[changed])
        await console.tick()
        broken = "beta goes on as generation 2: the file is empty"
        control.put(plugins=[make_plugin("beta", watched=WatchReport(now + 1, False, broken))])
        await console.tick()
        assert console.notes == [text, broken]


async def test_what_a_plugin_may_reach_is_asked_and_told_to_the_core() -> None:
    control = FakeControl()
    kinds: tuple[PermissionKind, ...] = ("network", "filesystem")
    asked = tuple(
        AskedPermission(kind, ("example.com",), PermissionState.UNASKED) for kind in kinds
    )
    control.put(plugins=[make_plugin("alpha", asked=asked), make_plugin("beta")])
    async with open_console(control) as console:
        await console.tick()
        await console.press("2", "P")
        await until(lambda: isinstance(console.app.screen, PermissionScreen))
        first = console.app.screen
        assert "example.com" in console.text
        await console.press("y")
        await until(lambda: console.app.screen is not first)
        await until(lambda: isinstance(console.app.screen, PermissionScreen))
        await console.press("n")
        await until(lambda: len(control.asked) == 2)
        assert control.asked == [
            ("permission", "alpha", "network", True),
            ("permission", "alpha", "filesystem", False),
        ]
        console.app.performer.run_line("plugins.permissions beta")
        await until(lambda: "beta asks to reach nothing." in console.notes)
