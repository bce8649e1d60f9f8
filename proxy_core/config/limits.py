"""Every limit of the program, with its default; docs/limits.md says what happens at each."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds, each documented in docs/limits.md. Sizes in bytes, times in seconds."""

    head_bytes: int = 64 * 1024
    """One request or response head, start line included."""
    header_count: int = 200
    target_bytes: int = 32 * 1024
    connections: int = 16_384
    streams: int = 100
    """Concurrent HTTP/2 streams of one client connection."""
    http2_budget: int = 2000
    """Points of nuisance that one HTTP/2 client may have to its name."""
    http2_forgiven: int = 400
    """Points of them that are forgotten in a second."""
    http2_least_window: int = 4096
    """Bytes of one answer that an HTTP/2 client's windows let through before they may stay shut."""
    http2_least_rate: int = 512
    """Bytes a second of what waits on an HTTP/2 client, where anything moves."""
    http2_slow_for: float = 1.5
    """Seconds for which an HTTP/2 client may be slower than that, or keep such windows shut."""
    body_buffer: int = 8 * MIB
    """One body, where a plugin wants to see it whole before its message goes on; a larger one
    goes on unseen."""
    captured_body: int = 1 * MIB
    """Bytes kept of each body; of a larger one only the first 64 KiB."""
    captured_total: int = 256 * MIB
    """Bytes of all flows in memory."""
    captured_growing: int = 16 * MIB
    """Bytes kept of the bodies of all flows that go on; what has not grown for longest is shed."""
    websocket_message: int = 128 * MIB
    """One WebSocket message, compressed or not; a larger one ends its connection (code 1009)."""
    websocket_held: int = 4 * MIB
    """Bytes of a WebSocket message kept back for who asked to see it; a larger one streams on."""
    websocket_captured: int = 8 * MIB
    """Bytes of WebSocket messages kept of one flow; the oldest go first."""
    stream_buffer: int = 256 * 1024
    """Bytes of one body in flight before its sender is told to wait."""
    stream_buffers: int = 4 * MIB
    """Bytes of all bodies in flight before everybody is read in small bites."""
    head_timeout: float = 30.0
    """From a request's first byte to the end of its head."""
    informational_heads: int = 100
    """1xx heads before one final head."""
    body_timeout: float = 300.0
    """From one piece of a body to the next, either way; of a request's body of known length, all
    that it may come slower than `body_least_rate`."""
    body_least_rate: int = 64
    """Bytes a second of a request's body; while it comes slower, its time runs out."""
    live_timeout: float = 3600.0
    """For a request's body of unknown length to come slower than that, before its answer."""
    idle_timeout: float = 300.0
    """A connection on which nothing moves."""
    unwanted_body: int = 16 * MIB
    """Bytes read and thrown away of a request's body whose answer is complete."""
    unwanted_timeout: float = 10.0
    """From a complete answer to the end of such a body."""
    tunnel_timeout: float = 3600.0
    """A tunnel through which nothing moves, either way."""
    connect_timeout: float = 10.0
    """TCP connect, and TLS handshake, to an origin; each."""
    response_timeout: float = 300.0
    """From the end of the request to the response's head."""
    upstream_idle: float = 30.0
    """A pooled upstream connection that carries nothing."""
    upstream_idle_per_origin: int = 256
    upstream_idle_total: int = 1024
    """Pooled upstream connections that carry nothing, of all origins."""
    log_lines: int = 10_000
    """Plugin log lines kept."""
