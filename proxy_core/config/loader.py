"""Where settings come from: defaults < int3rceptor.toml < environment < flags.

A setting has one name everywhere: `data_dir` in the file, INT3_DATA_DIR in the environment,
--data-dir as a flag; what is in a table of the file has the table's name before it
(INT3_LIMITS_STREAMS). Unknown settings are refused by name.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy_core.config.limits import Limits
from proxy_core.config.modes import ModeSpec, parse_mode, split_host_port
from proxy_core.config.replacements import Replacement, parse_replacement
from proxy_core.config.settings import DEFAULT_API, Settings, default_config_file
from proxy_core.errors import ConfigError

_PREFIX = "INT3_"
_CONFIG = "INT3_CONFIG"
_FOREIGN = "INT3_BENCH_"  # the benchmark's own
_TABLES = ("limits", "keys", "client_certs")
_MAX_FILE = 1024 * 1024
_SPACE = " "


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as it was given, the setting's name there, and what its paths are relative to."""

    value: object
    where: str
    base: Path = Path()

    def refuse(self, fact: str, remedy: str) -> ConfigError:
        return ConfigError(f"{self.where} = {_shown(self.value)}: {fact}; {remedy}")


def load_settings(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    config_file: Path | None = None,
    base: Settings | None = None,
) -> Settings:
    """Resolve and validate all settings; `base` has the defaults.

    `flags` has settings by name, None for a flag that was not given. The file is `config_file`,
    else what INT3_CONFIG names, else `default_config_file()` where that exists. A later source
    replaces a list whole; what is in a table it replaces one by one. Raises ConfigError.
    """
    given = _from_file(config_file, environ)
    given.update(_from_environment(environ))
    given.update(_from_flags(flags))
    base = base or Settings()
    changes: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    keys, certificates = dict(base.keys), dict(base.client_certs)
    for name, value in given.items():
        table, _, rest = name.partition(".")
        if name == "listen":
            changes["listen_host"], changes["listen_port"] = _address(value)
        elif table == "limits":
            limits[rest] = _limit(rest, value)
        elif table == "keys":
            keys[rest] = _text(value)
        elif table == "client_certs":
            certificates[rest.lower()] = _path(value)
        elif name == "client_cert":
            certificates.update(_named_paths(value))
        else:
            changes[name] = _READERS[name](value)
    return dataclasses.replace(
        base,
        limits=dataclasses.replace(base.limits, **limits),
        keys=keys,
        client_certs=certificates,
        **changes,
    )


# Values


def _text(given: _Given) -> str:
    if not isinstance(given.value, str) or not given.value:
        raise given.refuse("not a text", "put it in quotes")
    return given.value


def _address(given: _Given) -> tuple[str, int]:
    try:
        return split_host_port(_text(given))
    except ConfigError as error:
        raise given.refuse(*str(error).split("; ", 1)) from error


def _reachable(given: _Given) -> tuple[str, int]:
    host, port = _address(given)
    if port == 0:
        raise given.refuse("port 0 cannot be connected to", "use 1 to 65535")
    return host, port


def _api(given: _Given) -> tuple[str, int] | None:
    value = given.value
    if isinstance(value, str):
        value = _BOOLEANS.get(value.lower(), value)
    if isinstance(value, bool):
        return DEFAULT_API if value else None
    return _address(given)


def _host_names(given: _Given) -> tuple[str, ...]:
    names = _texts(given)
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise dataclasses.replace(given, value=name).refuse(
                "no host name", "write it as in a URL, without scheme and port"
            )
    return names


_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")


def _modes(given: _Given) -> tuple[ModeSpec, ...]:
    items = given.value if isinstance(given.value, list | tuple) else [given.value]
    if not items:
        raise given.refuse("no mode", "name at least one, or leave it out")
    modes = []
    for item in items:
        try:
            modes.append(parse_mode(_text(dataclasses.replace(given, value=item))))
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


