"""The only place that knows the WebAssembly library: engines, instances, guest memory.

`raw` runs guests in slices on the caller's loop through the library's C entry points; `official`
runs them on a thread through its Python API, for where the entry points do not do as expected.
"""

from proxy_core.plugin_host.runtime.official import OfficialEngine
from proxy_core.plugin_host.runtime.opening import open_engine
from proxy_core.plugin_host.runtime.text_format import assemble

__all__ = ["OfficialEngine", "assemble", "open_engine"]
