"""http-wasm as the plugin host takes it: what a module must have, how it starts, who drives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from proxy_core.plugin_host.abi import Contract, Declared, Import, Signature
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.foreign import wasi
from proxy_core.plugin_host.foreign.http_wasm import functions
from proxy_core.plugin_host.foreign.http_wasm.driver import HandlerDriver
from proxy_core.plugin_host.foreign.http_wasm.room import Room
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.hook.call import HookCall

MARKER: Final = "handle_request"
_TO_NOTHING: Final[Signature] = ((), ())
_ENTRIES: Final[Mapping[str, Signature]] = {
    MARKER: ((), ("i64",)),
    "handle_response": (("i32", "i32"), ()),
}
_STARTS: Final = ("_initialize", "_start")
"""What a language's runtime starts with; the first that there is."""
_HOOKS: Final = frozenset({Hook.REQUEST, Hook.RESPONSE, Hook.CAPTURE})


class HttpWasm:
    """Implements `Dialect`."""

    name = "http-wasm"

    def agree(self, imports: Sequence[Declared], exports: Sequence[Declared]) -> Contract:
        """See `Dialect.agree`."""
        by_name = {export.name: export for export in exports}
        memory = by_name.get("memory")
        if memory is None or memory.kind != "memory" or memory.shared:
            found = "none" if memory is None else str(memory)
            raise ModuleRefused(f"an http-wasm handler exports a memory 'memory'; found {found}")
        entries: dict[str, Signature] = {}
        for name, signature in _ENTRIES.items():
            export = by_name.get(name)
            if export is None or export.signature != signature:
                found = "none" if export is None else str(export)
                raise ModuleRefused(
                    f"an http-wasm handler exports {Declared(name, 'function', signature)}; "
                    f"found {found}"
                )
            entries[name] = signature
        for name in _STARTS:
            export = by_name.get(name)
            if export is not None and export.signature == _TO_NOTHING:
                entries[name] = _TO_NOTHING
                break
        return Contract(
            version=0,
            imports=_bind(imports),
            entries=entries,
            hooks=_HOOKS,
            not_called=(),
            has_memory=True,
            dialect=self.name,
        )

    def load(self, guest: Guest, contract: Contract, call: HookCall) -> None:
        """See `Dialect.load`: start the language's runtime."""
        for name in _STARTS:
            if name in contract.entries:
                guest.run(name)

    def drive(self, room: Room, contract: Contract) -> HandlerDriver:
        """See `Dialect.drive`."""
        return HandlerDriver(room, contract)


def _bind(imports: Sequence[Declared]) -> tuple[Import, ...]:
    bound: dict[tuple[str, str], Import] = {}
    for declared in imports:
        if declared.module in wasi.MODULES:
            item = wasi.bind(declared)
        elif declared.module == functions.MODULE:
            item = functions.bind(declared)
        else:
            raise ModuleRefused(
                f"imports {declared}; http-wasm handlers have modules {functions.MODULE!r} and "
                f"{wasi.MODULES[0]!r}"
            )
        earlier = bound.setdefault((declared.module, declared.name), item)
        if earlier.function.params != item.function.params or earlier.results != item.results:
            raise ModuleRefused(f"imports {declared} twice, with different types")
    return tuple(bound.values())
