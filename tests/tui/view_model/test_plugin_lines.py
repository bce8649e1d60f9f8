"""A plugin's facts as lines."""

from __future__ import annotations

from int3rceptor_tui.view_model.plugin_lines import plugin_lines
from proxy_core.model.ids import FlowId
from proxy_core.model.plugin_status import (
    AskedPermission,
    Comparison,
    HookProfile,
    LoadPhase,
    PermissionState,
    PluginState,
    PluginStatus,
)
from tests.tui.fake_control import make_plugin


def texts(plugin: PluginStatus) -> list[str]:
    return ["".join(text for text, _ in row) for row in plugin_lines(plugin)]


def test_a_plugin_that_did_nothing_yet_has_no_figures() -> None:
    told = texts(make_plugin("alpha"))
    assert "  none was called yet" in told
    for heading in ("Metrics", "Denied host calls", "Asks to reach", "Last error"):
        assert heading not in told


def test_the_profile_stands_in_columns() -> None:
    profile = HookProfile("on_request", 12_345, 0.000004, 0.0012, 6_700_000, 2, 2048)
    told = texts(make_plugin("alpha", profile=(profile,)))
    at = told.index("Hooks")
    assert told[at + 1].split() == ["hook", "calls", "p50", "p99", "fuel", "changed", "traps"]
    assert told[at + 2].split() == ["on_request", "12.3k", "4us", "1.2ms", "6.7M", "2.0k", "2"]
    assert len(told[at + 1]) == len(told[at + 2]) < 80


def test_all_that_is_known_is_told() -> None:
    told = texts(
        make_plugin(
            "alpha",
            last_error="on_request trapped",
            metrics=(("hits", 7), ("misses", -1)),
            state_bytes=2048,
            memory_pages=16,
            instances=3,
            profile=(HookProfile("on_request", 1, denied=(("host_respond", 5),)),),
            asked=(
                AskedPermission("network", ("a.example", "b.example"), PermissionState.GRANTED),
                AskedPermission("filesystem", ("/srv",), PermissionState.UNASKED),
            ),
        )
    )
    words = [line.split() for line in told]
    assert ["on_request", "trapped"] in words
    assert ["7", "hits"] in words
    assert ["-1", "misses"] in words
    assert ["kept", "state", "2.0k"] in words
    assert ["memory", "1.0M", "an", "instance,", "3", "instances"] in words
    assert ["on_request", "host_respond", "5"] in words
    assert ["network", "granted", "b.example"] in words
    assert ["filesystem", "unasked", "/srv"] in words


def test_what_a_plugin_wrote_is_made_visible() -> None:
    told = texts(
        make_plugin(
            "alpha",
            description="\x1b[31m",
            metrics=(("\x1b]0;", 1),),
            asked=(AskedPermission("network", ("\u202e",), PermissionState.DENIED),),
        )
    )
    assert not any(character in "".join(told) for character in "\x1b\u202e")


def test_flows_of_which_a_generation_makes_something_else_are_named() -> None:
    told = texts(make_plugin("a", compared=Comparison(3, 20, (FlowId(4), FlowId(9)))))
    at = told.index("Beside generation 3")
    assert told[at + 1].split(None, 1) == ["compared", "20 recent flows, run through both"]
    assert told[at + 2].split(None, 1) == ["differing", "2: #4, #9"]
    told = texts(make_plugin("a", compared=Comparison(3, 1)))
    assert told[told.index("Beside generation 3") + 2].split() == ["differing", "none"]
    assert not any("Beside" in line for line in texts(make_plugin("a")))


def test_a_plugin_in_quarantine_says_when_it_is_called_again() -> None:
    told = texts(make_plugin("a", state=PluginState.QUARANTINED, quarantined_for=125.0))
    assert "  state          quarantined, called again in 2m05" in told


def test_a_load_is_told_while_it_goes_on_and_by_its_time_after_it() -> None:
    told = texts(make_plugin("alpha", generation=2, load_seconds=0.0123))
    assert "  generation     2, loaded in 12ms" in told
    assert "  state          ready" in told
    told = texts(
        make_plugin("a", state=PluginState.LOADING, phase=LoadPhase.STARTING, loading_for=2.0)
    )
    assert "  state          loading, starting (2.0s so far; generation 1 goes on)" in told


def test_what_hooks_cost_is_in_sight_on_a_small_screen() -> None:
    entries = tuple(f"host{number}.example" for number in range(64))
    plugin = make_plugin(
        "alpha",
        last_error="it trapped " * 12,
        profile=(HookProfile("on_request", 7, denied=(("host_respond", 5),)),),
        asked=(AskedPermission("network", entries, PermissionState.UNASKED),),
    )
    told = texts(plugin)
    assert next(at for at, line in enumerate(told) if "host_respond" in line) < 17
