"""Every action of the console in one table: its id, keys, and the words for it.

Bindings, the command palette, the `:` prompt and `?` are all made from this table, and all of them
end in `Performer.perform`. An id such as `flow.open` names the method `do_flow_open`, of a screen
or of a group of commands; users remap keys by id in `[keys]` of int3rceptor.toml. Letters, function
keys and ctrl+letter only: terminals cannot tell the others apart, and what sits on ctrl+b (tmux)
has a second key.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from textual.binding import Binding, BindingType

from proxy_core.errors import ConfigError


class Where(enum.Enum):
    """Where an action is there to be used."""

    ALL = "everywhere"
    FLOWS = "flows"
    DETAIL = "flow"
    PLUGINS = "plugins"
    PLUGIN = "plugin"
    LINE = "log line"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing the user can do."""

    id: str
    keys: str
    """Comma-separated, as Textual names keys."""
    title: str
    """For the palette: an imperative."""
    where: Where
    help: str = ""
    """A sentence more for `?`, where the title does not say it all."""
    argument: str = ""
    """What the `:` prompt takes behind the id: `NAME`."""
    listed: bool = True
    """Whether the palette shows it; moving about is for fingers."""
    also: Where | None = None
    """Another place where its keys work."""

    def works_in(self, *places: Where) -> bool:
        """Tell whether it is there to be used in one of these places."""
        return self.where in places or self.also in places

    @property
    def method(self) -> str:
        """The name of the method that does it."""
        return "do_" + self.id.replace(".", "_")

    @property
    def shown_keys(self) -> str:
        """The keys for people."""
        return "  ".join(_shown(key) for key in self.keys.split(","))

    @property
    def hint(self) -> str:
        """How a sentence names it: its first key, or what the prompt takes where it has none."""
        first = self.keys.split(",")[0].strip()
        return _shown(first) if first else f":{self.id}"


_NAMES = {
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "space": "space",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "minus": "-",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}


def _shown(key: str) -> str:
    return _NAMES.get(key, key)


