"""Settings: defaults < int3rceptor.toml < environment (INT3_...) < flags.

Every limit of the program is here with its default. Unknown settings are refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

APP_NAME = "int3rceptor"
MIB = 1024 * 1024


def default_data_dir() -> Path:
    """The user's data directory for this program (XDG on Linux)."""
    return Path(platformdirs.user_data_dir(APP_NAME, appauthor=False))


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
    """Bytes kept of each body."""
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
class Settings:
    """Everything that can be set, resolved and validated."""

    listen_host: str = "127.0.0.1"
    listen_port: int = 8080
    mode: str = "regular"
    """`regular` or `reverse:URL`."""
    plugins: tuple[Path, ...] = ()
    """Directories, before `default_plugin_dir()`."""
    data_dir: Path = field(default_factory=default_data_dir)
    upstream_ca: Path | None = None
    """PEM file trusted upstream in addition to the system's roots."""
    insecure: bool = False
    """Do not verify upstream certificates."""
    limits: Limits = field(default_factory=Limits)

    @property
    def ca_dir(self) -> Path:
        """Where the CA's files lie."""
        return self.data_dir / "ca"

    @property
    def ca_certificate(self) -> Path:
        """The CA certificate, PEM, for people and clients."""
        return self.ca_dir / "int3rceptor-ca.pem"
