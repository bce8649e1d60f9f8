"""What settings must look like: readers that check a value, and say how to mend a wrong one."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy_core.config.limits import Limits
from proxy_core.config.modes import ModeSpec, parse_mode, split_host_port
from proxy_core.config.replacements import Replacement, parse_replacement
from proxy_core.config.settings import DEFAULT_API
from proxy_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given, the setting's name there, and what its paths are relative to."""

    value: object
    where: str
    base: Path = Path()

    def refuse(self, fact: str, remedy: str) -> ConfigError:
        """Return what to raise: where it stands, what it is, what is wrong, what would help."""
        return ConfigError(f"{self.where} = {_shown(self.value)}: {fact}; {remedy}")


def _shown(value: object) -> str:
    text = repr(str(value) if isinstance(value, Path) else value)
    return text if len(text) <= 100 else text[:100] + "..."


def read_text(given: Given) -> str:
    """Read a text that is not empty."""
    if not isinstance(given.value, str) or not given.value:
        raise given.refuse("not a text", "put it in quotes")
    return given.value


def read_address(given: Given) -> tuple[str, int]:
    """Read `HOST:PORT`; port 0 is one that is free."""
    try:
        return split_host_port(read_text(given))
    except ConfigError as error:
        raise given.refuse(*str(error).split("; ", 1)) from error


def _reachable(given: Given) -> tuple[str, int]:
    host, port = read_address(given)
    if port == 0:
        raise given.refuse("port 0 cannot be connected to", "use 1 to 65535")
    return host, port


def _api(given: Given) -> tuple[str, int] | None:
    value = given.value
    if isinstance(value, str):
        value = BOOLEANS.get(value.lower(), value)
    if isinstance(value, bool):
        return DEFAULT_API if value else None
    return read_address(given)


def _host_names(given: Given) -> tuple[str, ...]:
    names = _texts(given)
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise dataclasses.replace(given, value=name).refuse(
                "no host name", "write it as in a URL, without scheme and port"
            )
    return names


_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")


def _modes(given: Given) -> tuple[ModeSpec, ...]:
    items = given.value if isinstance(given.value, list | tuple) else [given.value]
    if not items:
        raise given.refuse("no mode", "name at least one, or leave it out")
    modes = []
    for item in items:
        try:
            modes.append(parse_mode(read_text(dataclasses.replace(given, value=item))))
        except ConfigError as error:
            raise ConfigError(f"{given.where}: {error}") from error
    places = [(spec.host, spec.port) for spec in modes if spec.port != 0]
    for place in places:
        if places.count(place) > 1:
            raise ConfigError(
                f"{given.where}: two modes listen at the same address; "
                "give each its own, as in socks5@1080"
            )
    return tuple(modes)


def read_path(given: Given) -> Path:
    """Read a path, relative to where it was given."""
    value = given.value
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise given.refuse("not a path", "put a path in quotes")
    try:
        return Path(os.path.abspath(given.base / Path(value).expanduser()))  # noqa: PTH100
    except RuntimeError as error:
        raise given.refuse(
            "a home directory that is not known", "write the path in full"
        ) from error


def _paths(given: Given) -> tuple[Path, ...]:
    if not isinstance(given.value, list | tuple):
        raise given.refuse("not a list", 'write ["DIR", ...]')
    return tuple(read_path(dataclasses.replace(given, value=item)) for item in given.value)


def read_named_paths(given: Given) -> dict[str, Path]:
    """Read `HOST=FILE`, or `FILE` for every host."""
    named = {}
    for text in _texts(given):
        host, equals, path = text.partition("=")
        if not equals or os.sep in host:  # the file's name may have a = too
            host, path = "*", text
        if not host or not path:
            shown = dataclasses.replace(given, value=text)
            raise shown.refuse("not HOST=FILE", "write both, or FILE alone for every host")
        named[host.lower()] = read_path(dataclasses.replace(given, value=path))
    return named


