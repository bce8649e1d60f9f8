"""Everything that can be set, resolved; where the values come from is for `loader`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from proxy_core.config.limits import Limits
from proxy_core.config.modes import Mode, ModeSpec, ReverseMode, TransparentMode, UpstreamMode
from proxy_core.config.replacements import Replacement

APP_NAME = "int3rceptor"
CONFIG_NAME = "int3rceptor.toml"
DEFAULT_API = ("127.0.0.1", 3000)
"""Where the API listens, and is looked for, unless told otherwise."""


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
class Settings:
    """Everything that can be set, resolved and validated."""

    listen_host: str = "127.0.0.1"
    listen_port: int = 8080
    """0 for any that is free."""
    mode: tuple[ModeSpec, ...] = (ModeSpec(),)
    """One for each listener, at least one."""
    keep_host: bool = False
    """In reverse mode, send the client's Host on instead of the origin's name."""
    connect_address: tuple[str, int] | None = None
    """In reverse mode, where to connect instead of to the origin's own address."""
    upstream_per_client: bool = False
    """One upstream connection per client connection and origin, never shared."""
    lenient: bool = False
    """Forward what breaks rules without changing framing, for research; flows say so."""
    plugins: tuple[Path, ...] = ()
    """Directories, before `default_plugin_dir()`."""
    watch: bool = False
    """Load plugins anew by itself when their files change; the console does, unless told not to."""
    data_dir: Path = field(default_factory=default_data_dir)

    upstream_ca: Path | None = None
    """PEM file trusted upstream in addition to the system's roots."""
    insecure: bool = False
    """Do not verify upstream certificates."""
    insecure_hosts: tuple[str, ...] = ()
    """Hosts whose certificates are not verified; regular expressions, searched in `host:port`."""
    upstream_tls_min: str = ""
    """The lowest TLS version spoken to origins: 1.0, 1.1, 1.2 or 1.3; where empty it is 1.2, and
    1.0 where the certificate is not verified."""
    upstream_tls_max: str = "1.3"
    upstream_ciphers: str = ""
    """OpenSSL's cipher list for TLS up to 1.2 upstream; its own default where empty."""
    client_certs: Mapping[str, Path] = field(default_factory=dict)
    """By host, `*` for any: PEM files with certificate and key, shown to origins that ask."""
    ignore_hosts: tuple[str, ...] = ()
    """TLS passed through untouched: regular expressions, searched in `host:port` and the SNI."""
    allow_hosts: tuple[str, ...] = ()
    """Where there are some, TLS with all other hosts is passed through untouched."""
    auto_passthrough: bool = False
    """Learn which hosts' clients refuse our certificate, and pass these through."""

    ca_cert: Path | None = None
    """PEM file of a CA of one's own, chain behind it; instead of the one in `data_dir`."""
    ca_key: Path | None = None
    """Its key, PEM; in `ca_cert` where not given."""
    ca_passphrase: str = ""

    modify_messages: tuple[Replacement, ...] = ()
    """What is replaced in WebSocket messages, in this order."""
    drop_messages: tuple[str, ...] = ()
    """WebSocket messages that do not pass: filter expressions."""

    proxy_auth: str = ""
    """`user:password`, or `@FILE` in htpasswd's format; clients must say so (RFC 9110, 11.7)."""
    allow_public_clients: bool = False
    refuse_private_clients: bool = False
    """Take clients from this machine only."""

    api: tuple[str, int] | None = None
    """Where the API listens, if it does: host and port; 0 for any that is free."""
    api_token_file: Path | None = None
    """Its token; in `data_dir` where not given, made on the first run."""
    api_hosts: tuple[str, ...] = ()
    """Names under which clients reach it, besides localhost and the address itself."""

    limits: Limits = field(default_factory=Limits)
    keys: Mapping[str, str] = field(default_factory=dict)
    """The console's keys that differ from its own: action id to key."""

    @property
    def listeners(self) -> tuple[tuple[Mode, str, int], ...]:
        """Each listener's mode, host and port."""
        return tuple(
            (
                spec.mode,
                self.listen_host if spec.host is None else spec.host,
                self.listen_port if spec.port is None else spec.port,
            )
            for spec in self.mode
        )

    @property
    def next_hops(self) -> tuple[tuple[Mode, str, int], ...]:
        """Where listeners connect whatever their clients ask for: mode, host and port of each."""
        hops: list[tuple[Mode, str, int]] = []
        for spec in self.mode:
            mode = spec.mode
            if isinstance(mode, ReverseMode) and self.connect_address is not None:
                hops.append((mode, *self.connect_address))
            elif isinstance(mode, ReverseMode | UpstreamMode):
                hops.append((mode, mode.host, mode.port))
        return tuple(hops)

    @property
    def without_effect(self) -> tuple[str, ...]:
        """What was set and no mode looks at, a sentence each; of passwords for each mode."""
        modes = [spec.mode for spec in self.mode]
        told = []
        if not any(isinstance(mode, ReverseMode) for mode in modes):
            idle = {"keep_host": self.keep_host, "connect_address": self.connect_address}
            told += [
                f"{name} is for reverse modes, of which there is none; leave it out"
                for name, value in idle.items()
                if value
            ]
        if self.proxy_auth:
            told += [
                f"clients of {mode} are asked for no password: proxy_auth is for the modes "
                "regular, upstream and socks5"
                for mode in modes
                if isinstance(mode, ReverseMode | TransparentMode)
            ]
        return tuple(told)

    @property
    def api_token(self) -> Path:
        """The file with the API's token."""
        return self.api_token_file or self.data_dir / "api" / "token"

    @property
    def ca_dir(self) -> Path:
        """Where the CA's files lie."""
        return self.data_dir / "ca"

    @property
    def ca_certificate(self) -> Path:
        """The CA certificate, PEM, for people and clients."""
        return self.ca_cert or self.ca_dir / "int3rceptor-ca.pem"
