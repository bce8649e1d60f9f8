"""The only place that knows the WebAssembly library: engines, instances, guest memory.

`raw` runs guests in slices on the caller's loop through the library's C entry points, and `beside`
those that could keep it on threads; `official` runs them on a thread through the library's Python
API, for where the entry points do not do as expected.
"""

from proxy_core.plugin_host.runtime.official import OfficialEngine
from proxy_core.plugin_host.runtime.opening import open_engine, open_engine_beside
from proxy_core.plugin_host.runtime.text_format import assemble

__all__ = ["OfficialEngine", "assemble", "open_engine", "open_engine_beside"]
