"""`[proxy_wasm]` in a `plugin.toml`: what other proxies say of a filter in their own configuration.

Nothing here is needed by most filters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from proxy_core.plugin_host.faults import ManifestError

TEXT_BYTES: Final = 64 * 1024
MOST_UPSTREAMS: Final = 100
_BASE: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]{1,300}")
_STOP: Final = "allow_on_headers_stop_iteration"
_KEYS: Final = (_STOP, "kind", "root_id", "upstreams", "vm_config", "vm_id")


@dataclass(frozen=True, slots=True)
class ProxyWasmOptions:
    """How a Proxy-Wasm filter is to be run."""

    kind: Literal["http", "stream", "background"] | None = None
    """Whether it is shown exchanges, tunnels or neither; None: what its exports speak for."""
    root_id: str = ""
    """Which of several plugins in one module it is to be; the property `plugin_root_id`."""
    vm_id: str = ""
    """The property `plugin_vm_id`."""
    vm_config: bytes = b""
    """What `proxy_on_vm_start` gets."""
    upstreams: Mapping[str, str] = field(default_factory=dict)
    """Where HTTP calls to an upstream of a name go: `scheme://host[:port]`."""
    allow_on_headers_stop_iteration: bool | None = None
    """Whether a head that is paused (1) waits while its body is shown; None: where nothing is
    under way that could let it go on."""


def parse_proxy_wasm(data: Mapping[str, Any]) -> ProxyWasmOptions:
    """Read the table. Raises ManifestError, naming the key at fault."""
    for key in data:
        if key not in _KEYS:
            raise ManifestError(f"unknown key 'proxy_wasm.{key}'; known: {', '.join(_KEYS)}")
    kind = data.get("kind")
    if kind not in (None, "http", "stream", "background"):
        raise ManifestError(
            f'proxy_wasm.kind is {kind!r}; it must be "http", "stream" or "background"'
        )
    stop = data.get(_STOP)
    if stop is not None and not isinstance(stop, bool):
        raise ManifestError(f"proxy_wasm.{_STOP} is {stop!r}; it must be true or false")
    return ProxyWasmOptions(
        kind=kind,
        root_id=_text(data, "root_id"),
        vm_id=_text(data, "vm_id"),
        vm_config=_text(data, "vm_config").encode(),
        upstreams=_upstreams(data.get("upstreams", {})),
        allow_on_headers_stop_iteration=stop,
    )


def _text(data: Mapping[str, Any], key: str) -> str:
    text = data.get(key, "")
    if not isinstance(text, str) or len(text.encode()) > TEXT_BYTES:
        raise ManifestError(f"proxy_wasm.{key} must be a string of at most {TEXT_BYTES} bytes")
    return text


def _upstreams(data: Any) -> dict[str, str]:
    if not isinstance(data, dict) or len(data) > MOST_UPSTREAMS:
        raise ManifestError(
            f"proxy_wasm.upstreams must be a table of at most {MOST_UPSTREAMS} names and URLs"
        )
    for name, base in data.items():
        if not isinstance(base, str) or _BASE.fullmatch(base) is None:
            raise ManifestError(
                f"proxy_wasm.upstreams.{name} is {base!r}; it must be http://HOST[:PORT] or "
                "https://HOST[:PORT]"
            )
    return dict(data)
