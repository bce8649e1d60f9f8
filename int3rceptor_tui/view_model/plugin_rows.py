"""Plugins as rows of the table."""

from __future__ import annotations

from int3rceptor_tui.keymap import BY_ID, Hints
from int3rceptor_tui.view_model.columns import Column
from int3rceptor_tui.view_model.formats import duration
from int3rceptor_tui.view_model.visible import visible
from proxy_core.model.plugin_status import PermissionState, PluginState, PluginStatus

COLUMNS = (
    Column("Plugin", 16, share=2),
    Column("Version", 7, rank=6),
    Column("State", 11),
    Column("ABI", 7, rank=7),
    Column("Gen", 3, rank=5, right=True),
    Column("Calls", 8, rank=1, right=True),
    Column("us/call", 7, rank=3, right=True),
    Column("Fuel", 6, rank=4, right=True),
    Column("Traps", 5, rank=2, right=True),
    Column("Lines", 7, rank=4, right=True),
    Column("Remarks", 28, rank=1, share=5),
)

STATES = {
    PluginState.READY: "good",
    PluginState.FAILING: "warn",
    PluginState.QUARANTINED: "bad",
    PluginState.REFUSED: "bad",
    PluginState.DISABLED: "dim",
}


class PluginRows:
    """The plugins in the order in which they run; keys are their positions."""

    def __init__(self, hints: Hints = BY_ID) -> None:
        self._hints = hints
        self._plugins: list[PluginStatus] = []

    def put(self, plugins: list[PluginStatus]) -> None:
        """Show these."""
        self._plugins = plugins

    def at(self, index: int) -> PluginStatus:
        """Return the plugin at a position. Raises IndexError."""
        return self._plugins[index]

    def position_of(self, name: str) -> int | None:
        """Return where a plugin stands, or None."""
        return next((i for i, plugin in enumerate(self._plugins) if plugin.name == name), None)

    def __len__(self) -> int:
        return len(self._plugins)

    def key_at(self, index: int) -> int:
        """See `Rows.key_at`."""
        if not 0 <= index < len(self._plugins):
            raise IndexError(index)
        return index

    def index_of(self, key: int) -> int:
        """See `Rows.index_of`."""
        return min(key, len(self._plugins))

    def version_at(self, index: int) -> object:
        """See `Rows.version_at`."""
        return self._plugins[index]

    def cells_at(self, index: int) -> tuple[tuple[str, str], ...]:
        """See `Rows.cells_at`."""
        plugin = self._plugins[index]
        per_call = 1e6 * plugin.time_used / plugin.calls if plugin.calls else 0.0
        return (
            (visible(plugin.name), "heading" if plugin.loaded else "dim"),
            (visible(plugin.version), "dim"),
            _state(plugin),
            (plugin.abi, "dim"),
            _figure(plugin.generation),
            _figure(plugin.calls),
            (f"{per_call:.1f}" if plugin.calls else "", ""),
            (count(plugin.fuel_used), _figure(plugin.fuel_used)[1]),
            _figure(plugin.traps, "bad"),
            _figure(plugin.log_lines, "warn" if plugin.log_dropped else ""),
            _last(plugin, self._hints),
        )


def _figure(number: int, style: str = "") -> tuple[str, str]:
    """A figure that stands back while there is nothing to tell."""
    return str(number), style if number else "dim"


def _state(plugin: PluginStatus) -> tuple[str, str]:
    word = plugin.state if plugin.phase is None else plugin.phase
    return word.value, STATES.get(plugin.state, "notice")


def progress(plugin: PluginStatus) -> str:
    """Return how long the load takes that is under way; empty where none is."""
    if plugin.phase is None:
        return ""
    meanwhile = f"; generation {plugin.generation} goes on" if plugin.generation else ""
    return f"{duration(plugin.loading_for)} so far{meanwhile}"


def rest(plugin: PluginStatus) -> str:
    """Return when a plugin in quarantine is called again."""
    return f"called again in {duration(max(1.0, plugin.quarantined_for))}"


def _last(plugin: PluginStatus, hints: Hints) -> tuple[str, str]:
    """What is most worth telling: a load, an error, an open question, else what it is by now."""
    if plugin.phase is not None:
        return progress(plugin), "notice"
    if plugin.state is PluginState.QUARANTINED:
        return f"{rest(plugin)}; {visible(plugin.last_error or '')}".removesuffix("; "), "bad"
    if plugin.last_error:  # what works again, or goes on as it was, does not call for help
        return visible(plugin.last_error), "warn" if plugin.state is PluginState.READY else "bad"
    open_kinds = [each.kind for each in plugin.asked if each.state is PermissionState.UNASKED]
    if open_kinds:
        key = hints["plugins.permissions"].hint
        return f"{key} decides on {', '.join(open_kinds)}", "warn"
    compared = plugin.compared
    if compared is None:
        return visible(plugin.description), "dim"
    told = f"{compared.short}; {visible(plugin.description)}".removesuffix("; ")
    return told, "notice" if compared.differing else "dim"


def count(number: int) -> str:
    """Return a count in at most five cells: 950, 12.3k, 4.5M, 6.7G."""
    value = float(number)
    for unit in ("", "k", "M", "G"):
        if value < 1000:
            return f"{value:.0f}" if not unit else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f}T"
