"""A guest's store: what is instantiated in it, and how that finds what it imports.

The library gives out structures by address; they are kept here for as long as the store lives.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

import wasmtime
from wasmtime import _ffi as ffi

from proxy_core.plugin_host.abi import Import
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.files.manifest import GuestLimits
from proxy_core.plugin_host.runtime.entry_points import EntryPoints, Ptr, address_of, take_error
from proxy_core.plugin_host.runtime.settings import first_line, limit_store


class Linking(Protocol):
    """What a store needs of its engine."""

    holding: EntryPoints
    releasing: EntryPoints

    def open_store(self) -> wasmtime.Store:
        """A new store."""

    def link(self, key: int, imports: tuple[Import, ...]) -> wasmtime.Linker:
        """A linker whose host functions answer to the guest with that key."""


class GuestStore:
    """One store."""

    __slots__ = ("_engine", "_keep", "_linker", "_store", "at", "context")

    def __init__(self, engine: Linking) -> None:
        self._engine = engine
        self._store = engine.open_store()
        self._linker: wasmtime.Linker | None = None
        self._keep: list[Any] = []
        self.context = address_of(self._store._context())
        self.at = Ptr(self.context)
        """The same, ready-made for calls."""

    def set_up(
        self, key: int, imports: tuple[Import, ...], limits: GuestLimits, *, desk: bool
    ) -> None:
        """Bound what may be allocated, and offer the host functions of the guest with that key."""
        limit_store(self._store, limits, desk=desk)
        self._linker = self._engine.link(key, imports)

    def begin_instance(
        self, module: wasmtime.Module, trap_at: int, error_at: int
    ) -> tuple[Any, int]:
        """Return an instance that is not one before the future beside it is done."""
        instance = ffi.wasmtime_instance_t()
        self._keep.append(instance)
        future: int = self._engine.releasing.instantiate_async(
            self._linker_at(),
            self.context,
            address_of(module.ptr()),
            ctypes.addressof(instance),
            trap_at,
            error_at,
        )
        return instance, future

    def export(self, instance: Any, name: str) -> Any:
        """Return an instance's export, as the library has it. Raises ModuleRefused."""
        item = ffi.wasmtime_extern_t()
        raw = name.encode()
        found = self._engine.holding.export_get(
            *(self.context, ctypes.addressof(instance), raw, len(raw), ctypes.addressof(item))
        )
        if not found:
            raise ModuleRefused(f"the export {name!r} is declared but not there")
        self._keep.append(item)
        return item

    def export_of_caller(self, caller: int, name: str) -> Any:
        """Return an export of who calls a host function, or None."""
        item = ffi.wasmtime_extern_t()
        raw = name.encode()
        found = self._engine.holding.caller_export_get(
            *(caller, raw, len(raw), ctypes.addressof(item))
        )
        if not found:
            return None
        self._keep.append(item)
        return item

    def offer(self, module: str, name: str, instance: Any) -> None:
        """Have what is instantiated next find an instance's export as an import, by its name."""
        item = self.export(instance, name)
        where, what = module.encode(), name.encode()
        error = self._engine.holding.link(
            *(self._linker_at(), self.context, where, len(where), what, len(what)),
            ctypes.addressof(item),
        )
        if error:
            raise ModuleRefused(first_line(take_error(error)))

    def locator(self, item: Any) -> Callable[[], tuple[int, int]]:
        """Return what tells the address and the size in bytes of an exported memory."""
        points, context = self._engine.holding, self.context
        memory = ctypes.addressof(item.of.memory)

        def locate() -> tuple[int, int]:
            return points.memory_data(context, memory), points.memory_size(context, memory)

        return locate

    def _linker_at(self) -> int:
        if self._linker is None:
            raise RuntimeError("the store is not set up")
        return address_of(self._linker.ptr())

    def close(self) -> None:
        """Give back what the library keeps, memory above all; idempotent."""
        self._store.close()
        if self._linker is not None:
            self._linker.close()
