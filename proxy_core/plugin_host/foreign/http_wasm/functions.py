"""The nineteen functions of module `http_handler`, and how a module's imports are bound to them."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from proxy_core.plugin_host.abi import Declared, Import
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.foreign.http_wasm.administration import (
    enable_features,
    get_config,
    log,
    log_enabled,
)
from proxy_core.plugin_host.foreign.http_wasm.bodies import read_body, write_body
from proxy_core.plugin_host.foreign.http_wasm.fields import (
    add_header_value,
    get_header_names,
    get_header_values,
    remove_header,
    set_header_value,
)
from proxy_core.plugin_host.foreign.http_wasm.heads import (
    get_method,
    get_protocol_version,
    get_source_addr,
    get_status_code,
    get_uri,
    set_method,
    set_status_code,
    set_uri,
)
from proxy_core.plugin_host.functions.host_side import HostFunction, ValueType

MODULE: Final = "http_handler"

_I32: Final = ("i32",)
_I2: Final = ("i32", "i32")
_I3: Final = ("i32", "i32", "i32")
_I5: Final = ("i32", "i32", "i32", "i32", "i32")


def _function(
    run: Callable[..., int],
    params: tuple[ValueType, ...],
    result: ValueType | None = None,
    pointers: bool = True,
) -> HostFunction:
    return HostFunction(run.__name__, 0, params, result, run, pointers, MODULE)


FUNCTIONS: Final = MappingProxyType(
    {
        function.name: function
        for function in (
            _function(get_config, _I2, "i32"),
            _function(enable_features, _I32, "i32", pointers=False),
            _function(log, _I3),
            _function(log_enabled, _I32, "i32", pointers=False),
            _function(get_header_names, _I3, "i64"),
            _function(get_header_values, _I5, "i64"),
            _function(set_header_value, _I5),
            _function(add_header_value, _I5),
            _function(remove_header, _I3),
            _function(read_body, _I3, "i64"),
            _function(write_body, _I3),
            _function(get_method, _I2, "i32"),
            _function(set_method, _I2),
            _function(get_uri, _I2, "i32"),
            _function(set_uri, _I2),
            _function(get_protocol_version, _I2, "i32"),
            _function(get_source_addr, _I2, "i32"),
            _function(get_status_code, (), "i32", pointers=False),
            _function(set_status_code, _I32, pointers=False),
        )
    }
)
"""Every function by its name."""


def bind(declared: Declared) -> Import:
    """Return what an import from `http_handler` is bound to. Raises ModuleRefused."""
    function = FUNCTIONS.get(declared.name)
    if function is None or declared.signature is None:
        known = ", ".join(FUNCTIONS)
        raise ModuleRefused(f"imports {declared}, which http-wasm does not have; it has {known}")
    results = () if function.result is None else (function.result,)
    if declared.signature != (function.params, results):
        raise ModuleRefused(
            f"imports {declared}; in http-wasm it takes ({', '.join(function.params)}) and "
            f"returns {function.result or 'nothing'}"
        )
    return Import(function, bool(results))
