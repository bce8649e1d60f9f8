"""What consoles see of flows and of the core: frozen values that can cross a thread or a wire.

Text in these values is untrusted: decoded, but with its control characters still in it. Whoever
draws it makes them visible.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from proxy_core.model.flow import FlowKind, FlowState
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLine
from proxy_core.model.plugin_status import PluginStatus


class FlowSummary(msgspec.Struct, frozen=True, gc=False):
    """One row of a flow list. Sizes in bytes, times in seconds since the epoch."""

    id: FlowId
    kind: FlowKind
    state: FlowState
    started: float
    method: str
    scheme: str
    host: str
    port: int
    path: str
    protocol: str
    """`HTTP/1.1`, `HTTP/2`, ...: what the client spoke."""
    status: int | None = None
    content_type: str | None = None
    """The media type without parameters."""
    request_size: int = 0
    response_size: int = 0
    duration: float | None = None
    """Seconds from the first byte of the request to the last of the response."""
    error: str | None = None


class BodyView(msgspec.Struct, frozen=True):
    """A captured body: `kept` has the first bytes of `size`; `encoding` is content-encoding."""

    kept: bytes
    size: int
    content_type: str | None = None
    encoding: str | None = None
    trailers: tuple[tuple[str, str], ...] = ()
    raw_trailers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def truncated(self) -> bool:
        """Whether more passed than was kept."""
        return self.size > len(self.kept)


class HeadView(msgspec.Struct, frozen=True):
    """A request's or response's head: its start line for people, its fields, and the raw bytes."""

    start_line: str
    fields: tuple[tuple[str, str], ...]
    raw: bytes


class ChangeView(msgspec.Struct, frozen=True):
    """One edit of a message on its way, and who made it."""

    by: str
    """`plugin NAME`, `rule NAME`."""
    of_response: bool
    before: HeadView
    after: HeadView
    body_before: BodyView | None = None
    """None, as `body_after`, where the body was left as it was."""
    body_after: BodyView | None = None
    in_pieces: bool = False
    """Whether the body was edited on its way, piece by piece; what it was is not kept."""


class CertificateView(msgspec.Struct, frozen=True):
    """A certificate for people; times in seconds since the epoch."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    begins: float
    ends: float
    sha256: str


class TlsView(msgspec.Struct, frozen=True):
    """What a TLS handshake settled."""

    version: str
    """Empty where a client's TLS was passed through, or failed; what it offered is there."""
    cipher: str
    alpn: str | None
    sni: str | None
    verified: bool
    ja3: str | None = None
    ja4: str | None = None
    offered_alpn: tuple[str, ...] = ()
    offered_versions: tuple[str, ...] = ()
    certificate: CertificateView | None = None
    """The peer's."""


class ConnectionView(msgspec.Struct, frozen=True):
    """One of a flow's two connections; `address` is `host:port`."""

    id: int
    address: str
    opened: float
    connected: float | None = None
    secured: float | None = None
    tls: TlsView | None = None
    mode: str = ""
    """How a client was taken: the listener's mode."""


class WebSocketMessageView(msgspec.Struct, frozen=True, gc=False):
    """One message of a WebSocket, or a control frame; `payload` has the first of `size` bytes."""

    from_client: bool
    opcode: int
    """1 text, 2 binary, 8 close, 9 ping, 10 pong."""
    at: float
    size: int
    payload: bytes
    """Decompressed."""
    compressed: bool = False
    edited: bool = False
    dropped: bool = False
    injected: bool = False
    cut: bool = False
    """Whether the connection ended inside it."""
    by: tuple[str, ...] = ()
    """Who edited or dropped it."""
    held: bool = False
    """Whether it waits for the user."""


class WebSocketView(msgspec.Struct, frozen=True):
    """What is known of a WebSocket."""

    messages: Sequence[WebSocketMessageView]
    """The newest, oldest first. There may be tens of thousands: look at those that are needed."""
    forgotten: int = 0
    """How many were before them."""
    ended_by: str | None = None
    """`client`, `server` or `proxy`, once somebody has ended it."""
    close_code: int | None = None
    """1005 for a close frame without a code, 1006 for an end without a close frame."""
    close_reason: str = ""


class FlowDetail(msgspec.Struct, frozen=True):
    """Everything there is to show of one flow."""

    summary: FlowSummary
    url: str
    request: HeadView
    request_body: BodyView
    client: ConnectionView
    response: HeadView | None = None
    response_body: BodyView | None = None
    request_received: HeadView | None = None
    """The request as the client sent it, where it was changed on the way."""
    response_received: HeadView | None = None
    """The response as the origin sent it, where it was changed on the way."""
    server: ConnectionView | None = None
    request_sent: float | None = None
    first_byte: float | None = None
    ended: float | None = None
    edited_by: tuple[str, ...] = ()
    changes: tuple[ChangeView, ...] = ()
    """What each of them did, in order."""
    notes: tuple[str, ...] = ()
    annotations: dict[str, str] = {}
    web_socket: WebSocketView | None = None
    """Its messages, where the flow has become a WebSocket."""


class CoreStatus(msgspec.Struct, frozen=True):
    """The core at one moment."""

    listening: tuple[str, ...]
    """`host:port` of every listener, with the real port."""
    modes: tuple[str, ...]
    ca_path: str
    flows_seen: int
    """Since the start; the rate is the difference between two readings."""
    flows_kept: int
    flows_evicted: int
    bytes_kept: int
    active: int
    held: int
    client_connections: int
    server_connections: int
    plugins_ready: int
    plugins_failing: int
    log_lines_dropped: int
    api: str = ""
    """The URL at which the API is served, empty where it is not."""


class LogBatch(msgspec.Struct, frozen=True):
    """What a follower of the log gets at a time."""

    lines: tuple[LogLine, ...]
    """Oldest first."""
    lost: int = 0
    """Lines dropped before these, because the follower came too late."""


class Update(msgspec.Struct, frozen=True):
    """What is new since a feed was drained last."""

    flows: tuple[FlowSummary, ...] = ()
    """New and changed flows, each once, oldest first."""
    gone: tuple[FlowId, ...] = ()
    """Flows that came before and that the core has forgotten; ascending."""
    logs: tuple[LogLine, ...] = ()
    plugins: tuple[PluginStatus, ...] = ()
    lost_flows: int = 0
    """News of flows dropped because the feed was drained too late; what is kept comes again."""
    lost_logs: int = 0
