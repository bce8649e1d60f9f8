"""What can go wrong while somebody waits, done to a connection from below."""

from __future__ import annotations

import asyncio
import enum
import errno
import socket
from types import FrameType

from h2.errors import ErrorCodes
from hyperframe.frame import RstStreamFrame

from proxy_core.net.channel import Channel


class Fault(enum.Enum):
    """What happens, and to whose connection."""

    CLIENT_RESETS = "the client resets"
    CLIENT_ENDS = "the client ends its side"
    CLIENT_STALLS = "the client stalls"
    ORIGIN_RESETS = "the origin resets"
    ORIGIN_ENDS = "the origin ends its side"
    ORIGIN_STALLS = "the origin stalls"
    CANCELLED = "cancelled"

    def __str__(self) -> str:
        return self.value


CLIENT = (Fault.CLIENT_RESETS, Fault.CLIENT_ENDS, Fault.CLIENT_STALLS)
ORIGIN = (Fault.ORIGIN_RESETS, Fault.ORIGIN_ENDS, Fault.ORIGIN_STALLS)
RESETS = (Fault.CLIENT_RESETS, Fault.ORIGIN_RESETS)
ENDS = (Fault.CLIENT_ENDS, Fault.ORIGIN_ENDS)


class _Silence(asyncio.Protocol):
    """Stands between a socket and its channel: nothing comes through any more."""

    def __init__(self, channel: Channel, stalls: bool) -> None:
        self._channel = channel
        self._stalls = stalls

    def eof_received(self) -> bool:
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.connection_lost(exc)

    def pause_writing(self) -> None:
        self._channel.pause_writing()

    def resume_writing(self) -> None:
        if not self._stalls:
            self._channel.resume_writing()


def befall(channel: Channel, fault: Fault) -> None:
    """Let a fault happen to an open connection, at once."""
    transport = channel._transport
    if fault in RESETS:
        transport.set_protocol(asyncio.Protocol())
        transport.abort()
        channel.connection_lost(ConnectionResetError(errno.ECONNRESET, "reset by the test"))
        return
    stalls = fault not in ENDS
    transport.set_protocol(_Silence(channel, stalls))
    if stalls:
        channel.pause_writing()
    elif channel.tls is not None and channel.tls.established:
        channel._eof = True  # as after a close_notify
        channel._wake_reader()
    else:
        channel.eof_received()


def reset_stream(frame: FrameType | None) -> bool:
    """Let a client reset the stream of an exchange; return whether it was there to be reset."""
    if frame is None:
        return False
    stream, link = frame.f_locals["stream"], frame.f_locals["self"]
    if stream.id not in link.streams or link.channel.closed:
        return False
    link.engine.receive_data(RstStreamFrame(stream.id, int(ErrorCodes.CANCEL)).serialize())
    link.flush()
    return True


def befall_dialling(future: asyncio.Future[object], fault: Fault, asks: bool) -> object:
    """Let a fault happen to a connection that is being made; `asks` for the address, as yet.

    Returns what to wait for instead.
    """
    if fault is Fault.ORIGIN_STALLS:
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        never: asyncio.Future[object] = future.get_loop().create_future()
        return next(iter(never.__await__()))
    error: OSError = ConnectionRefusedError(errno.ECONNREFUSED, "refused by the test")
    if asks:
        error = socket.gaierror(socket.EAI_NONAME, "no such name")
    future.set_exception(error)
    return future
