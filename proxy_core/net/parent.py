"""Another proxy in between: what it is told, and CONNECT through it (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import base64

from proxy_core.config import Limits, join_host_port
from proxy_core.errors import (
    ConnectionLost,
    ConnectionTimeout,
    RemoteProtocolError,
    TlsError,
    UpstreamError,
)
from proxy_core.exchange.ports import Parent
from proxy_core.model.message import ResponseHead
from proxy_core.net.channel import Channel
from proxy_core.wire.events import ResponseReceived
from proxy_core.wire.http1 import ResponseReader


def credentials_line(parent: Parent) -> bytes:
    """Return the field line with the parent's credentials (RFC 7617), or nothing."""
    if not parent.credentials:
        return b""
    credentials = parent.credentials.encode(errors="surrogateescape")
    return b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(credentials)


def refused(parent: Parent, what: str, head: ResponseHead) -> UpstreamError:
    """Say that a parent did not do what it was asked for, and what would help."""
    remedy = (
        "; write its credentials into the mode: upstream:http://USER:PASSWORD@HOST:PORT"
        if head.status == 407
        else ""
    )
    return UpstreamError(
        f"the upstream proxy {join_host_port(parent.host, parent.port)} refused to {what}: "
        f"{head.status} {head.reason.decode('latin-1')}{remedy}"
    )


async def ask_for_tunnel(
    channel: Channel, parent: Parent, host: str, port: int, limits: Limits
) -> None:
    """Have the parent connect the channel to `host`:`port`. Raises UpstreamError (502 or 504)."""
    where = join_host_port(host, port).encode()
    name = join_host_port(parent.host, parent.port)
    channel.write(
        b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (where, where, credentials_line(parent))
    )
    channel.allow(limits.connect_timeout, "the upstream proxy did not answer CONNECT in time")
    reader = ResponseReader(limits.head_bytes, limits.header_count)
    reader.expect(b"CONNECT")
    try:
        event = await _final_head(channel, reader, limits)
    except ConnectionTimeout as error:
        channel.abort()
        raise UpstreamError(f"the upstream proxy {name}: {error}", 504) from error
    except (ConnectionLost, TlsError, RemoteProtocolError) as error:
        channel.abort()
        raise UpstreamError(f"the upstream proxy {name} failed: {error}") from error
    except BaseException:
        channel.abort()
        raise
    if not 200 <= event.head.status < 300:
        channel.abort()
        raise refused(parent, f"connect to {where.decode()}", event.head)
    channel.unread(reader.take_rest())
    channel.allow_for_ever()


async def _final_head(channel: Channel, reader: ResponseReader, limits: Limits) -> ResponseReceived:
    informational = 0
    while True:
        event = reader.next_event()
        if event is None:
            reader.receive_data(await channel.receive())
        elif not isinstance(event, ResponseReceived):
            raise ConnectionLost("it closed the connection without an answer")
        elif not event.informational:
            return event
        else:
            informational += 1
            if informational > limits.informational_heads:
                raise RemoteProtocolError(
                    f"more than {limits.informational_heads} informational answers"
                )
            reader.await_final()