def _path(given: _Given) -> Path:
    value = given.value
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise given.refuse("not a path", "put a path in quotes")
    try:
        return Path(os.path.abspath(given.base / Path(value).expanduser()))  # noqa: PTH100
    except RuntimeError as error:
        raise given.refuse(
            "a home directory that is not known", "write the path in full"
        ) from error


def _paths(given: _Given) -> tuple[Path, ...]:
    if not isinstance(given.value, list | tuple):
        raise given.refuse("not a list", 'write ["DIR", ...]')
    return tuple(_path(dataclasses.replace(given, value=item)) for item in given.value)


def _named_paths(given: _Given) -> dict[str, Path]:
    """Read `HOST=FILE`, or `FILE` for every host."""
    named = {}
    for text in _texts(given):
        host, equals, path = text.partition("=")
        if not equals or os.sep in host:  # the file's name may have a = too
            host, path = "*", text
        if not host or not path:
            shown = dataclasses.replace(given, value=text)
            raise shown.refuse("not HOST=FILE", "write both, or FILE alone for every host")
        named[host.lower()] = _path(dataclasses.replace(given, value=path))
    return named


def _proxy_auth(given: _Given) -> str:
    """Read `USER:PASSWORD` or `@FILE`; what is wrong is told without the value, a secret."""
    text = given.value
    if isinstance(text, str) and len(text) > 1 and text.startswith("@"):
        return f"@{_path(dataclasses.replace(given, value=text[1:]))}"
    if not isinstance(text, str) or not text.partition(":")[0] or ":" not in text:
        raise ConfigError(f"{given.where}: not USER:PASSWORD; write that, or @FILE")
    return text


def _texts(given: _Given) -> tuple[str, ...]:
    if not isinstance(given.value, list | tuple):
        raise given.refuse("not a list", 'write ["...", ...]')
    return tuple(_text(dataclasses.replace(given, value=item)) for item in given.value)


def _patterns(given: _Given) -> tuple[str, ...]:
    patterns = _texts(given)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            shown = dataclasses.replace(given, value=pattern)
            raise shown.refuse(f"no regular expression ({error})", "mend it") from error
    return patterns


def _replacements(given: _Given) -> tuple[Replacement, ...]:
    replacements = []
    for text in _texts(given):
        try:
            replacements.append(parse_replacement(text, given.base))
        except ConfigError as error:
            shown = dataclasses.replace(given, value=text)
            raise shown.refuse(*str(error).rsplit("; ", 1)) from error
    return tuple(replacements)


def _tls_version(given: _Given) -> str:
    if given.value not in ("1.0", "1.1", "1.2", "1.3"):
        raise given.refuse("no version of TLS", "write 1.0, 1.1, 1.2 or 1.3, in quotes")
    return str(given.value)


def _switch(given: _Given) -> bool:
    if not isinstance(given.value, bool):
        raise given.refuse("neither true nor false", "write true or false")
    return given.value


_READERS: dict[str, Callable[[_Given], object]] = {
    "mode": _modes,
    "keep_host": _switch,
    "connect_address": _reachable,
    "upstream_per_client": _switch,
    "lenient": _switch,
    "modify_messages": _replacements,
    "drop_messages": _texts,
    "plugins": _paths,
    "watch": _switch,
    "data_dir": _path,
    "upstream_ca": _path,
    "insecure": _switch,
    "insecure_hosts": _patterns,
    "upstream_tls_min": _tls_version,
    "upstream_tls_max": _tls_version,
    "upstream_ciphers": _text,
    "ignore_hosts": _patterns,
    "allow_hosts": _patterns,
    "auto_passthrough": _switch,
    "ca_cert": _path,
    "ca_key": _path,
    "ca_passphrase": _text,
    "proxy_auth": _proxy_auth,
    "allow_public_clients": _switch,
    "refuse_private_clients": _switch,
    "api": _api,
    "api_token_file": _path,
    "api_hosts": _host_names,
}
_LISTS = {
    "mode": _SPACE,
    "plugins": os.pathsep,
    "modify_messages": "\n",
    "drop_messages": "\n",
} | dict.fromkeys(
    ("insecure_hosts", "ignore_hosts", "allow_hosts", "client_cert", "api_hosts"), _SPACE
)
"""What separates the items of a list in the environment."""
_SWITCHED = {name for name, reader in _READERS.items() if reader is _switch}