def _proxy_auth(given: Given) -> str:
    """Read `USER:PASSWORD` or `@FILE`; what is wrong is told without the value, a secret."""
    text = given.value
    if isinstance(text, str) and len(text) > 1 and text.startswith("@"):
        return f"@{read_path(dataclasses.replace(given, value=text[1:]))}"
    if not isinstance(text, str) or not text.partition(":")[0] or ":" not in text:
        raise ConfigError(f"{given.where}: not USER:PASSWORD; write that, or @FILE")
    return text


def _texts(given: Given) -> tuple[str, ...]:
    if not isinstance(given.value, list | tuple):
        raise given.refuse("not a list", 'write ["...", ...]')
    return tuple(read_text(dataclasses.replace(given, value=item)) for item in given.value)


def _patterns(given: Given) -> tuple[str, ...]:
    patterns = _texts(given)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            shown = dataclasses.replace(given, value=pattern)
            raise shown.refuse(f"no regular expression ({error})", "mend it") from error
    return patterns


def _replacements(given: Given) -> tuple[Replacement, ...]:
    replacements = []
    for text in _texts(given):
        try:
            replacements.append(parse_replacement(text, given.base))
        except ConfigError as error:
            shown = dataclasses.replace(given, value=text)
            raise shown.refuse(*str(error).rsplit("; ", 1)) from error
    return tuple(replacements)


def _tls_version(given: Given) -> str:
    if given.value not in ("1.0", "1.1", "1.2", "1.3"):
        raise given.refuse("no version of TLS", "write 1.0, 1.1, 1.2 or 1.3, in quotes")
    return str(given.value)


def _switch(given: Given) -> bool:
    if not isinstance(given.value, bool):
        raise given.refuse("neither true nor false", "write true or false")
    return given.value


READERS: dict[str, Callable[[Given], object]] = {
    "mode": _modes,
    "keep_host": _switch,
    "connect_address": _reachable,
    "upstream_per_client": _switch,
    "lenient": _switch,
    "modify_messages": _replacements,
    "drop_messages": _texts,
    "plugins": _paths,
    "watch": _switch,
    "data_dir": read_path,
    "upstream_ca": read_path,
    "insecure": _switch,
    "insecure_hosts": _patterns,
    "upstream_tls_min": _tls_version,
    "upstream_tls_max": _tls_version,
    "upstream_ciphers": read_text,
    "ignore_hosts": _patterns,
    "allow_hosts": _patterns,
    "auto_passthrough": _switch,
    "ca_cert": read_path,
    "ca_key": read_path,
    "ca_passphrase": read_text,
    "proxy_auth": _proxy_auth,
    "allow_public_clients": _switch,
    "refuse_private_clients": _switch,
    "api": _api,
    "api_token_file": read_path,
    "api_hosts": _host_names,
}
SWITCHED = {name for name, reader in READERS.items() if reader is _switch}
"""What is either on or off."""

BOOLEANS = {"1": True, "true": True, "yes": True, "on": True} | {
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


LIMITS = {f.name: type(getattr(Limits(), f.name)) for f in dataclasses.fields(Limits)}
_MOST = {int: 2**40, float: 366 * 24 * 3600}
_MAY_BE_ZERO = {
    "body_buffer",
    "captured_body",
    "captured_total",
    "log_lines",
    "unwanted_body",
    "upstream_idle",
    "upstream_idle_per_origin",
    "websocket_captured",
    "websocket_held",
    "upstream_idle_total",
}


def read_limit(name: str, given: Given) -> int | float:
    """Read the limit `name`."""
    kind, value = LIMITS[name], given.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise given.refuse("not a number", f"write {_a_number(kind)}")
    if kind is int and not isinstance(value, int):
        raise given.refuse("not a whole number", f"write {_a_number(kind)}")
    if not 0 <= value <= _MOST[kind]:  # which NaN is not either
        raise given.refuse("out of range", f"write {_a_number(kind)}, at most {_MOST[kind]}")
    if value == 0 and name not in _MAY_BE_ZERO:
        raise given.refuse("nothing would pass", f"write {_a_number(kind)}")
    return int(value) if kind is int else float(value)


def _a_number(kind: type) -> str:
    return "a whole number above 0" if kind is int else "a number of seconds above 0"
