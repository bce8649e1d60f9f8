"""`plugin allow`: deciding what a plugin may reach, for the next time it is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from int3rceptor_tui.log_printer import escaped
from int3rceptor_tui.options import Flags
from int3rceptor_tui.plugin_tools.report import print_document
from proxy_core.config import default_plugin_dir
from proxy_core.config.loader import load_settings
from proxy_core.errors import ConfigError, PluginError
from proxy_core.model.plugin_status import AskedPermission, PermissionKind
from proxy_core.plugin_host.belongings.grants import Grants, hash_of, wanted_by
from proxy_core.plugin_host.files.discovery import Source, scan
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.files.module_file import MODULE_BYTES, read_file


def allow_plugin(
    name: str, kinds: Sequence[PermissionKind], granted: bool, flags: Flags, as_json: bool
) -> int:
    """Decide about `kinds`, or about all that the plugin asks for where there are none.

    Raises ConfigError and PluginError.
    """
    given = {key: value for key, value in flags.items() if key != "config"}
    settings = load_settings(given, os.environ, flags.get("config"))
    directories = [*settings.plugins, default_plugin_dir()]
    source, manifest, module = _find(name, directories)
    file_hash = hash_of(read_file(module, MODULE_BYTES))
    wanted = [
        (kind, entries)
        for kind, entries in wanted_by(manifest, source.path.parent)
        if entries and (not kinds or kind in kinds)
    ]
    missing = set(kinds).difference(kind for kind, _ in wanted)
    if missing or not wanted:
        what = " and ".join(sorted(missing)) or "any"
        raise PluginError(f"{name} does not ask for {what} permission in {source.path}")
    told: list[str] = []
    grants = Grants(settings.data_dir, told.append)
    try:
        for kind, entries in wanted:
            grants.decide(name, file_hash, kind, entries, granted)
    except OSError as error:
        raise PluginError(f"the decision cannot be kept in {settings.data_dir}: {error}") from error
    decided = grants.permits(name, file_hash, wanted).asked
    if as_json:
        print_document(
            {"name": name, "sha256": file_hash, "asked": [_told(one) for one in decided]}
        )
        return 0
    for text in told:
        print(escaped(text))
    for one in decided:
        print(escaped(f"{name}: {one.kind} {one.state.value}: {', '.join(one.entries)}"))
    print("it holds from the next time the plugin is loaded")
    return 0


def _told(asked: AskedPermission) -> dict[str, object]:
    return {"kind": asked.kind, "entries": list(asked.entries), "state": asked.state.value}


def _find(name: str, directories: Sequence[Path]) -> tuple[Source, Manifest, Path]:
    """Return the plugin that the proxy would load by that name."""
    known = []
    sources, _ = scan(directories)
    for source in sources:
        try:
            manifest, module = source.read()
        except PluginError:
            continue  # it is not asked about
        if manifest.name == name:
            return source, manifest, module
        known.append(manifest.name)
    there = ", ".join(sorted(known)) or "none"
    raise ConfigError(f"no plugin {name!r} in {', '.join(map(str, directories))}; known: {there}")
