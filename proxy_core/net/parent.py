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
from proxy_core.model.headers import Field
from proxy_core.model.message import HTTP_11, RequestHead, ResponseHead
from proxy_core.net.channel import Channel
from proxy_core.wire.events import ResponseReceived
from proxy_core.wire.http1 import ResponseReader

_TOLD_ON = (504, 508)  # too late, or in a circle, is what the client is told as well


def credentials_line(parent: Parent) -> bytes:
    """Return the field line with the parent's credentials (RFC 7617), or nothing."""
    if not parent.credentials:
        return b""
    credentials = parent.credentials.encode(errors="surrogateescape")
    return b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(credentials)


def credentials_of(head: RequestHead) -> list[Field]:
    """Return what a client tells the proxy that it goes through beyond this one."""
    return [field for field in head.headers.fields if field[0].lower() == b"proxy-authorization"]


def challenges_of(head: ResponseHead) -> list[Field]:
    """Return what that proxy asks the client for."""
    return [field for field in head.headers.fields if field[0].lower() == b"proxy-authenticate"]


def via_line(parent: Parent, version: str) -> bytes:
    """Return the field line that says whom a message has come through, or nothing.

    To go behind those that it came with (RFC 9110, section 7.6.3). `version` is what it came in.
    """
    if not parent.pseudonym:
        return b""
    before = parent.passed + b", " if parent.passed else b""
    ours = f"{version.removeprefix('HTTP/')} {parent.pseudonym}".encode()
    return b"Via: %b%b\r\n" % (before, ours)


def refused(parent: Parent, what: str, head: ResponseHead) -> UpstreamError:
    """Say that a parent did not do what it was asked for, and what would help."""
    remedy = (
        "; write its credentials into the mode: upstream:http://USER:PASSWORD@HOST:PORT"
        if head.status == 407
        else ""
    )
    return UpstreamError(
        f"the upstream proxy {join_host_port(parent.host, parent.port)} refused to {what}: "
        f"{head.status} {head.reason.decode('latin-1')}{remedy}",
        head.status if head.status in _TOLD_ON else 502,
    )


async def ask_for_tunnel(
    channel: Channel, parent: Parent, host: str, port: int, limits: Limits
) -> None:
    """Have the parent connect the channel to `host`:`port`. Raises UpstreamError (502 or 504)."""
    where = join_host_port(host, port).encode()
    name = join_host_port(parent.host, parent.port)
    channel.write(
        b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n"
        % (where, where, credentials_line(parent), via_line(parent, HTTP_11))
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
