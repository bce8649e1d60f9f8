"""An HTTP/2 connection put away while no stream is on it, and taken out again.

The h2 library's objects take some kilobytes for as long as a connection lasts. What has to live on
is little: RFC 9113 and RFC 7541 give two peers no more to agree on than is in `Folded`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from h2.connection import ConnectionState

from proxy_core.wire.hpack_memo import PackedTable
from proxy_core.wire.http2_budget import Http2Budget
from proxy_core.wire.http2_connection import Connection
from proxy_core.wire.http2_state import ClosedStreams, own_settings

_UNDERSTOOD = {
    "connection": {
        "_budget",
        "_closed_streams",
        "_data_to_send",
        "_header_frames",
        "_inbound_flow_control_window_manager",
        "config",
        "decoder",
        "encoder",
        "frames",
        "highest_inbound_stream_id",
        "highest_outbound_stream_id",
        "incoming_buffer",
        "local_settings",
        "max_inbound_frame_size",
        "max_outbound_frame_size",
        "memos",
        "outbound_flow_control_window",
        "peer_settings",
        "remote_settings",
        "state_machine",
        "streams",
    },
    "frames": {
        "_block",
        "_budget",
        "_data",
        "_greeted",
        "_headers_buffer",
        "_max_block",
        "_may_read",
        "_preamble",
        "_preamble_len",
        "has_more",
        "kind",
        "max_frame_size",
    },
    "settings": {"_client", "_settings"},
    "state": {"state"},
    "window": {"_bytes_processed", "current_window_size", "max_window_size"},
}
"""Where the library may keep something, and this file has an answer to it."""


class Folded(NamedTuple):
    """What lives on. The encoder's table does not: the next block tells the peer so."""

    state: ConnectionState
    highest_inbound: int
    highest_outbound: int
    peer_settings: Any
    largest_frame: int
    may_send: int
    may_receive: tuple[int, int, int]
    """The connection's windows; the peer's at most, now, and what was used and not given back."""
    decoder: PackedTable
    encoder_size: int
    closed: ClosedStreams | None
    lent: int = 0
    """As `Http2Engine` has it, and so has `wide`."""
    wide: bool = False


def fold(connection: Connection) -> Folded | None:
    """Return what lives on, or None while there is more: streams, half a frame, unsent bytes."""
    for stream_id in list(connection.streams):
        connection.forget(stream_id)
    state = connection.state_machine.state
    if (
        connection.streams
        or connection.frames.unfinished
        or connection._header_frames
        or connection._data_to_send
        or state is ConnectionState.CLOSED
        or not is_understood()
    ):
        return None
    window, closed = connection._inbound_flow_control_window_manager, connection.closed
    closed.forget_ends()
    return Folded(
        state,
        connection.highest_inbound_stream_id,
        connection.highest_outbound_stream_id,
        connection.peer_settings.settled,
        connection.max_outbound_frame_size,
        connection.outbound_flow_control_window,
        (window.max_window_size, window.current_window_size, window._bytes_processed),
        connection.memos[0].pack(),
        connection.encoder.header_table_size,
        closed if len(closed) else None,
    )


def unfold(folded: Folded, connection: Connection) -> None:
    """Make a new connection the one that was folded."""
    connection.state_machine.state = folded.state
    connection.highest_inbound_stream_id = folded.highest_inbound
    connection.highest_outbound_stream_id = folded.highest_outbound
    connection.peer_settings.settled = folded.peer_settings
    connection.outbound_flow_control_window = folded.may_send
    connection.max_outbound_frame_size = folded.largest_frame
    window = connection._inbound_flow_control_window_manager
    window.max_window_size, window.current_window_size, window._bytes_processed = folded.may_receive
    connection.memos[0].unpack(folded.decoder)
    # Two sizes are said before the next block (RFC 7541, section 4.2); the first empties the table.
    connection.encoder.header_table_size = 0
    connection.encoder.header_table_size = folded.encoder_size
    connection.frames.skip_greeting()
    if folded.closed is not None:
        connection.closed = folded.closed


@lru_cache(maxsize=1)
def is_understood() -> bool:
    """Whether the library keeps nothing of a connection but what this file knows of.

    A later version may. Then connections stay as they are, and take more memory.
    """
    budget = Http2Budget(0, 0, lambda: 0.0)
    connection = Connection(False, own_settings(False, 1, 1, 1), budget, 1)
    parts = {
        "connection": connection,
        "frames": connection.frames,
        "settings": connection.remote_settings,
        "state": connection.state_machine,
        "window": connection._inbound_flow_control_window_manager,
    }
    return all(vars(part).keys() <= _UNDERSTOOD[name] for name, part in parts.items())
