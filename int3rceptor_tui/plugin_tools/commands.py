"""What each of the plugin tools does, from its arguments to its exit code."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from int3rceptor_tui.log_printer import escaped
from int3rceptor_tui.options import Flags
from int3rceptor_tui.plugin_tools import bench, golden
from int3rceptor_tui.plugin_tools.build import BuildFailed, ToolMissing, build
from int3rceptor_tui.plugin_tools.har import Archive, Recorded, read_har
from int3rceptor_tui.plugin_tools.install import install
from int3rceptor_tui.plugin_tools.languages import find_language
from int3rceptor_tui.plugin_tools.new import create
from int3rceptor_tui.plugin_tools.replay import Replay
from int3rceptor_tui.plugin_tools.report import (
    document_of,
    failure_of,
    lines_of,
    print_document,
    print_line_document,
    print_lines,
)
from int3rceptor_tui.plugin_tools.story import Story
from proxy_core.config import Settings, default_plugin_dir, parse_replacement
from proxy_core.config.loader import load_settings
from proxy_core.errors import ApiError, ApiUnreachable, ConfigError, FilterError, Int3rceptorError
from proxy_core.model.words import counted
from proxy_core.plugin_host.files.discovery import Source, scan
from proxy_core.plugin_host.inspection import Inspection, find_source, inspect
from proxy_core.plugin_host.recorded.offline import OfflineHost
from proxy_core.policy.filters import Filter
from proxy_core.policy.message_rules import MessageRules, message_rules

FINE: Final = 0
NOT_FINE: Final = 1
ASKED_WRONGLY: Final = 2
TOOL_MISSING: Final = 3
NO_CORE: Final = 4
_BAD_REQUEST: Final = 400  # what a core answers where it does not understand what is asked
_PROGRAM: Final = "int3rceptor-tui"
_WARNINGS: Final = 10


def answer(as_json: bool, work: Callable[[], int]) -> int:
    """Do the work; tell of what goes wrong on stderr, and as JSON too where that is wanted."""
    try:
        return work()
    except Int3rceptorError as error:
        output = error.output if isinstance(error, BuildFailed) else ""
        if as_json:
            print_line_document(failure_of(str(error), output))
        for line in output.splitlines():
            print(escaped(line.replace("\t", "    ")), file=sys.stderr)
        print(f"{_PROGRAM}: {escaped(' '.join(str(error).split()))}", file=sys.stderr)
        wrongly = isinstance(error, ApiError) and error.status == _BAD_REQUEST
        if wrongly or isinstance(error, ConfigError):
            return ASKED_WRONGLY
        if isinstance(error, ApiUnreachable):
            return NO_CORE
        return TOOL_MISSING if isinstance(error, ToolMissing) else NOT_FINE


def inspect_plugin(path: Path, as_json: bool) -> int:
    """Show what a plugin is. Raises ConfigError."""
    (found,) = _inspect_all([find_source(path)])
    if as_json:
        print_document(document_of(found))
    else:
        print_lines(lines_of(found))
    return NOT_FINE if found.problems else FINE


def discover(directories: Sequence[Path], flags: Flags, as_json: bool) -> int:
    """List what lies in `directories`, or in those of the settings. Raises ConfigError."""
    for directory in directories:
        if not directory.is_dir():
            raise ConfigError(f"{directory} is not a directory; name one that holds plugins")
    if not directories:
        given = {name: value for name, value in flags.items() if name != "config"}
        settings = load_settings(given, os.environ, flags.get("config"))
        directories = [*settings.plugins, default_plugin_dir()]
    sources, refused = scan(directories)
    met: dict[str, Path] = {}
    documents: list[dict[str, Any]] = []
    for found in _inspect_all(sources):
        document = document_of(found)
        taken = met.setdefault(found.name, found.source.path)
        if taken != found.source.path:
            document["problems"].append(f"the name {found.name!r} is taken by {taken}")
            document["loadable"] = False
        documents.append(document)
    if as_json:
        print_document(
            {
                "directories": [str(directory) for directory in directories],
                "plugins": documents,
                "unreadable": [{"path": path, "problem": why} for path, why in refused],
            }
        )
    else:
        for document in documents:
            _print_discovered(document)
        for path, why in refused:
            print(escaped(f"{path}: {why}"))
        if not documents:
            print(escaped(f"no plugins in {', '.join(map(str, directories))}"))
    fine = not refused and all(document["loadable"] for document in documents)
    return FINE if fine else NOT_FINE


def new(name: str, lang: str, parent: Path, as_json: bool) -> int:
    """Make a plugin's directory. Raises ConfigError."""
    place, files = create(name, find_language(lang), parent)
    if as_json:
        print_document({"name": name, "language": lang, "directory": str(place), "files": files})
    else:
        print(escaped(f"{place}: {', '.join(files)}"))
        print(escaped(f"next: {_PROGRAM} plugin build {shlex.quote(str(place))}"))
    return FINE