ACTIONS: tuple[Action, ...] = (
    # moving, the same in every list and view
    Action("move.up", "k,up", "Move up", Where.ALL, listed=False),
    Action("move.down", "j,down", "Move down", Where.ALL, listed=False),
    Action("move.left", "h,left", "Move left", Where.ALL, listed=False),
    Action("move.right", "l,right", "Move right", Where.ALL, listed=False),
    Action("move.top", "g,home", "Go to the top", Where.ALL, listed=False),
    Action("move.bottom", "G,end", "Go to the bottom", Where.ALL, listed=False),
    Action("move.page_down", "pagedown,ctrl+f", "Page down", Where.ALL, listed=False),
    Action("move.page_up", "pageup,ctrl+b", "Page up", Where.ALL, listed=False),
    # the program
    Action("screen.flows", "1", "Show flows", Where.ALL),
    Action("screen.plugins", "2", "Show plugins", Where.ALL),
    Action("app.prompt", "colon", "Open the command prompt", Where.ALL),
    Action("app.palette", "ctrl+p", "Open the command palette", Where.ALL, listed=False),
    Action("app.help", "question_mark,f1", "Show the keys", Where.ALL),
    Action("app.back", "q,escape", "Go back", Where.ALL, "Closes what is open.", listed=False),
    Action("app.quit", "Q,ctrl+c", "Quit", Where.ALL, "Stops the proxy and leaves."),
    Action(
        "app.suspend",
        "ctrl+z",
        "Suspend the program",
        Where.ALL,
        "The shell's fg brings it back; until then the proxy stands still too.",
    ),
    Action(
        "core.start",
        "ctrl+r",
        "Start the proxy again",
        Where.ALL,
        "After it could not be started, or has stopped.",
    ),
    Action(
        "plugins.permissions",
        "P",
        "Decide what the plugin may reach",
        Where.ALL,
        "Asks about the hosts and directories that its manifest names; of the plugin under the "
        "cursor, or the one that the line at the bottom tells of.",
        argument="NAME",
    ),
    # flows
    Action("flow.open", "enter", "Open the flow", Where.FLOWS, listed=False),
    Action("flow.page", "space", "Page down", Where.FLOWS, listed=False),
    Action("flow.follow", "F", "Follow the newest flow", Where.FLOWS, "On and off."),
    Action("flow.resume", "a", "Resume the held flow", Where.FLOWS),
    Action("flow.resume_all", "A", "Resume all held flows", Where.ALL),
    Action("flow.kill", "X", "Kill the held flow", Where.FLOWS),
    Action(
        "flow.copy",
        "y",
        "Copy the flow",
        Where.FLOWS,
        "As url, curl, request, response or body; by OSC 52, which reaches through SSH.",
        argument="FORM",
        also=Where.DETAIL,
    ),
    Action("flow.clear", "z", "Clear all finished flows", Where.FLOWS, "Asks first."),
    # one flow
    Action("detail.next_pane", "tab", "Go to the next part", Where.DETAIL, listed=False),
    Action(
        "detail.previous_pane", "shift+tab", "Go to the part before", Where.DETAIL, listed=False
    ),
    Action(
        "detail.mode",
        "m",
        "Change the content view",
        Where.DETAIL,
        "JSON, text, hex, ...; of changes: those by all, or by one.",
    ),
    Action("detail.full", "f", "Show the content alone", Where.DETAIL, "And the heads again."),
    Action(
        "detail.wrap",
        "W",
        "Wrap long lines",
        Where.DETAIL,
        "Or not, and l and h go along them.",
    ),
    Action(
        "detail.next", "space", "Show the next flow", Where.DETAIL, "In a message: the next one."
    ),
    Action(
        "detail.previous",
        "p",
        "Show the flow before",
        Where.DETAIL,
        "In a message: the one before.",
    ),
    Action("detail.search", "slash", "Search", Where.DETAIL),
    Action("detail.search_next", "n", "Find the next", Where.DETAIL, listed=False),
    Action("detail.search_previous", "N", "Find the one before", Where.DETAIL, listed=False),
    Action("detail.resume", "a", "Resume the held flow", Where.DETAIL),
    Action("detail.kill", "X", "Kill the held flow", Where.DETAIL),
    Action(
        "detail.open",
        "enter",
        "Show the message whole",
        Where.DETAIL,
        "Of a WebSocket; q goes back to the others.",
    ),
    Action(
        "message.to_server",
        "s",
        "Send a message to the server",
        Where.DETAIL,
        "Into an open WebSocket; hex: before bytes in hexadecimal.",
        argument="TEXT",
    ),
    Action(
        "message.to_client",
        "",
        "Send a message to the client",
        Where.DETAIL,
        "The same the other way.",
        argument="TEXT",
        listed=False,
    ),
    # plugins
    Action(
        "plugins.discover",
        "D",
        "Discover plugins",
        Where.PLUGINS,
        "Looks into the plugin directories, loads what is new, forgets what is gone.",
    ),
    Action(
        "plugins.reload",
        "r",
        "Reload the plugin",
        Where.PLUGINS,
        "Swaps in the file as it is now; if that fails the old one goes on.",
        argument="NAME",
        also=Where.PLUGIN,
    ),
    Action(
        "plugins.toggle",
        "e",
        "Enable or disable the plugin",
        Where.PLUGINS,
        argument="NAME",
        also=Where.PLUGIN,
    ),
    Action("plugins.enable", "", "Enable a plugin", Where.PLUGINS, argument="NAME", listed=False),
    Action("plugins.disable", "", "Disable a plugin", Where.PLUGINS, argument="NAME", listed=False),
    Action(
        "plugins.log",
        "l",
        "Show only this plugin's log",
        Where.PLUGINS,
        "Of the one under the cursor; and all of them again.",
    ),
    Action(
        "plugins.level",
        "v",
        "Show only worse log lines",
        Where.PLUGINS,
        "Without debug, from warn on, errors alone, and all of them again.",
    ),
    Action(
        "plugins.profile",
        "p",
        "Show the plugin's profile",
        Where.PLUGINS,
        "What its hooks cost, what it counts, what it may reach.",
        argument="NAME",
    ),
    Action(
        "plugins.changes",
        "c",
        "Show what the plugin did to the flow",
        Where.PLUGINS,
        "To the one that is selected in the flow list.",
        argument="NAME",
        also=Where.PLUGIN,
    ),
    Action("plugins.follow", "F", "Follow the log", Where.PLUGINS, "On and off."),
    Action("plugins.page", "space", "Page down", Where.PLUGINS, listed=False),
    Action("pane.next", "tab", "Go to the next pane", Where.PLUGINS, listed=False),
    Action("pane.previous", "shift+tab", "Go to the previous pane", Where.PLUGINS, listed=False),
    Action("plugins.search", "slash", "Search the log", Where.PLUGINS),
    Action("plugins.search_next", "n", "Find the next", Where.PLUGINS, listed=False),
    Action("plugins.search_previous", "N", "Find the one before", Where.PLUGINS, listed=False),
    Action(
        "plugins.open",
        "enter",
        "Show the log line's flow",
        Where.PLUGINS,
        "Of one that belongs to none, the line whole; on a plugin, its profile.",
        listed=False,
    ),
    Action(
        "plugins.line",
        "w",
        "Show the log line whole",
        Where.PLUGINS,
        "The one under the cursor of the log.",
    ),
    # one plugin
    Action("plugin.page", "space", "Page down", Where.PLUGIN, listed=False),
    Action("plugin.search", "slash", "Search", Where.PLUGIN),
    Action("plugin.search_next", "n", "Find the next", Where.PLUGIN, listed=False),
    Action("plugin.search_previous", "N", "Find the one before", Where.PLUGIN, listed=False),
    # one log line
    Action("line.flow", "enter", "Show the line's flow", Where.LINE, listed=False),
    Action("line.next", "space", "Show the next line", Where.LINE, listed=False),
    Action("line.previous", "p", "Show the line before", Where.LINE, listed=False),
    Action("line.search", "slash", "Search", Where.LINE, listed=False),
    Action("line.search_next", "n", "Find the next", Where.LINE, listed=False),
    Action("line.search_previous", "N", "Find the one before", Where.LINE, listed=False),
    # the keys
    Action("help.page", "space", "Page down", Where.HELP, listed=False),
    Action("help.search", "slash", "Search", Where.HELP, listed=False),
    Action("help.search_next", "n", "Find the next", Where.HELP, listed=False),
    Action("help.search_previous", "N", "Find the one before", Where.HELP, listed=False),
)

BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}


def bindings(*places: Where) -> list[BindingType]:
    """Return the bindings of the actions that belong to these places."""
    return [
        Binding(action.keys, f"app.perform('{action.id}')", action.title, show=False, id=action.id)
        for action in ACTIONS
        if action.works_in(*places) and action.keys
    ]


Hints = Mapping[str, Action]
"""Actions by id, with the keys that the user has given them: what sentences name keys by."""


def check_remapped(keys: Mapping[str, str]) -> None:
    """Refuse a `[keys]` table that names an action there is not. Raises ConfigError."""
    for action_id in keys:
        if action_id not in BY_ID:
            near = [known for known in BY_ID if known.split(".")[0] == action_id.split(".")[0]]
            known = ", ".join(near or sorted(BY_ID))
            raise ConfigError(f"keys: there is no action {action_id!r}; there are {known}")


def with_remapped(keys: Mapping[str, str]) -> dict[str, Action]:
    """Return the table as the user's keys make it, for help and palette."""
    return {action.id: replace(action, keys=keys.get(action.id, action.keys)) for action in ACTIONS}
