"""What can be set, every limit with its default, and where the values come from."""

from proxy_core.config.limits import MIB, Limits
from proxy_core.config.modes import (
    Mode,
    ModeSpec,
    RegularMode,
    ReverseMode,
    SocksMode,
    TransparentMode,
    UpstreamMode,
    join_host_port,
    parse_mode,
)
from proxy_core.config.replacements import Replacement, parse_replacement
from proxy_core.config.settings import (
    CONFIG_NAME,
    DEFAULT_API,
    Settings,
    default_config_file,
    default_data_dir,
    default_plugin_dir,
)

__all__ = [
    "CONFIG_NAME",
    "DEFAULT_API",
    "MIB",
    "Limits",
    "Mode",
    "ModeSpec",
    "RegularMode",
    "Replacement",
    "ReverseMode",
    "Settings",
    "SocksMode",
    "TransparentMode",
    "UpstreamMode",
    "default_config_file",
    "default_data_dir",
    "default_plugin_dir",
    "join_host_port",
    "parse_mode",
    "parse_replacement",
]
