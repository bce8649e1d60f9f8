"""The entries of `permissions.network` and `permissions.filesystem`: how written, what covered.

Pure, but for `real_directories`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from proxy_core.model.plugin_status import PermissionKind
from proxy_core.plugin_host.faults import ManifestError

KINDS: Final[tuple[PermissionKind, ...]] = ("network", "filesystem")
MOST_ENTRIES: Final = 64
_ENTRY_CHARACTERS: Final = 1000
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


def check_entries(kind: PermissionKind, values: Sequence[object]) -> tuple[str, ...]:
    """Return the entries of a manifest as they are kept. Raises ManifestError, naming the one."""
    if len(values) > MOST_ENTRIES:
        raise ManifestError(f"permissions.{kind} has {len(values)} entries; at most {MOST_ENTRIES}")
    checked = []
    for value in values:
        if not isinstance(value, str) or not value or len(value) > _ENTRY_CHARACTERS:
            raise ManifestError(
                f"permissions.{kind} has {value!r}; it must hold strings of 1 to "
                f"{_ENTRY_CHARACTERS} characters"
            )
        checked.append(_host_entry(value) if kind == "network" else _directory_entry(value))
    return tuple(dict.fromkeys(checked))


def _host_entry(value: str) -> str:
    host, port = _split(value.lower())
    if port is not None and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ManifestError(f"permissions.network has {value!r}, whose port is none")
    if host.startswith("[") and host.endswith("]"):
        try:
            host = f"[{ipaddress.IPv6Address(host.removeprefix('[').removesuffix(']'))}]"
        except ValueError as error:
            raise ManifestError(f"permissions.network has {value!r}: {error}") from error
    elif len(host) > 255 or _HOST.fullmatch(host) is None:
        raise ManifestError(
            f"permissions.network has {value!r}; write host names as 'name' or '*.name', in ASCII, "
            "and ':port' behind them for one port only"
        )
    return host if port is None else f"{host}:{int(port)}"


def _split(value: str) -> tuple[str, str | None]:
    if value.startswith("["):
        host, bracket, rest = value.partition("]")
        if bracket and (not rest or rest.startswith(":")):
            return host + bracket, rest[1:] if rest else None
        return value, None
    host, colon, port = value.partition(":")
    return host, port if colon else None


def _directory_entry(value: str) -> str:
    path = PurePosixPath(value)
    if (
        ".." in path.parts
        or not value.isprintable()
        or not str(path).strip("/")
        or (value.startswith("~") and path.parts[0] != "~")
    ):
        raise ManifestError(
            f"permissions.filesystem has {value!r}; name a directory: absolute and below '/', "
            "below '~', or relative to the manifest, without '..'"
        )
    return str(path)


def covers_host(entries: Iterable[str], host: str, port: int) -> bool:
    """Whether one of the entries of `network` means this host and port.

    An entry without a port means all of them; `*.name` all names below `name`, and not itself. IPv6
    addresses stand without brackets in `host`.
    """
    name = host.lower().rstrip(".")
    if ":" in name:
        try:
            name = f"[{ipaddress.IPv6Address(name)}]"
        except ValueError:
            return False
    for entry in entries:
        wanted, wanted_port = _split(entry)
        if wanted_port is not None and int(wanted_port) != port:
            continue
        if name == wanted or (wanted.startswith("*.") and name.endswith(wanted[1:])):
            return True
    return False


def real_directories(entries: Iterable[str], base: Path) -> tuple[str, ...]:
    """Return where entries of `filesystem` really lead to, links followed: what is asked about.

    Relative ones begin at `base`, the manifest's directory. They need not exist.
    """
    return tuple(dict.fromkeys(_real(entry, base) for entry in entries))


def _real(entry: str, base: Path) -> str:
    expanded = os.path.expanduser(entry)  # noqa: PTH111 - Path's raises where there is no home
    return os.path.realpath(base / expanded)
