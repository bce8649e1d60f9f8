"""Where settings come from: defaults < int3rceptor.toml < environment < flags.

A setting has one name everywhere: `data_dir` in the file, INT3_DATA_DIR in the environment,
--data-dir as a flag; what is in a table of the file has the table's name before it
(INT3_LIMITS_STREAMS). Unknown settings are refused by name.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from proxy_core.config.settings import Settings, default_config_file
from proxy_core.config.values import (
    BOOLEANS,
    LIMITS,
    READERS,
    SWITCHED,
    Given,
    read_address,
    read_limit,
    read_named_paths,
    read_path,
    read_text,
)
from proxy_core.errors import ConfigError

_PREFIX = "INT3_"
_CONFIG = "INT3_CONFIG"
_FOREIGN = "INT3_BENCH_"  # the benchmark's own
_TABLES = ("limits", "keys", "client_certs")
_MAX_FILE = 1024 * 1024
_SPACE = " "


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
            changes["listen_host"], changes["listen_port"] = read_address(value)
        elif table == "limits":
            limits[rest] = read_limit(rest, value)
        elif table == "keys":
            keys[rest] = read_text(value)
        elif table == "client_certs":
            certificates[rest.lower()] = read_path(value)
        elif name == "client_cert":
            certificates.update(read_named_paths(value))
        else:
            changes[name] = READERS[name](value)
    return dataclasses.replace(
        base,
        limits=dataclasses.replace(base.limits, **limits),
        keys=keys,
        client_certs=certificates,
        **changes,
    )


_LISTS = {
    "mode": _SPACE,
    "plugins": os.pathsep,
    "modify_messages": "\n",
    "drop_messages": "\n",
} | dict.fromkeys(
    ("insecure_hosts", "ignore_hosts", "allow_hosts", "client_cert", "api_hosts"), _SPACE
)
"""What separates the items of a list in the environment."""

_NAMES = ("listen", "client_cert", *READERS, *(f"limits.{name}" for name in LIMITS))


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, Given]]:
    for name, value in flags.items():
        if name not in _NAMES:
            raise _unknown(f"--{name}", "among the flags", name, _NAMES)
        if value is not None:
            yield name, Given(value, "--" + name.replace("_", "-"))


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
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
            yield name, Given(_of_text(name, text), variable)


def _of_text(name: str, text: str) -> object:
    """Return what the file would hold for a variable's text; the text itself where it is odd."""
    if name in _LISTS:
        return [piece for piece in text.split(_LISTS[name]) if piece]
    if name in SWITCHED:
        return BOOLEANS.get(text.lower(), text)
    if name.startswith("limits."):
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def _from_file(path: Path | None, environ: Mapping[str, str]) -> dict[str, Given]:
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


def _from_table(table: Mapping[str, object], file: Path) -> Iterator[tuple[str, Given]]:
    base = file.absolute().parent
    for name, value in _flatten(table):
        given = Given(value, f"{file}: {name}", base)
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