def build_plugin(directory: Path, as_json: bool) -> int:
    """Build a plugin. Raises ConfigError, ToolMissing, BuildFailed and PluginError."""
    built = build(directory, os.environ)
    if as_json:
        print_document(
            {
                "name": built.name,
                "language": built.language,
                "tool": built.tool,
                "module": str(built.module),
                "bytes": built.size,
            }
        )
    else:
        print(escaped(f"{built.module}: {built.size} bytes, with {built.tool}"))
    return FINE


def install_plugin(path: Path, to: Path | None, force: bool, as_json: bool) -> int:
    """Install a plugin. Raises ConfigError and PluginError."""
    (found,) = _inspect_all([find_source(path)])
    place = install(found, (default_plugin_dir() if to is None else to).absolute(), force)
    if as_json:
        print_document({"name": found.name, "path": str(place), "sha256": found.digest})
    else:
        print(escaped(f"{found.name}: installed as {place}"))
    return FINE


def replay_plugin(
    path: Path,
    flows: Path,
    wanted: str | None,
    golden_files: Path | None,
    update: bool,
    rules: Flags,
    as_json: bool,
) -> int:
    """Run a plugin over the recorded flows that a filter lets through, behind message rules.

    Raises ConfigError and PluginError.
    """
    if update and golden_files is None:
        raise ConfigError("--update writes golden files; say with --golden where they lie")
    chosen = None if wanted is None else _filter(wanted)
    archive = read_har(flows)
    _warn_of(archive, flows)
    made = _message_rules(rules)
    host = OfflineHost(find_source(path))
    return asyncio.run(_replay(host, archive, chosen, made, golden_files, update, as_json))


def _message_rules(flags: Flags) -> MessageRules:
    modify = [parse_replacement(text) for text in flags["modify_messages"] or ()]
    drop = flags["drop_messages"] or ()
    return message_rules(Settings(modify_messages=tuple(modify), drop_messages=tuple(drop)))


def _warn_of(archive: Archive, path: Path) -> None:
    """Tell what of an archive cannot be run and should; what is never carried, nobody misses."""
    odd = [one for one in archive.left_out if not one.expected]
    for one in odd[:_WARNINGS]:
        text = f"{path}, entry {one.number} is left out: {one.why}"
        print(f"{_PROGRAM}: {escaped(text)}", file=sys.stderr)
    if len(odd) > _WARNINGS:
        print(f"{_PROGRAM}: and {len(odd) - _WARNINGS} more", file=sys.stderr)


def _filter(text: str) -> Filter:
    try:
        return Filter(text)
    except FilterError as error:
        raise ConfigError(f"--filter: {error}") from error


