"""The numbers of the plugin ABI (docs/plugin-abi.md), in one place."""

from __future__ import annotations

import enum
from typing import Final

# What host functions answer. Zero and more is success, or a length.
OK: Final = 0
ABSENT: Final = -1
NOT_PERMITTED: Final = -2
BAD_POINTER: Final = -3
OVER_LIMIT: Final = -4
NOT_IN_HOOK: Final = -5


class Hook(enum.Enum):
    """The entries that this version calls; the values are the names of the exports."""

    REQUEST = "on_request"
    RESPONSE = "on_response"
    CONNECT = "on_connect"
    CAPTURE = "on_capture"
    RULE_MATCH = "on_rule_match"
    REQUEST_CHUNK = "on_request_chunk"
    RESPONSE_CHUNK = "on_response_chunk"
    WEBSOCKET_MESSAGE = "on_websocket_message"
    TICK = "on_tick"
    START = "plugin_init"
    """Everything that runs while a plugin is loaded; no flow is there."""

    def __init__(self, export: str) -> None:
        self.export = export
        """The name of the export; the same as `value`, in a fifth of the time."""
        self.index = len(type(self).__members__)
        """Its place among the hooks."""

    __hash__ = object.__hash__  # an enumeration's own is written in Python


V0_HOOKS: Final = (
    Hook.REQUEST,
    Hook.RESPONSE,
    Hook.CONNECT,
    Hook.CAPTURE,
    Hook.RULE_MATCH,
)
"""What the first version of the ABI has."""

HOOKS: Final = tuple(hook for hook in Hook if hook is not Hook.START)
"""What the newest version has; `plugin_init` is none."""

PIECE_HOOKS: Final = frozenset({Hook.REQUEST_CHUNK, Hook.RESPONSE_CHUNK})

# What a hook returns. Anything negative, and anything not listed, is a failure of the plugin.
CONTINUE: Final = 0
BLOCK: Final = 1
HOLD: Final = 2
RESPOND: Final = 3
SKIP_REST: Final = 4


class FieldId(enum.IntEnum):
    """What `host_get_field` and `host_set_field` name by number."""

    METHOD = 0
    URL = 1
    STATUS = 2
    HOST = 3
    PORT = 4
    SCHEME = 5
    HTTP_VERSION = 6
    FLOW_ID = 7
    CLIENT_ADDRESS = 8
    SERVER_ADDRESS = 9
    RULE_ID = 10
    CONFIGURATION = 11
    WEBSOCKET_DIRECTION = 12
    WEBSOCKET_OPCODE = 13
    REASON = 14
    HOST_VERSION = 15
    MESSAGE = 16
    BODY_END = 17