_LIMITS = {f.name: type(getattr(Limits(), f.name)) for f in dataclasses.fields(Limits)}
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


def _limit(name: str, given: _Given) -> int | float:
    kind, value = _LIMITS[name], given.value
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


_NAMES = ("listen", "client_cert", *_READERS, *(f"limits.{name}" for name in _LIMITS))


# Sources


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, _Given]]:
    for name, value in flags.items():
        if name not in _NAMES:
            raise _unknown(f"--{name}", "among the flags", name, _NAMES)
        if value is not None:
            yield name, _Given(value, "--" + name.replace("_", "-"))


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, _Given]]:
    """Yield the variables that are set; an empty one is as good as none."""
    names = {_PREFIX + name.replace(".", "_").upper(): name for name in _NAMES}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(_PREFIX) or variable.startswith(_FOREIGN):
            continue
        if variable == _CONFIG:
            continue
        if variable not in names:
            raise _unknown(variable, "in the environment", variable, (*names, _CONFIG))
        if text:
            name = names[variable]
            yield name, _Given(_of_text(name, text), variable)


def _of_text(name: str, text: str) -> object:
    """Return what the file would hold for a variable's text; the text itself where it is odd."""
    if name in _LISTS:
        return [piece for piece in text.split(_LISTS[name]) if piece]
    if name in _SWITCHED:
        return _BOOLEANS.get(text.lower(), text)
    if name.startswith("limits."):
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True} | {
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def _from_file(path: Path | None, environ: Mapping[str, str]) -> dict[str, _Given]:
    named = path or (Path(environ[_CONFIG]) if environ.get(_CONFIG) else None)
    try:
        file = named.expanduser() if named else default_config_file()
    except RuntimeError as error:
        raise ConfigError(f"{named}: nobody's home is known by that name; write it out") from error
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            raise ConfigError(f"{file} is larger than {_MAX_FILE} bytes; make it smaller")
        table = tomllib.loads(data.decode())
    except FileNotFoundError as error:
        if named is None:
            return {}
        raise ConfigError(f"{file} does not exist; name another with --config") from error
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read ({(error.strerror or str(error)).lower()}); "
            "name another with --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no TOML: {error}; mend it") from error
    return dict(_from_table(table, file))


def _from_table(table: Mapping[str, object], file: Path) -> Iterator[tuple[str, _Given]]:
    base = file.absolute().parent
    for name, value in _flatten(table):
        given = _Given(value, f"{file}: {name}", base)
        if name in _TABLES:
            raise given.refuse("not a table", f"write [{name}] and, below it, NAME = VALUE")
        if name not in _NAMES and name.partition(".")[0] not in ("keys", "client_certs"):
            raise _unknown(name, f"in {file}", name, (*_NAMES, *_TABLES))
        yield name, given


def _flatten(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield `table.name` and value; `flow.replay = "r"` is the same with and without quotes."""
    for name, value in table.items():
        if isinstance(value, dict) and (prefix or name in _TABLES):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _unknown(name: str, where: str, wanted: str, known: Iterable[str]) -> ConfigError:
    import difflib

    nearest = difflib.get_close_matches(wanted, known, n=1, cutoff=0.0)[0]
    return ConfigError(f"unknown setting {name} {where}; the nearest one is {nearest}")


def _shown(value: object) -> str:
    text = repr(str(value) if isinstance(value, Path) else value)
    return text if len(text) <= 100 else text[:100] + "..."
