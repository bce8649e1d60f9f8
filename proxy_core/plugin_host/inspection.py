"""What a plugin is and asks for, and everything that would keep it from being loaded.

`load` answers with the first reason that it meets; this looks at each part by itself, and then
loads the plugin for real and throws it away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxy_core.errors import ConfigError, PluginError
from proxy_core.plugin_host.abi import VERSION_EXPORT, Contract, Declared, agree
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.dialects import agree_with, dialect_of
from proxy_core.plugin_host.faults import ManifestError, ModuleRefused
from proxy_core.plugin_host.files.discovery import Source, scan
from proxy_core.plugin_host.files.manifest import MANIFEST_NAME, MIB, Manifest
from proxy_core.plugin_host.files.module_file import MODULE_BYTES, check_bytes, read_file
from proxy_core.plugin_host.files.reach import KINDS
from proxy_core.plugin_host.functions.host_functions import HOST_FUNCTIONS
from proxy_core.plugin_host.functions.host_side import HostFunction
from proxy_core.plugin_host.generation import Blueprint
from proxy_core.plugin_host.guest import Code, Engine
from proxy_core.plugin_host.logs import StartLog

PAGE: Final = 64 * 1024
_EDITS: Final = frozenset(
    {
        "host_add_header",
        "host_remove_header",
        "host_respond",
        "host_set_body",
        "host_set_field",
        "host_set_header",
    }
)
_BODIES: Final = frozenset({"host_get_body", "host_set_body", "read_body", "write_body"})
_MODULES: Final = ("env", "http_handler")
_EDIT_BOTH: Final = {Hook.RULE_MATCH, Hook.CAPTURE, Hook.WEBSOCKET_MESSAGE}
_EDIT_REQUESTS: Final = {Hook.REQUEST, Hook.REQUEST_CHUNK} | _EDIT_BOTH
_EDIT_RESPONSES: Final = {Hook.RESPONSE, Hook.RESPONSE_CHUNK} | _EDIT_BOTH
_NETWORK: Final = frozenset({"host_http_request", "proxy_http_call"})
_FILES: Final = frozenset({"host_read_file"})


@dataclass(frozen=True, slots=True)
class ImportFinding:
    """One import, judged by itself."""

    declared: Declared
    since: int | None
    """The ABI version that has it; None where the host does not offer it."""
    permissions: tuple[str, ...]
    """What the manifest must permit for it to work in the plugin's hooks."""
    withheld: tuple[str, ...]
    """Those of `permissions` that the manifest does not give."""
    problem: str | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """A plugin as found. What could not be read is None or empty."""

    source: Source
    manifest: Manifest | None = None
    module: Path | None = None
    size: int = 0
    digest: str = ""
    """SHA-256 of the module, in hexadecimal."""
    abi: str = ""
    """Empty where it is not one that this host runs."""
    foreign: bool = False
    """Whether that ABI is not ours."""
    imports: tuple[ImportFinding, ...] = ()
    exports: tuple[Declared, ...] = ()
    hooks: tuple[str, ...] = ()
    not_called: tuple[str, ...] = ()
    """Hooks that the version of the ABI it speaks does not have."""
    memory: tuple[int, int | None] | None = None
    """Pages of 64 KiB: at the beginning, and at most."""
    problems: tuple[str, ...] = ()
    """Why it would be refused; empty where it would be loaded."""
    notes: tuple[str, ...] = ()
    """What works, but perhaps not as meant."""

    @property
    def name(self) -> str:
        """The plugin's name, or a label where it has told none."""
        return self.source.label if self.manifest is None else self.manifest.name


def find_source(path: Path) -> Source:
    """Return the plugin that a directory, manifest or module means. Raises ConfigError."""
    if path.is_dir():
        if (path / MANIFEST_NAME).is_file():
            return Source(path / MANIFEST_NAME)
        sources, _ = scan([path])
        if len(sources) == 1:
            return sources[0]
        held = ", ".join(source.label for source in sources) or "none"
        raise ConfigError(f"{path} is not the directory of one plugin; plugins in it: {held}")
    if not path.exists():
        raise ConfigError(f"{path} does not exist; name a module, a manifest or a directory")
    beside = Source(path.with_name(MANIFEST_NAME))
    if path.name != MANIFEST_NAME and beside.path.is_file():
        try:
            _, module = beside.read()
            if module.samefile(path):
                return beside
        except (PluginError, OSError):  # then it is about the file alone
            return Source(path)
    return Source(path)


def inspect(
    source: Source, engine: Engine, functions: Mapping[str, HostFunction] = HOST_FUNCTIONS
) -> Inspection:
    """Look at a plugin from all sides; blocks while it compiles and starts. Never raises."""
    try:
        manifest, module = source.read()
    except (ManifestError, ModuleRefused) as error:
        return Inspection(source, problems=(str(error),))
    found = Inspection(source, manifest, module)
    try:
        data = read_file(module, MODULE_BYTES)
        found = replace(found, size=len(data), digest=hashlib.sha256(data).hexdigest())
        check_bytes(data)
        code = engine.compile(data)
    except ModuleRefused as error:
        return replace(found, problems=(str(error),))
    return _judge(found, manifest, code, engine, functions)


