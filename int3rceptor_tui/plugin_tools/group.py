"""The typer wiring of `int3rceptor-tui plugin ...`; the work is in `commands`.

Exit codes: 0 fine, 1 what was asked about is not fine, 2 asked wrongly, 3 a compiler is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from int3rceptor_tui.options import Flags, takes
from proxy_core.model.plugin_status import PermissionKind

group = typer.Typer(rich_markup_mode=None, help="Write, check, test and install plugins.")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_Plugin = Annotated[
    Path, typer.Argument(metavar="FILE|DIR", help="A module, a plugin.toml, or its directory.")
]
_Force = Annotated[bool, typer.Option("--force", help="Replace what is installed.")]


@group.callback()
def plugin_group() -> None:
    """Write, check, test and install plugins."""


@group.command("inspect")
def inspect_command(plugin: _Plugin, as_json: _Json = False) -> int:
    """Show what a plugin is, what it asks for, and why it would be refused.

    Exits with 1 where it would be.
    """
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(as_json, lambda: commands.inspect_plugin(plugin, as_json))


@group.command()
@takes("plugins", "config")
def discover(
    context: typer.Context,
    flags: Flags,
    directories: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Look there; else where the proxy would."),
    ] = None,
    as_json: _Json = False,
) -> int:
    """List the plugins in the plugin directories, and why any of them would not be loaded.

    Exits with 1 where there is one that would not.
    """
    before: Flags = context.find_root().obj or {}
    given = before | {name: value for name, value in flags.items() if value is not None}
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(as_json, lambda: commands.discover(directories or [], given, as_json))


@group.command("new")
def new_command(
    name: Annotated[str, typer.Argument(help="What the plugin, and its directory, is called.")],
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


@group.command("build")
def build_command(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="The plugin's.")] = Path(),
    as_json: _Json = False,
) -> int:
    """Compile a plugin with the tools that are installed.

    Exits with 1 where it cannot be built, and with 3 where the tools are missing.
    """
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(as_json, lambda: commands.build_plugin(directory, as_json))


@group.command("install")
def install_command(
    plugin: _Plugin,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead of ~/.int3rceptor/plugins.")
    ] = None,
    force: _Force = False,
    as_json: _Json = False,
) -> int:
    """Copy a plugin to where the proxy finds it, unless it would be refused."""
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(as_json, lambda: commands.install_plugin(plugin, to, force, as_json))


@group.command("allow")
@takes("plugins", "data_dir", "config")
def allow_command(
    context: typer.Context,
    flags: Flags,
    name: Annotated[str, typer.Argument(help="The plugin's name.")],
    network: Annotated[
        bool, typer.Option("--network", help="Let it call the hosts that it asks for.")
    ] = False,
    filesystem: Annotated[
        bool, typer.Option("--filesystem", help="Let it read the directories that it asks for.")
    ] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Do not let it.")] = False,
    as_json: _Json = False,
) -> int:
    """Let a plugin reach what its manifest asks for; without options all of that.

    It holds for this very module and these very hosts and directories, from the next load on.
    Exits with 1 where the plugin does not ask.
    """
    before: Flags = context.find_root().obj or {}
    given = before | {key: value for key, value in flags.items() if value is not None}
    from int3rceptor_tui.plugin_tools import allow, commands

    kinds: list[PermissionKind] = ["network"] if network else []
    kinds += ["filesystem"] if filesystem else []
    return commands.answer(
        as_json, lambda: allow.allow_plugin(name, kinds, not revoke, given, as_json)
    )


@group.command("test")
def replay_command(
    plugin: _Plugin,
    flows: Annotated[Path, typer.Option(metavar="FILE.har", help="The recorded flows.")],
    golden: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Compare with the files there.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write the golden files instead of comparing.")
    ] = False,
    as_json: _Json = False,
) -> int:
    """Run a plugin over recorded flows, without network, and show what it changes.

    Clock and random bytes are fixed, so that a run can be repeated. Exits with 1 where a hook
    failed, or something differs from the golden files.
    """
    from int3rceptor_tui.plugin_tools import commands

    return commands.answer(
        as_json, lambda: commands.replay_plugin(plugin, flows, golden, update, as_json)
    )


@group.command("bench")
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
