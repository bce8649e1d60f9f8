"""WebAssembly plugins: found, sandboxed, called, swapped."""

from proxy_core.plugin_host.logs import LogRing
from proxy_core.plugin_host.manager import PluginManager

__all__ = ["LogRing", "PluginManager"]
