"""The typer wiring of `int3rceptor-tui plugin ...`; the work is in `commands`.

The exit codes are a promise to scripts (docs/plugins.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from int3rceptor_tui.help_pages import Command, Group
from int3rceptor_tui.options import Flags, takes
from proxy_core.errors import ConfigError
from proxy_core.model.plugin_status import PermissionKind

if TYPE_CHECKING:
    from int3rceptor_tui.plugin_tools.online import Where

_EXIT_CODES = (
    "Exit codes: 0 all is fine, 1 what was asked about is not, 2 asked wrongly, 3 a compiler is "
    "missing, 4 no core answers or it does not know who asks. With --json, an error is a document "
    "on stdout too."
)
group = typer.Typer(
    cls=Group, rich_markup_mode=None, epilog=_EXIT_CODES, help="Write, check, test and run plugins."
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_Plugin = Annotated[
    Path, typer.Argument(metavar="FILE|DIR", help="A module, a plugin.toml, or its directory.")
]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The plugin's.")]
_Api = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The core's API; http://127.0.0.1:3000, or as configured."),
]
_TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The API's token, if not in the data directory.")
]
_Force = Annotated[bool, typer.Option("--force", help="Replace what is installed.")]


@group.callback()
def plugin_group() -> None:
    """Write, check, test and run plugins."""


@group.command("inspect", cls=Command)
def inspect_command(plugin: _Plugin, as_json: _Json = False) -> int:
    """Show what a plugin is and asks for, and why it is refused.

    Exits with 1 where it would be refused.
    """
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(as_json, lambda: commands.inspect_plugin(plugin, as_json))


@group.command(cls=Command)
@takes("plugins", "data_dir", "config")
def discover(
    context: typer.Context,
    flags: Flags,
    directories: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR", help="Look there; else where the proxy would."),
    ] = None,
    api: _Api = None,
    api_token_file: _TokenFile = None,
    as_json: _Json = False,
) -> int:
    """List what lies in the plugin directories, loadable or not.

    Without DIR or --plugins a running core is asked, where one answers, and takes up what is new.
    Exits with 1 where there is one that would not be loaded.
    """
    given = _merged(context, flags)
    from int3rceptor_tui.plugin_tools import commands

    def work() -> int:
        if api is not None and (directories or given.get("plugins")):
            raise ConfigError("a core looks where it was told to; leave out --api or DIR")
        if not directories and not given.get("plugins"):
            from int3rceptor_tui.plugin_tools import online

            named = _where(context, given, api, api_token_file)
            core = online.core_for_discovery(named)
            if core is not None:
                return online.discover_online(core, as_json)
        return commands.discover(directories or [], given, as_json)

    return commands.answer(as_json, work)


def _merged(context: typer.Context, flags: Flags) -> Flags:
    before: Flags = context.find_root().obj or {}
    return before | {name: value for name, value in flags.items() if value is not None}


def _where(context: typer.Context, flags: Flags, api: str | None, file: Path | None) -> Where:
    from int3rceptor_tui.plugin_tools.online import Where

    given = dict(_merged(context, flags))
    if file is not None:
        given["api_token_file"] = file
    before = given.pop("api", None)  # of the program's own flags: a place to listen, as good
    return Where(api or before, given)


@group.command("list", cls=Command)
@takes("data_dir", "config")
def list_command(
    context: typer.Context,
    flags: Flags,
    api: _Api = None,
    api_token_file: _TokenFile = None,
    as_json: _Json = False,
) -> int:
    """List a running core's plugins."""
    from int3rceptor_tui.plugin_tools import commands, online

    return commands.answer(
        as_json,
        lambda: online.list_plugins(_where(context, flags, api, api_token_file), as_json),
    )


def _commanding(action: str, text: str) -> None:
    """Make a command that tells a running core to do something with a plugin."""

    def run(
        context: typer.Context,
        flags: Flags,
        name: _Name,
        api: _Api = None,
        api_token_file: _TokenFile = None,
        as_json: _Json = False,
    ) -> int:
        from int3rceptor_tui.plugin_tools import commands, online

        return commands.answer(
            as_json,
            lambda: online.command(
                _where(context, flags, api, api_token_file), name, action, as_json
            ),
        )

    group.command(action, help=text, cls=Command)(takes("data_dir", "config")(run))


_commanding("enable", "Let a running core load a plugin that is disabled.")
_commanding("disable", "Let a running core unload a plugin until it is enabled again.")
_commanding("reload", "Let a running core swap in a plugin's files as they are now.")


