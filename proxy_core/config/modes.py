"""How listeners take their clients: `--mode SPEC[@HOST:PORT]`, as mitmproxy spells it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from proxy_core.errors import ConfigError

_HOST = re.compile(r"[\w.:%-]{1,255}")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class RegularMode:
    """Clients know that they talk to a proxy (RFC 9110, section 7.6, and CONNECT)."""

    def __str__(self) -> str:
        return "regular"


@dataclass(frozen=True, slots=True)
class ReverseMode:
    """Clients take the proxy for the origin `scheme`://`host`:`port`."""

    scheme: str
    """`http` or `https`; `tcp` and `tls` for origins that speak something else."""
    host: str
    """Lower case, IPv6 without brackets."""
    port: int

    def __str__(self) -> str:
        return f"reverse:{self.scheme}://{join_host_port(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class UpstreamMode:
    """As regular, and everything goes on through another proxy."""

    scheme: str
    """`http` or `https`: how the other proxy is spoken to."""
    host: str
    port: int
    credentials: str = ""
    """`user:password` for it (RFC 7617), or nothing."""

    def __str__(self) -> str:
        return f"upstream:{self.scheme}://{join_host_port(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class SocksMode:
    """Clients speak SOCKS 5 (RFC 1928), with the credentials of `proxy_auth` where it is set."""

    def __str__(self) -> str:
        return "socks5"


@dataclass(frozen=True, slots=True)
class TransparentMode:
    """Clients know of no proxy: the firewall has turned their connections here (Linux)."""

    def __str__(self) -> str:
        return "transparent"


Mode = RegularMode | ReverseMode | UpstreamMode | SocksMode | TransparentMode
"""How a listener takes its clients. `str` gives its specification, without secrets."""


@dataclass(frozen=True, slots=True)
class ModeSpec:
    """A mode and where it listens; `host` and `port` None where that is for `listen` to say."""

    mode: Mode = RegularMode()
    host: str | None = None
    port: int | None = None


def join_host_port(host: str, port: int) -> str:
    """Return `HOST:PORT`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, an IPv6 address in brackets. Raises ConfigError with fact and remedy."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not (colon and bare and port.isascii() and port.isdigit()):
        raise ConfigError("not HOST:PORT; write something like 127.0.0.1:8080 or [::1]:8080")
    if (":" in bare) != bracketed:
        raise ConfigError("brackets are for IPv6 addresses, and for all of them; write [::1]:8080")
    if len(port) > 5 or int(port) > 65535:
        raise ConfigError(f"{port} is no port; use 1 to 65535, or 0 for any that is free")
    return bare, int(port)


def parse_mode(spec: str) -> ModeSpec:
    """Read `regular`, `reverse:URL`, `upstream:URL`, `socks5` or `transparent`, with `@HOST:PORT`.

    `@PORT` alone keeps the listening host. Raises ConfigError.
    """
    what, at, where = spec.rpartition("@")
    if not at:
        return ModeSpec(_parse(spec))
    try:
        place = _place(where)
    except ConfigError as error:
        if "://" in spec:  # the @ belongs to the URL
            return ModeSpec(_parse(spec))
        raise ConfigError(f"{where!r} is {error}") from error
    if _ends_in_credentials(what):
        return ModeSpec(_parse(spec))
    return ModeSpec(_parse(what), *place)


def _place(where: str) -> tuple[str | None, int]:
    if where.isascii() and where.isdigit() and len(where) <= 5 and int(where) <= 65535:
        return None, int(where)
    return split_host_port(where)


def _ends_in_credentials(what: str) -> bool:
    """Tell `upstream:http://user:password` from `upstream:http://proxy:3128`, before an @."""
    name, _, url = what.partition(":")
    _, _, authority = url.partition("://")
    user, colon, rest = authority.partition(":")
    return (
        name == "upstream"
        and "@" not in authority
        and not authority.startswith("[")
        and bool(colon)
        and not (rest.rstrip("/").isdigit() and _HOST.fullmatch(user) is not None)
    )


def _parse(spec: str) -> Mode:
    name, colon, argument = spec.partition(":")
    simple: dict[str, Mode] = {
        "regular": RegularMode(),
        "socks5": SocksMode(),
        "transparent": TransparentMode(),
    }
    if name in simple and not colon:
        return simple[name]
    if name == "reverse":
        return ReverseMode(*_origin(spec, argument))
    if name == "upstream":
        return _upstream(argument)
    raise ConfigError(
        f"{spec!r} is no mode; use regular, reverse:https://HOST:PORT, upstream:http://HOST:PORT, "
        "socks5 or transparent"
    )


def _origin(spec: str, url: str) -> tuple[str, str, int]:
    scheme, host, port, rest = _split(url)
    if (
        scheme not in ("http", "https", "tcp", "tls")
        or not host
        or rest
        or not (port or scheme in _PORTS)
    ):
        raise ConfigError(
            f"{spec!r} names no origin; write reverse:https://HOST:PORT or reverse:http://HOST:PORT"
            " (tcp:// and tls:// for what is not HTTP, with a port)"
        )
    return scheme, host, port or _PORTS[scheme]


def _upstream(url: str) -> UpstreamMode:
    scheme, separator, rest = url.partition("://")
    credentials, at, address = rest.rpartition("@")
    _, host, port, path = _split(f"{scheme}://{address}")
    if (
        scheme.lower() not in _PORTS
        or not separator
        or not host
        or path
        or (at and ":" not in credentials)
    ):
        raise ConfigError(
            "an upstream mode names no proxy; write upstream:http://HOST:PORT "
            "or upstream:https://USER:PASSWORD@HOST:PORT"
        )
    scheme = scheme.lower()
    credentials = unquote(credentials, errors="surrogateescape")  # may be no UTF-8
    return UpstreamMode(scheme, host, port or _PORTS[scheme], credentials)


def _split(url: str) -> tuple[str, str, int, str]:
    """Return scheme, host, port (0 where none is named) and what else stands in a URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is none, brackets that do not close
        return "", "", 0, url
    whole = f"{parts.scheme}://{parts.netloc}"
    if not host or "@" in parts.netloc or not _HOST.fullmatch(host) or port == 0:
        return "", "", 0, url
    rest = "" if url.lower().rstrip("/") == whole.lower() else url
    return parts.scheme, host, port or 0, rest
