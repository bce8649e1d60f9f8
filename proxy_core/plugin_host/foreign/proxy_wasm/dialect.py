"""Proxy-Wasm as the plugin host takes it: what a module must have, how it starts, who drives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from proxy_core.plugin_host.abi import Contract, Declared
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.foreign.proxy_wasm.abi import VERSIONS, settle_terms
from proxy_core.plugin_host.foreign.proxy_wasm.driver import ProxyWasmDriver
from proxy_core.plugin_host.foreign.proxy_wasm.room import Room
from proxy_core.plugin_host.foreign.proxy_wasm.start import start
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.hook.call import HookCall

MARKERS: Final = tuple(VERSIONS)
_HOOKS: Final = frozenset({Hook.REQUEST, Hook.RESPONSE, Hook.CAPTURE})


class ProxyWasm:
    """Implements `Dialect` for one version, told by its `marker`."""

    def __init__(self, marker: str) -> None:
        self._version = VERSIONS[marker]
        self.name = f"Proxy-Wasm {'.'.join(map(str, self._version))}"

    def agree(self, imports: Sequence[Declared], exports: Sequence[Declared]) -> Contract:
        """See `Dialect.agree`."""
        terms = settle_terms(imports, exports)
        return Contract(
            version=0,
            imports=terms.imports,
            entries=terms.entries,
            hooks=_HOOKS,
            not_called=(),
            has_memory=terms.has_memory,
            dialect=self.name,
            unsupported=terms.unsupported,
        )

    def load(self, guest: Guest, contract: Contract, call: HookCall) -> None:
        """See `Dialect.load`."""
        start(guest, contract.entries, self._version)

    def drive(self, room: Room, contract: Contract) -> ProxyWasmDriver:
        """See `Dialect.drive`."""
        return ProxyWasmDriver(room, contract.entries)