async def _replay(
    host: OfflineHost,
    archive: Archive,
    wanted: Filter | None,
    rules: MessageRules,
    directory: Path | None,
    update: bool,
    as_json: bool,
) -> int:
    stories: list[Story] = []
    async with host:
        replay = Replay(host, rules)
        if not as_json:
            print_lines(f"log {line}" for line in replay.started)
        async for story in replay.stories(archive, wanted):
            stories.append(story)
            if not as_json and not story.quiet:
                print_lines(story.lines(measured=True))
    failed = sum(story.failed for story in stories)
    changed = sum(story.changed for story in stories)
    summary = (
        f"{counted(len(stories), 'flow')}, {changed} changed, {failed} failed, "
        f"{len(archive.left_out)} left out"
    )
    if wanted is not None:
        summary += f", {len(archive.exchanges) - len(stories)} not of {wanted.text!r}"
    differences: list[golden.Difference] = []
    updated: list[str] = []
    if directory is not None:
        now = {golden.TOTALS: _text([summary, *(f"log {line}" for line in replay.started)])}
        for story in stories:
            if not story.quiet:
                now[golden.file_of(story.number)] = _text(story.lines(measured=False))
        if update:
            updated = golden.update(directory, now)
        else:
            differences = golden.compare(directory, now)
    if as_json:
        print_document(
            {
                "plugin": host.plugin.name,
                "flows": len(stories),
                "changed": changed,
                "failed": failed,
                "left_out": len(archive.left_out),
                "left_out_why": [{"entry": one.number, "why": one.why} for one in archive.left_out],
                "filtered_out": len(archive.exchanges) - len(stories),
                "log": replay.started,
                "results": [story.document() for story in stories if not story.quiet],
                "updated": updated,
                "differences": [
                    {"file": difference.file, "diff": list(difference.diff)}
                    for difference in differences
                ],
            }
        )
    else:
        for difference in differences:
            print(f"{difference.file} differs:")
            print_lines(f"  {escaped(line)}" for line in difference.diff)
        print(summary)
        if differences:
            other = counted(len(differences), "golden file")
            print(f"differs from {other}; --update takes what is now")
        elif updated:
            print(f"{counted(len(updated), 'golden file')} written")
    return NOT_FINE if failed or differences else FINE


def bench_plugin(path: Path, flows: Path | None, calls: int, as_json: bool) -> int:
    """Measure a plugin's hooks. Raises ConfigError and PluginError."""
    exchanges: Sequence[Recorded] = [bench.ordinary_exchange()]
    if flows is not None:
        archive = read_har(flows)
        _warn_of(archive, flows)
        exchanges = archive.exchanges
    if not exchanges:
        raise ConfigError(f"{flows} has no flows; record some")
    return asyncio.run(_bench(OfflineHost(find_source(path)), exchanges, calls, as_json))


async def _bench(
    host: OfflineHost, exchanges: Sequence[Recorded], calls: int, as_json: bool
) -> int:
    async with host:
        results = await bench.measure(host, exchanges, calls)
    if as_json:
        hooks = [result.document() for result in results]
        print_document({"plugin": host.plugin.name, "hooks": hooks})
    else:
        print(bench.HEADING)
        print_lines(result.line() for result in results)
    return NOT_FINE if any(result.failures for result in results) else FINE


def _inspect_all(sources: Sequence[Source]) -> list[Inspection]:
    from proxy_core.plugin_host.runtime import open_engine  # 0.2 s

    engine, _ = open_engine()
    try:
        return [inspect(source, engine) for source in sources]
    finally:
        engine.close()


def _print_discovered(document: dict[str, Any]) -> None:
    state = "refused" if not document["loadable"] else "loadable"
    manifest = document["manifest"]
    if manifest is not None and not manifest["enabled"]:
        state = "disabled" if document["loadable"] else state
    detail = ", ".join(document["hooks"]) if document["loadable"] else document["problems"][0]
    print(escaped(f"{document['name']:<24} {state:<9} {document['abi'] or '-':<8} {detail}"))
    print(escaped(f"  {document['path']}"))
    for problem in document["problems"][1:]:
        print(escaped(f"  and: {problem}"))


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