@group.command("logs", cls=Command)
@takes("data_dir", "config")
def logs_command(
    context: typer.Context,
    flags: Flags,
    name: _Name,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with lines as they come.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Only lines after this: 10m, a time, or a line's seq."),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="Only this and worse: debug, info, warn, error."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "-n", "--limit", metavar="N", min=0, max=10_000, help="The newest so many lines."
        ),
    ] = None,
    api: _Api = None,
    api_token_file: _TokenFile = None,
    as_json: _Json = False,
) -> int:
    """Show what a plugin of a running core has logged.

    With -f and --json each line is a document of its own.
    """
    from int3rceptor_tui.plugin_tools import commands, online

    return commands.answer(
        as_json,
        lambda: online.show_logs(
            _where(context, flags, api, api_token_file), name, follow, since, level, limit, as_json
        ),
    )


@group.command("new", cls=Command)
def new_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What the plugin and its directory are called.")
    ],
    lang: Annotated[
        str, typer.Option(metavar="LANG", help="rust, c, zig, assemblyscript or wat.")
    ] = "rust",
    place: Annotated[
        Path, typer.Option("--in", metavar="DIR", help="Make its directory there.")
    ] = Path(),
    as_json: _Json = False,
) -> int:
    """Make a directory with a plugin that builds."""
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(as_json, lambda: commands.new(name, lang, place, as_json))


@group.command("build", cls=Command)
def build_command(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The plugin's; here if not told.")
    ] = Path(),
    as_json: _Json = False,
) -> int:
    """Compile a plugin with the tools that are installed.

    Exits with 1 where it cannot be built, and with 3 where the tools are missing.
    """
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(as_json, lambda: commands.build_plugin(directory, as_json))


@group.command("install", cls=Command)
def install_command(
    plugin: _Plugin,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead of ~/.int3rceptor/plugins.")
    ] = None,
    force: _Force = False,
    as_json: _Json = False,
) -> int:
    """Copy a plugin to where the proxy finds it.

    Manifest, module and config_file, in one step, and nothing that would be refused.
    """
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(as_json, lambda: commands.install_plugin(plugin, to, force, as_json))


@group.command("allow", cls=Command)
@takes("plugins", "data_dir", "config")
def allow_command(
    context: typer.Context,
    flags: Flags,
    name: _Name,
    network: Annotated[
        bool, typer.Option("--network", help="Let it call the hosts that it asks for.")
    ] = False,
    filesystem: Annotated[
        bool, typer.Option("--filesystem", help="Let it read the directories that it asks for.")
    ] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Do not let it.")] = False,
    as_json: _Json = False,
) -> int:
    """Let a plugin reach the hosts and files that it asks for.

    Without --network or --filesystem, both. It holds for this very module and these very hosts
    and directories, from the next load on. Exits with 1 where the plugin does not ask.
    """
    before: Flags = context.find_root().obj or {}
    given = before | {key: value for key, value in flags.items() if value is not None}
    from int3rceptor_tui.plugin_tools import allow, commands

    kinds: list[PermissionKind] = ["network"] if network else []
    kinds += ["filesystem"] if filesystem else []
    return commands.answer(
        as_json, lambda: allow.allow_plugin(name, kinds, not revoke, given, as_json)
    )


@group.command("test", cls=Command)
@takes("modify_messages", "drop_messages")
def replay_command(
    flags: Flags,
    plugin: _Plugin,
    flows: Annotated[Path, typer.Option(metavar="FILE.har", help="The recorded flows.")],
    wanted: Annotated[
        str | None,
        typer.Option("--filter", metavar="EXPR", help="Only the flows that it matches."),
    ] = None,
    golden: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Compare with the files there.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write the golden files instead of comparing.")
    ] = False,
    as_json: _Json = False,
) -> int:
    """Run a plugin over recorded flows, and show what it changes.

    Without network; clock and random bytes are fixed, so that a run can be repeated. Exits with
    1 where a hook failed, or something differs from the golden files.
    """
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(
        as_json,
        lambda: commands.replay_plugin(plugin, flows, wanted, golden, update, flags, as_json),
    )


@group.command("bench", cls=Command)
def bench_command(
    plugin: _Plugin,
    flows: Annotated[
        Path | None,
        typer.Option(metavar="FILE.har", help="Recorded flows; else one with 15 headers."),
    ] = None,
    calls: Annotated[
        int, typer.Option(min=1, max=1_000_000, metavar="N", help="Calls of each hook.")
    ] = 2000,
    as_json: _Json = False,
) -> int:
    """Measure microseconds and fuel of each hook: p50 and p99."""
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(as_json, lambda: commands.bench_plugin(plugin, flows, calls, as_json))
