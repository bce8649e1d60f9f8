"""Which ABI a module speaks, and whether the host can give it what it asks for.

Pure: it looks at the declared imports and exports only. Refusals name what was found and what is
known; nothing is guessed (docs/plugin-abi.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy_core.plugin_host.codes import HOOKS, V0_HOOKS, Hook
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.functions.host_side import HostFunction

VERSION_EXPORT: Final = "int3_abi_version"
NEWEST: Final = 1
_FOREIGN: Final = {
    "proxy_abi_version_0_1_0": "Proxy-Wasm 0.1.0",
    "proxy_abi_version_0_2_0": "Proxy-Wasm 0.2.0",
    "proxy_abi_version_0_2_1": "Proxy-Wasm 0.2.1",
    "handle_request": "http-wasm",
}
_TO_I32: Final = ((), ("i32",))
_TO_NOTHING: Final = ((), ())
_ENTRIES: Final = {
    VERSION_EXPORT: _TO_I32,
    "_initialize": _TO_NOTHING,
    "plugin_init": _TO_I32,
    "plugin_shutdown": _TO_NOTHING,
}
_BODY_FUNCTIONS: Final = frozenset({"host_get_body", "host_set_body"})

Signature = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Declared:
    """One import or export: `signature` is None for anything but a function."""

    name: str
    kind: str
    """`function`, `memory`, `table`, `global`, ..."""
    signature: Signature | None = None
    module: str = ""
    """Where an import comes from."""
    shared: bool = False
    """For a memory: whether threads share it."""
    pages: tuple[int, int | None] | None = None
    """For a memory: how many pages of 64 KiB it begins with, and may grow to."""

    def __str__(self) -> str:
        name = f"{self.module}.{self.name}" if self.module else self.name
        if self.signature is None:
            return f"{self.kind} {name!r}"
        return f"{name!r} of type {_spell(self.signature)}"


@dataclass(frozen=True, slots=True)
class Import:
    """A host function as one module declares it."""

    function: HostFunction
    with_result: bool

    @property
    def results(self) -> tuple[str, ...]:
        """The types of what the module takes back: none or one."""
        result = self.function.result
        return (result,) if self.with_result and result is not None else ()


@dataclass(frozen=True, slots=True)
class Contract:
    """What host and module agreed on."""

    version: int
    imports: tuple[Import, ...]
    entries: Mapping[str, Signature]
    """Exports that the host calls, and their types."""
    hooks: frozenset[Hook]
    not_called: tuple[str, ...]
    """Hooks the module has, and the version of the ABI that it speaks does not."""
    has_memory: bool
    dialect: str = ""
    """The ABI's name where it is not ours."""
    unsupported: tuple[str, ...] = ()
    """Imports that answer that they are not there, and exports that are never called."""
    starts: bool = True
    """Whether code of its own may run while an instance is made."""

    @property
    def uses_bodies(self) -> bool:
        """Whether bodies are to be whole when it is asked about requests and responses."""
        return any(item.function.name in _BODY_FUNCTIONS for item in self.imports)

    @property
    def name(self) -> str:
        """The ABI for people."""
        return self.dialect or f"int3 v{self.version}"


def agree(
    imports: Sequence[Declared],
    exports: Sequence[Declared],
    functions: Mapping[str, HostFunction],
) -> Contract:
    """Match a module's declarations with the host's `functions`. Raises ModuleRefused."""
    by_name = {export.name: export for export in exports}
    version = _version(by_name)
    known_hooks = HOOKS if version else V0_HOOKS
    entries = _entries(by_name, known_hooks)
    hooks = frozenset(hook for hook in known_hooks if hook.export in entries)
    later = tuple(
        hook.export for hook in HOOKS if hook not in known_hooks and hook.export in by_name
    )
    if not hooks:
        known = ", ".join(hook.export for hook in known_hooks)
        found = ", ".join(sorted(by_name)[:10]) or "nothing"
        raise ModuleRefused(f"exports no hook that this host calls ({known}); it exports {found}")
    memory = by_name.get("memory")
    if memory is not None and (memory.kind != "memory" or memory.shared):
        kind = "shared memory" if memory.shared else memory.kind
        raise ModuleRefused(f"'memory' is exported as a {kind}; it must be a plain memory")
    bound = _imports(imports, functions, version)
    if memory is None:
        for item in bound:
            if item.function.pointers:
                raise ModuleRefused(
                    f"imports env.{item.function.name}, which works on the plugin's memory, but "
                    "exports no memory; export it as 'memory'"
                )
    return Contract(version, bound, entries, hooks, later, memory is not None)


def check_version(answer: int) -> None:
    """Raise ModuleRefused unless `int3_abi_version` answered with a version known here."""
    if answer != NEWEST:
        raise ModuleRefused(
            f"{VERSION_EXPORT} is {answer}; this host knows {NEWEST}, and 0 by its absence"
        )


def _version(exports: Mapping[str, Declared]) -> int:
    if VERSION_EXPORT in exports:
        return NEWEST
    for marker, name in _FOREIGN.items():
        if marker in exports:
            raise ModuleRefused(
                f"speaks {name} (it exports {marker}); this version runs int3 v0 and v1"
            )
    return 0


def _entries(exports: Mapping[str, Declared], hooks: Sequence[Hook]) -> dict[str, Signature]:
    entries: dict[str, Signature] = {}
    for name, signature in (*_ENTRIES.items(), *((hook.export, _TO_I32) for hook in hooks)):
        export = exports.get(name)
        if export is None:
            continue
        if export.signature != signature:
            raise ModuleRefused(f"exports {export}; it must be {_spell(signature)}")
        entries[name] = signature
    return entries


def _imports(
    imports: Sequence[Declared], functions: Mapping[str, HostFunction], version: int
) -> tuple[Import, ...]:
    bound: dict[str, tuple[Import, Declared]] = {}
    for declared in imports:
        function = functions.get(declared.name) if declared.module == "env" else None
        if function is None or function.since > version or declared.signature is None:
            raise ModuleRefused(_why_not(declared, function, functions, version))
        params, results = declared.signature
        whole = () if function.result is None else (function.result,)
        if params != function.params or results not in ((), whole):
            wanted = _spell((function.params, whole))
            raise ModuleRefused(f"imports {declared}; it is {wanted}, or the same without result")
        earlier = bound.get(declared.name)
        if earlier is not None and earlier[1] != declared:
            raise ModuleRefused(f"imports env.{declared.name} twice, with different types")
        bound[declared.name] = (Import(function, bool(results)), declared)
    return tuple(item for item, _ in bound.values())


def _why_not(
    declared: Declared,
    function: HostFunction | None,
    functions: Mapping[str, HostFunction],
    version: int,
) -> str:
    if function is not None and declared.signature is not None:
        return (
            f"imports env.{function.name}, which needs ABI v{function.since}; "
            f"export {VERSION_EXPORT} returning {function.since}"
        )
    known = ", ".join(sorted(n for n, f in functions.items() if f.since <= version))
    hint = "; build it without WASI" if declared.module.startswith("wasi") else ""
    return f"imports {declared}, which this host does not offer{hint}; module 'env' has {known}"


def _spell(signature: Signature) -> str:
    params, results = signature
    return f"({', '.join(params)}) -> ({', '.join(results)})"