def _judge(
    found: Inspection,
    manifest: Manifest,
    code: Code,
    engine: Engine,
    functions: Mapping[str, HostFunction],
) -> Inspection:
    problems: list[str] = []
    abi, hooks = "", frozenset[Hook]()
    not_called: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    dialect = dialect_of(code.exports)
    if dialect is not None:
        manifest = manifest.for_foreign()
    try:
        if dialect is None:
            alone = agree((), code.exports, functions)
        else:
            alone = dialect.agree((), code.exports)
        abi, hooks, not_called = alone.name, alone.hooks, alone.not_called
    except ModuleRefused as error:
        problems.append(str(error))
    imports = tuple(_judge_import(item, code, hooks, manifest, functions) for item in code.imports)
    problems += [item.problem for item in imports if item.problem is not None]
    memory = next((item.pages for item in code.exports if item.name == "memory"), None)
    if memory is not None and memory[0] * PAGE > manifest.limits.memory_mb * MIB:
        problems.append(
            f"begins with {memory[0] * PAGE // 1024} KiB of memory; limits.memory_mb is "
            f"{manifest.limits.memory_mb}"
        )
    if not problems:
        try:
            contract = agree_with(code, functions)
            unsupported = contract.unsupported
            _start(Blueprint(engine, manifest, code, contract))
        except PluginError as error:
            problems.append(str(error))
    return replace(
        found,
        manifest=manifest,
        abi=abi,
        foreign=dialect is not None,
        imports=imports,
        exports=code.exports,
        hooks=tuple(sorted(hook.export for hook in hooks)),
        not_called=not_called,
        memory=memory,
        problems=tuple(dict.fromkeys(problems)),
        notes=_notes(imports, not_called, unsupported, manifest),
    )


def _judge_import(
    item: Declared,
    code: Code,
    hooks: frozenset[Hook],
    manifest: Manifest,
    functions: Mapping[str, HostFunction],
) -> ImportFinding:
    problem, foreign = None, None
    try:
        contract = _agree_on(item, code, functions)
        if contract.dialect and contract.imports:
            foreign = contract.imports[0].function
    except ModuleRefused as error:
        problem = str(error)
    function = foreign or (functions.get(item.name) if item.module == "env" else None)
    needed = _permissions(item.name, hooks) if item.module in _MODULES else ()
    given = manifest.permissions.names()
    return ImportFinding(
        item,
        None if function is None else function.since,
        needed,
        tuple(name for name in needed if name not in given),
        problem,
    )


def _agree_on(item: Declared, code: Code, functions: Mapping[str, HostFunction]) -> Contract:
    """Judge one import beside exports that are beyond reproach."""
    dialect = dialect_of(code.exports)
    if dialect is not None:
        return dialect.agree([item], code.exports)
    to_i32 = ((), ("i32",))
    exports = [Declared(Hook.REQUEST.export, "function", to_i32)]
    for name, shape in ((VERSION_EXPORT, to_i32), ("memory", None)):
        if any(export.name == name for export in code.exports):
            kind = "memory" if shape is None else "function"
            exports.append(Declared(name, kind, shape))
    return agree([item], exports, functions)


def _permissions(name: str, hooks: frozenset[Hook]) -> tuple[str, ...]:
    needed = []
    if name in _EDITS:
        if hooks & _EDIT_REQUESTS or not hooks:
            needed.append("modify_requests")
        if hooks & _EDIT_RESPONSES:
            needed.append("modify_responses")
    if name in _BODIES:
        needed.append("access_bodies")
    if name in _NETWORK:
        needed.append("network")
    if name in _FILES:
        needed.append("filesystem")
    return tuple(needed)


def _start(blueprint: Blueprint) -> None:
    blueprint.build(StartLog(blueprint.manifest.limits.log_lines_per_second)).close()


def _refusal(declared: Declared) -> str:
    """What a call comes to that the manifest does not permit."""
    if declared.module == "http_handler":
        return "it traps there"
    code = "-2" if declared.name.startswith("host_") else "10 (INTERNAL_FAILURE)"
    return f"the answer there is {code}"


def _notes(
    imports: Sequence[ImportFinding],
    not_called: Sequence[str],
    unsupported: Sequence[str],
    manifest: Manifest,
) -> tuple[str, ...]:
    notes = [
        f"calls {item.declared.name} without permissions.{name}: {_refusal(item.declared)}"
        for item in imports
        for name in item.withheld
    ]
    notes += [
        f"asks for permissions.{kind}: {', '.join(getattr(manifest.permissions, kind))}"
        for kind in KINDS
        if getattr(manifest.permissions, kind)
    ]
    notes += [
        f"{name} is not called: that needs {VERSION_EXPORT}, returning 1" for name in not_called
    ]
    if unsupported:
        notes.append(f"not supported: {', '.join(unsupported)}")
    if manifest.limits.allow_long_instructions:
        notes.append("its limits let one instruction take long: it runs on a thread, more slowly")
    if not manifest.enabled:
        notes.append("enabled is false in its manifest; it is not loaded until it is enabled")
    return tuple(notes)
