"""`plugin.toml`: what a plugin is called, may do, and may use up. Strict: nothing is guessed.

The file's form is in docs/plugin-abi.md. A bare module without a manifest gets the defaults.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, TypeVar

from proxy_core.errors import FilterError
from proxy_core.plugin_host.faults import ManifestError
from proxy_core.plugin_host.files.foreign_options import ProxyWasmOptions, parse_proxy_wasm
from proxy_core.plugin_host.files.reach import KINDS, check_entries
from proxy_core.policy.filters import Filter, MessageFilter

MANIFEST_NAME: Final = "plugin.toml"
MANIFEST_BYTES: Final = 64 * 1024
CONFIG_BYTES: Final = 64 * 1024
"""The configuration as JSON, in bytes."""
MIB: Final = 1024 * 1024
FOREIGN: Final[Mapping[str, int]] = {"fuel": 100_000_000, "memory_mb": 128}
"""Default limits where other ABIs are spoken: their filters bring a language's runtime along, which
collects its garbage in the middle of a hook, and begins with 16 MiB where Emscripten made it."""
START_FACTOR: Final = 1000
"""How much more fuel loading (start function, `_initialize`, `plugin_init`) gets than a hook."""

LONG_FILL_MB: Final = 4
"""Filling so much takes up to 3 ms where the memory is new to the process, and a unit of fuel for
each byte."""
NEW_MEMORY_MB: Final = 10
"""Being the first to touch each page of so much takes some 4.5 ms, and next to no fuel."""

TICK_RANGE: Final = (10, 86_400_000)
"""Milliseconds: from a hundred times a second to once a day."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_RANGES: Final = {
    "fuel": (1, 10**12),
    "deadline_ms": (1, 600_000),
    "memory_mb": (1, 4096),
    "log_lines_per_second": (1, 100_000),
    "kv_bytes": (0, 1024 * MIB),
}

_OURS: Final = {"limited", "flows", "messages"}
"""What a manifest's text does not name."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a plugin may do; checked at each host call."""

    modify_requests: bool = True
    modify_responses: bool = True
    access_bodies: bool = True
    network: tuple[str, ...] = ()
    """Hosts that it asks to call: `name`, `*.name`, with `:port` or without."""
    filesystem: tuple[str, ...] = ()
    """Directories that it asks to read, as they are written in the manifest."""

    def names(self) -> tuple[str, ...]:
        """The permissions that are given, and the kinds that the user is asked for."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name))


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """What one plugin may use up."""

    fuel: int = 1_000_000
    """Units for each hook; loading gets START_FACTOR times as much."""
    deadline_ms: int = 5000
    """Wall clock for each entry into the guest, host functions included."""
    memory_mb: int = 10
    log_lines_per_second: int = 200
    kv_bytes: int = MIB
    """For the key-value state: keys, values, and a little for each."""

    @property
    def allow_long_instructions(self) -> bool:
        """Whether what nothing interrupts may take milliseconds: to fill memory, or to touch it."""
        fills = self.memory_mb > LONG_FILL_MB and self.fuel > LONG_FILL_MB * MIB
        return fills or self.memory_mb > NEW_MEMORY_MB


@dataclass(frozen=True, slots=True)
class Manifest:
    """A plugin as its author describes it."""

    name: str
    wasm: str
    """The module's file name, inside the manifest's directory."""
    version: str = ""
    description: str = ""
    priority: int = 100
    """Lower runs earlier; equal ones run in the order of their names."""
    enabled: bool = True
    on_failure: Literal["open", "closed"] = "open"
    """Whether a flow goes on or gets 502 where the plugin fails."""
    single_instance: bool = False
    permissions: Permissions = field(default_factory=Permissions)
    limits: GuestLimits = field(default_factory=GuestLimits)
    limited: frozenset[str] = frozenset()
    """Which of the limits were given, and are not our defaults."""
    filter: str = ""
    """Which flows it is asked about (docs/filters.md); all where it is empty."""
    flows: Filter | None = field(default=None, compare=False)
    """The filter, read."""
    messages: MessageFilter | None = field(default=None, compare=False)
    """The same for the messages of WebSockets."""
    tick_ms: int = 1000
    """How long after one `on_tick` the next begins."""
    config: bytes = b"{}"
    """The `[config]` table as compact JSON, UTF-8; or what is in `config_file`, as it is."""
    config_file: str | None = None
    """A file inside the manifest's directory, in the place of `[config]`."""
    proxy_wasm: ProxyWasmOptions = field(default_factory=ProxyWasmOptions)

    def for_foreign(self) -> Manifest:
        """Return it with the defaults for a module of another ABI than ours."""
        changed = {key: value for key, value in FOREIGN.items() if key not in self.limited}
        return replace(self, limits=replace(self.limits, **changed))


def check_name(name: str) -> str:
    """Return `name`, or raise ManifestError where it cannot be a plugin's name."""
    if NAME.fullmatch(name) is None:
        raise ManifestError(
            f"{name!r} cannot be a plugin's name: use 1 to 64 letters, digits, '.', '_' and '-', "
            "the first a letter or digit"
        )
    return name


