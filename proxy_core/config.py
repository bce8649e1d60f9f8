"""What can be set, and every limit of the program with its default.

Where the values come from is for `config_loader`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from proxy_core.errors import ConfigError

APP_NAME = "int3rceptor"
CONFIG_NAME = "int3rceptor.toml"
MIB = 1024 * 1024

_HOST = re.compile(r"[\w.:%-]{1,255}")


def default_data_dir() -> Path:
    """The user's data directory for this program (XDG on Linux)."""
    return Path(platformdirs.user_data_dir(APP_NAME, appauthor=False))


def default_config_file() -> Path:
    """The file that is read, where there is one and no other is named (XDG on Linux).

    Never one in the working directory: a file that came with somebody's archive must not say which
    plugins run and which certificates pass.
    """
    return Path(platformdirs.user_config_dir(APP_NAME, appauthor=False)) / CONFIG_NAME


def default_plugin_dir() -> Path:
    """Where plugins are looked for besides `plugins` settings."""
    return Path.home() / ".int3rceptor" / "plugins"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds, each documented in docs/limits.md. Sizes in bytes, times in seconds."""

    head_bytes: int = 64 * 1024
    """One request or response head, start line included."""
    header_count: int = 200
    target_bytes: int = 32 * 1024
    connections: int = 10_000
    streams: int = 128
    """Concurrent HTTP/2 streams of one client connection."""
    captured_body: int = 1 * MIB
    """Bytes kept of each body; of a larger one only the first 64 KiB."""
    captured_total: int = 256 * MIB
    """Bytes of all flows in memory."""
    stream_buffer: int = 256 * 1024
    """Bytes of one body in flight before its sender is told to wait."""
    head_timeout: float = 30.0
    """From a request's first byte to the end of its head."""
    idle_timeout: float = 300.0
    """A connection on which nothing moves."""
    connect_timeout: float = 10.0
    """TCP connect, and TLS handshake, to an origin; each."""
    response_timeout: float = 300.0
    """From the end of the request to the response's head."""
    upstream_idle: float = 30.0
    """A pooled upstream connection that carries nothing."""
    upstream_idle_per_origin: int = 64
    log_lines: int = 10_000
    """Plugin log lines kept."""


@dataclass(frozen=True, slots=True)
class RegularMode:
    """Clients know that they talk to a proxy (RFC 9110, section 7.6, and CONNECT)."""

    def __str__(self) -> str:
        return "regular"


@dataclass(frozen=True, slots=True)
class ReverseMode:
    """Clients take the proxy for the origin `scheme`://`host`:`port`."""

    scheme: str
    """`http` or `https`."""
    host: str
    """Lower case, IPv6 without brackets."""
    port: int

    def __str__(self) -> str:
        return f"reverse:{self.scheme}://{join_host_port(self.host, self.port)}"


Mode = RegularMode | ReverseMode
"""How a listener takes its clients. `str` gives the specification that `parse_mode` reads."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, resolved and validated."""

    listen_host: str = "127.0.0.1"
    listen_port: int = 8080
    mode: Mode = RegularMode()
    plugins: tuple[Path, ...] = ()
    """Directories, before `default_plugin_dir()`."""
    data_dir: Path = field(default_factory=default_data_dir)
    upstream_ca: Path | None = None
    """PEM file trusted upstream in addition to the system's roots."""
    insecure: bool = False
    """Do not verify upstream certificates."""
    limits: Limits = field(default_factory=Limits)
    keys: Mapping[str, str] = field(default_factory=dict)
    """The console's keys that differ from its own: action id to key."""

    @property
    def ca_dir(self) -> Path:
        """Where the CA's files lie."""
        return self.data_dir / "ca"

    @property
    def ca_certificate(self) -> Path:
        """The CA certificate, PEM, for people and clients."""
        return self.ca_dir / "int3rceptor-ca.pem"


def join_host_port(host: str, port: int) -> str:
    """Return `HOST:PORT`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_mode(spec: str) -> Mode:
    """Read a mode's specification: `regular` or `reverse:http[s]://HOST[:PORT]`.

    Raises ConfigError.
    """
    name, _, argument = spec.partition(":")
    if name == "regular" and spec == name:
        return RegularMode()
    if name == "reverse":
        return _parse_reverse(spec, argument)
    raise ConfigError(f"{spec!r} is no mode; use regular or reverse:https://HOST:PORT")


def _parse_reverse(spec: str, url: str) -> ReverseMode:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is none, brackets that do not close
        host = port = None
    whole = f"{parts.scheme}://{parts.netloc}" if host else ""
    if (
        not host
        or parts.scheme not in ("http", "https")
        or "@" in parts.netloc
        or not _HOST.fullmatch(host)
        or url.lower().rstrip("/") != whole.lower()
        or port == 0
    ):
        raise ConfigError(
            f"{spec!r} names no origin; write reverse:https://HOST:PORT or reverse:http://HOST:PORT"
        )
    return ReverseMode(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))
