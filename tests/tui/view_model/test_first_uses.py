"""Which questions come up by themselves, and how they stand on one line."""

from __future__ import annotations

from rich.cells import cell_len

from int3rceptor_tui.view_model.first_uses import FirstUses, Question
from proxy_core.model.plugin_status import (
    AskedPermission,
    HookProfile,
    PermissionState,
    PluginStatus,
)
from tests.tui.fake_control import make_plugin

NETWORK = AskedPermission("network", ("api.example.com",), PermissionState.UNASKED)
FILES = AskedPermission("filesystem", ("/srv",), PermissionState.UNASKED)


def refused(name: str, *imports: str, asked: tuple[AskedPermission, ...]) -> PluginStatus:
    denied = tuple((name, 1) for name in imports)
    return make_plugin(name, asked=asked, profile=(HookProfile("on_request", denied=denied),))


def seen_of(*plugins: PluginStatus) -> FirstUses:
    uses = FirstUses()
    uses.update({plugin.name: plugin for plugin in plugins})
    return uses


def test_only_what_was_refused_for_want_of_a_decision_is_a_question() -> None:
    decided = AskedPermission("network", ("a",), PermissionState.DENIED)
    assert seen_of(make_plugin("a", asked=(NETWORK,))).open is None
    assert seen_of(refused("a", "host_http_request", asked=(decided,))).open is None
    assert seen_of(refused("a", "host_set_header", asked=(NETWORK, FILES))).open is None
    assert seen_of(refused("a", "host_read_file", asked=(NETWORK, FILES))).open == Question(
        "a", FILES
    )
    assert seen_of(refused("a", "proxy_http_call", asked=(NETWORK, FILES))).open == Question(
        "a", NETWORK
    )


def test_a_question_comes_once_for_a_plugin_and_a_kind() -> None:
    both = refused("a", "host_read_file", "host_http_request", asked=(NETWORK, FILES))
    uses = seen_of(both)
    put = [uses.unseen]
    uses.note_seen("a", NETWORK)
    put.append(uses.unseen)
    uses.note_seen("a", FILES)
    uses.update({"a": both})
    put.append(uses.unseen)
    assert put == [Question("a", NETWORK), Question("a", FILES), None]
    assert uses.open == Question("a", NETWORK)


def test_other_entries_are_another_question() -> None:
    uses = seen_of(refused("a", "host_read_file", asked=(FILES,)))
    uses.note_seen("a", FILES)
    more = AskedPermission("filesystem", ("/srv", "/etc"), PermissionState.UNASKED)
    uses.update({"a": refused("a", "host_read_file", asked=(more,))})
    assert uses.unseen == Question("a", more)


def test_a_plugin_that_went_and_came_again_is_asked_about_again() -> None:
    plugin = refused("a", "host_read_file", asked=(FILES,))
    uses = seen_of(plugin)
    uses.note_seen("a", FILES)
    uses.update({})
    uses.update({"a": plugin})
    assert uses.unseen is not None


def test_the_line_fits_and_keeps_its_end() -> None:
    question = Question("a\x1b", AskedPermission("network", ("x" * 50,), PermissionState.UNASKED))
    line = question.line(40)
    assert line.startswith("a␛ asks for network: xxx")
    assert line.endswith("…, P decides")
    assert cell_len(line) == 40
    assert Question("a", FILES).line(80) == "a asks for filesystem: /srv, P decides"