def for_bare_module(path: Path) -> Manifest:
    """Describe a module that has no manifest. Raises ManifestError."""
    return Manifest(name=check_name(path.stem), wasm=path.name)


def parse(text: str) -> Manifest:
    """Read the text of a `plugin.toml`. Raises ManifestError, naming the key at fault."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"not valid TOML: {error}") from error
    known = {f.name for f in fields(Manifest)} - _OURS
    _refuse_unknown(data, known, "")
    expression = _value(data, "filter", str, "")
    flows, messages = _filters(expression)
    on_failure = _value(data, "on_failure", str, "open")
    if on_failure not in ("open", "closed"):
        raise ManifestError(f'on_failure is {on_failure!r}; it must be "open" or "closed"')
    return Manifest(
        name=check_name(_required(data, "name")),
        wasm=_inside("wasm", _required(data, "wasm")),
        version=_line(data, "version"),
        description=_line(data, "description"),
        priority=_integer(data, "priority", 100, (-(2**31), 2**31 - 1)),
        enabled=_value(data, "enabled", bool, True),
        on_failure="closed" if on_failure == "closed" else "open",
        single_instance=_value(data, "single_instance", bool, False),
        permissions=_permissions(_value(data, "permissions", dict, {})),
        limits=_limits(_value(data, "limits", dict, {})),
        limited=frozenset(_value(data, "limits", dict, {})),
        filter=expression,
        flows=flows,
        messages=messages,
        tick_ms=_integer(data, "tick_ms", 1000, TICK_RANGE),
        config=_config(_value(data, "config", dict, {})),
        config_file=_config_file(data),
        proxy_wasm=parse_proxy_wasm(_value(data, "proxy_wasm", dict, {})),
    )


def _refuse_unknown(data: Mapping[str, Any], known: set[str], table: str) -> None:
    for key in data:
        if key not in known:
            where = f"{table}.{key}" if table else key
            raise ManifestError(f"unknown key {where!r}; known: {', '.join(sorted(known))}")


def _value(data: Mapping[str, Any], key: str, kind: type[T], default: T) -> T:
    value = data.get(key, default)
    if not isinstance(value, kind):
        raise ManifestError(f"{key} must be a {_KINDS[kind]}, not {value!r}")
    return value


_KINDS: Final = {str: "string", bool: "boolean", dict: "table", list: "list"}


def _required(data: Mapping[str, Any], key: str) -> str:
    if key not in data:
        raise ManifestError(f"{key} is missing")
    return _value(data, key, str, "")


def _line(data: Mapping[str, Any], key: str) -> str:
    text = _value(data, key, str, "")
    if len(text) > 1000 or not text.isprintable():
        raise ManifestError(f"{key} must be one printable line of at most 1000 characters")
    return text


def _integer(
    data: Mapping[str, Any], key: str, default: int, bounds: tuple[int, int], table: str = ""
) -> int:
    value = data.get(key, default)
    low, high = bounds
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        where = f"{table}.{key}" if table else key
        raise ManifestError(f"{where} is {value!r}; it must be a whole number from {low} to {high}")
    return value


def _config_file(data: Mapping[str, Any]) -> str | None:
    if "config_file" not in data:
        return None
    if data.get("config"):
        raise ManifestError("there is both config and config_file; leave one out")
    return _inside("config_file", _value(data, "config_file", str, ""))


def _inside(key: str, text: str) -> str:
    path = PurePosixPath(text)
    parts = path.parts
    if (
        not parts
        or path.is_absolute()
        or ".." in parts
        or "\\" in text
        or not text.isprintable()
        or (len(text) > 1 and text[1] == ":")
    ):
        raise ManifestError(
            f"{key} is {text!r}; it must name a file inside the plugin's own directory"
        )
    return text


def _permissions(data: Mapping[str, Any]) -> Permissions:
    names = {f.name for f in fields(Permissions)}
    _refuse_unknown(data, names, "permissions")
    return Permissions(
        **{name: _value(data, name, bool, True) for name in names.difference(KINDS)},
        network=check_entries("network", _value(data, "network", list, [])),
        filesystem=check_entries("filesystem", _value(data, "filesystem", list, [])),
    )


def _limits(data: Mapping[str, Any]) -> GuestLimits:
    _refuse_unknown(data, set(_RANGES), "limits")
    defaults = GuestLimits()
    return GuestLimits(
        **{
            key: _integer(data, key, getattr(defaults, key), bounds, "limits")
            for key, bounds in _RANGES.items()
        }
    )


def _filters(expression: str) -> tuple[Filter | None, MessageFilter | None]:
    if not expression.strip():
        return None, None
    try:
        return Filter(expression), MessageFilter(expression)
    except FilterError as error:
        raise ManifestError(f"filter is {expression!r}: {error}") from error


def _config(data: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        encoded = text.encode()
    except (TypeError, ValueError) as error:
        raise ManifestError(
            f"config cannot be written as JSON ({error}); use strings, finite numbers, booleans, "
            "lists and tables"
        ) from error
    if len(encoded) > CONFIG_BYTES:
        raise ManifestError(f"config has {len(encoded)} bytes as JSON; at most {CONFIG_BYTES}")
    return encoded
