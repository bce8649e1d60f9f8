"""The numbers of Proxy-Wasm (ABI 0.2.1, "Types"), in one place."""

from __future__ import annotations

import enum
from typing import Final

# What host functions answer (`proxy_status_t`).
OK: Final = 0
NOT_FOUND: Final = 1
BAD_ARGUMENT: Final = 2
PARSE_FAILURE: Final = 4
INVALID_MEMORY: Final = 6
EMPTY: Final = 7
CAS_MISMATCH: Final = 8
INTERNAL_FAILURE: Final = 10
"""Also the answer to what the plugin's permissions do not allow."""
UNIMPLEMENTED: Final = 12

CONTINUE: Final = 0
PAUSE: Final = 1
"""What a callback about a stream returns; anything else is taken for PAUSE."""
PAUSE_WITHOUT_BUFFER: Final = 3
"""What a callback about a body returns beside those in Envoy: what was shown has been taken."""

ROOT: Final = 1
"""The plugin's own context. Contexts of streams have the numbers after it."""


class Map(enum.IntEnum):
    """Header maps (`proxy_map_type_t`)."""

    REQUEST_HEADERS = 0
    REQUEST_TRAILERS = 1
    RESPONSE_HEADERS = 2
    RESPONSE_TRAILERS = 3
    GRPC_INITIAL_METADATA = 4
    GRPC_TRAILING_METADATA = 5
    CALL_HEADERS = 6
    CALL_TRAILERS = 7


class Buffer(enum.IntEnum):
    """Buffers (`proxy_buffer_type_t`)."""

    REQUEST_BODY = 0
    RESPONSE_BODY = 1
    DOWNSTREAM_DATA = 2
    UPSTREAM_DATA = 3
    CALL_BODY = 4
    GRPC_MESSAGE = 5
    VM_CONFIGURATION = 6
    PLUGIN_CONFIGURATION = 7
    FOREIGN_ARGUMENTS = 8


class StreamType(enum.IntEnum):
    """The directions of a stream, each with its own pause (`proxy_stream_type_t`)."""

    REQUEST = 0
    RESPONSE = 1
    DOWNSTREAM = 2
    """From the client, in a tunnel."""
    UPSTREAM = 3
    """From the server, in a tunnel."""


class MetricType(enum.IntEnum):
    """Kinds of metrics (`proxy_metric_type_t`)."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2


class Peer(enum.IntEnum):
    """Who closed a connection (`proxy_peer_type_t`)."""

    UNKNOWN = 0
    LOCAL = 1
    REMOTE = 2
