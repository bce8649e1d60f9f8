"""How a filter is started: its language's runtime, its virtual machine, and the plugin in it."""

from __future__ import annotations

from collections.abc import Mapping

from proxy_core.plugin_host.abi import Signature
from proxy_core.plugin_host.faults import GuestTrapped, ModuleRefused
from proxy_core.plugin_host.foreign.proxy_wasm.abi import ALLOCATORS
from proxy_core.plugin_host.foreign.proxy_wasm.buffers import configuration
from proxy_core.plugin_host.foreign.proxy_wasm.codes import ROOT
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import instance_of
from proxy_core.plugin_host.guest import Guest


def start(guest: Guest, entries: Mapping[str, Signature], version: tuple[int, int, int]) -> None:
    """Bring a new instance to where it can be shown flows; blocks.

    Raises ModuleRefused where the filter does not want to run like this, and GuestFailure.
    """
    instance = instance_of(guest.host)
    instance.version = version
    instance.allocator = next((name for name in ALLOCATORS if name in entries), None)
    if "_initialize" in entries:
        guest.run("_initialize")
        if "main" in entries:
            guest.run("main", 0, 0)
        elif "__main_argc_argv" in entries:
            guest.run("__main_argc_argv", 0, 0)
        elif "__main_void" in entries:
            guest.run("__main_void")
    elif "_start" in entries:
        guest.run("_start")
    instance.begin(None)
    if "proxy_on_context_create" in entries:
        _create_root(guest)
    if "proxy_on_vm_start" in entries:
        size = len(guest.host.call.manifest.proxy_wasm.vm_config)
        instance.begin(None)
        instance.starting_vm = True
        if not guest.run("proxy_on_vm_start", ROOT, size):
            raise ModuleRefused(
                "proxy_on_vm_start returned false: see its log, and proxy_wasm.vm_config in its "
                "manifest"
            )
        instance.starting_vm = False
    if "proxy_on_configure" in entries:
        instance.begin(None)
        if not guest.run("proxy_on_configure", ROOT, len(configuration(guest.host))):
            raise ModuleRefused(
                "proxy_on_configure returned false: see its log, and config or config_file in its "
                "manifest"
            )


def _create_root(guest: Guest) -> None:
    try:
        guest.run("proxy_on_context_create", ROOT, 0)
    except GuestTrapped as trap:
        if guest.host.call.manifest.proxy_wasm.root_id:
            raise
        raise ModuleRefused(
            f"{trap}, as its plugin was made; where a module has several, or gives its own a name, "
            "say which in proxy_wasm.root_id in its manifest"
        ) from trap
