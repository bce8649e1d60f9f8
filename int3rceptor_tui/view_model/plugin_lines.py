"""A plugin's facts, its profile by hook, its metrics and what it may reach, as lines."""

from __future__ import annotations

from int3rceptor_tui.keymap import BY_ID, Hints
from int3rceptor_tui.view_model.formats import duration, size
from int3rceptor_tui.view_model.lines import Piece
from int3rceptor_tui.view_model.plugin_rows import STATES, count, progress, rest
from int3rceptor_tui.view_model.visible import visible
from proxy_core.model.plugin_status import (
    Comparison,
    HookProfile,
    PermissionState,
    PluginState,
    PluginStatus,
)
from proxy_core.model.words import counted

Rows = list[list[Piece]]

_PAGE = 64 * 1024
_DECIDED = {
    PermissionState.GRANTED: "good",
    PermissionState.DENIED: "bad",
    PermissionState.UNASKED: "warn",
}


def plugin_lines(plugin: PluginStatus, hints: Hints = BY_ID) -> Rows:
    """Return what is known of a plugin besides its log, what changes before what it is."""
    phase = f", {plugin.phase.value} ({progress(plugin)})" if plugin.phase else ""
    if plugin.state is PluginState.QUARANTINED:
        phase = f", {rest(plugin)}"
    loaded = f", loaded in {duration(plugin.load_seconds)}" if plugin.load_seconds else ""
    rows: Rows = []
    if plugin.last_error:
        rows += [[("Last error", "bad")], [("  " + visible(plugin.last_error), "bad")], []]
    instances = counted(plugin.instances, "instance")
    rows += [
        [("Plugin", "heading")],
        _fact("name", plugin.name),
        _fact("state", plugin.state.value + phase, STATES.get(plugin.state, "notice")),
        _fact("generation", f"{plugin.generation}{loaded}"),
        _fact("memory", f"{size(plugin.memory_pages * _PAGE)} an instance, {instances}"),
        _fact("kept state", size(plugin.state_bytes)),
        [],
        [("Hooks", "heading")],
        [(_HEADS, "dim")],
    ]
    rows += [_hook(profile) for profile in plugin.profile]
    if not plugin.profile:
        rows.append([("  none was called yet", "dim")])
    denied = [(told.hook, *each) for told in plugin.profile for each in told.denied]
    if denied:
        rows += [[], [("Denied host calls", "heading")]]
        rows += [_fact(hook, f"{name}  {times}", "warn") for hook, name, times in denied]
    if plugin.compared is not None:
        rows += [[], *_comparison(plugin.compared)]
    if plugin.asked:
        key = hints["plugins.permissions"].hint
        rows += [[], [("Asks to reach", "heading"), (f"  {key} decides", "dim")]]
        for asked in plugin.asked:
            state = (f"{asked.state.value:<9}", _DECIDED[asked.state])
            head: Piece = (f"  {visible(asked.kind):<14} ", "dim")
            rows += [[head, state, (visible(entry), "")] for entry in asked.entries]
    if plugin.metrics:
        rows += [[], [("Metrics", "heading")]]
        rows += [
            [(f"  {number:>20} ", ""), (visible(name), "key")] for name, number in plugin.metrics
        ]
    rows += [
        [],
        [("What it is", "heading")],
        _fact("description", plugin.description or "not said"),
        _fact("version", plugin.version or "none"),
        _fact("abi", plugin.abi or "none"),
        _fact("module", plugin.path),
        _fact("permissions", ", ".join(plugin.permissions) or "none"),
    ]
    return rows


def _comparison(compared: Comparison) -> Rows:
    heading = f"Beside generation {compared.generation}"
    flows = f"{counted(compared.flows, 'recent flow')}, run through both"
    rows: Rows = [[(heading, "heading")], _fact("compared", flows)]
    which = ", ".join(f"#{flow_id}" for flow_id in compared.differing)
    differing = f"{len(compared.differing)}: {which}" if which else "none"
    return [*rows, _fact("differing", differing, "notice" if which else "")]


_HEADS = f"  {'hook':<20}{'calls':>8}{'p50':>8}{'p99':>8}{'fuel':>8}{'changed':>9}{'traps':>7}"


def _hook(told: HookProfile) -> list[Piece]:
    return [
        (f"  {visible(told.hook):<20}", "key"),
        (f"{count(told.calls):>8}{duration(told.p50):>8}{duration(told.p99):>8}", ""),
        (f"{count(told.fuel):>8}{size(told.bytes_changed):>9}", ""),
        (f"{told.traps:>7}", "bad" if told.traps else "dim"),
    ]


def _fact(name: str, value: str, style: str = "") -> list[Piece]:
    return [(f"  {visible(name):<14} ", "dim"), (visible(value), style)]
