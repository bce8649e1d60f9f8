"""A channel: one TCP connection as a coroutine sees it, in the clear or inside TLS.

`receive` gives what arrived, `write` sends, `drain` waits while the peer is slow to read. What
arrives while nobody receives is kept up to a bound (`buffers`); then the socket is read no further,
and the sender feels it. TLS may begin at any point, with bytes that were read before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

from proxy_core.errors import ConnectionLost, ConnectionTimeout, TlsError
from proxy_core.net.buffers import Buffers
from proxy_core.net.clock import NEVER, Clock
from proxy_core.net.tls_session import TlsInTls, TlsSession

_LAST_WORDS = 300.0
"""Seconds a closed connection has for what was written before."""

_REST_AFTER = 1.0
"""Seconds without a byte after which a connection that is idle may rest."""


class FellIdle(Exception):
    """Nothing has come for a while, and nothing is owed: who reads may put itself away."""


class Channel(asyncio.BufferedProtocol):
    """One connection. Use from its loop only, and `receive` in one task at a time."""

    __slots__ = (
        "_buffers",
        "_clock",
        "_eof",
        "_error",
        "_expiry",
        "_idle_until",
        "_incoming",
        "_incoming_size",
        "_loop",
        "_more",
        "_narrow",
        "_paused",
        "_read_waiter",
        "_tls",
        "_transport",
        "_unsent",
        "_write_blocked",
        "_write_waiters",
        "closed",
        "deadline",
        "on_activity",
        "on_lost",
        "on_made",
        "on_stopping",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, buffers: Buffers) -> None:
        """Keep at most about `buffers.each` bytes that nobody received yet, and as many unsent.

        What is read at once may be as many itself: so no more is read beyond half of it.
        """
        self._loop = loop
        self._clock = clock
        self._buffers = buffers
        self._transport: asyncio.Transport
        self._incoming: bytes = b""
        self._more: list[bytes] | None = None
        self._incoming_size = 0
        self._eof = False
        self._error: Exception | None = None
        self._paused = False
        self._read_waiter: asyncio.Future[None] | None = None
        self._write_blocked = False
        self._unsent = 0
        """Bytes that wait for the peer to read, as far as they count."""
        self._narrow = False
        """Few of them are enough to block the writer."""
        self._write_waiters: list[asyncio.Future[None]] | None = None
        self._tls: TlsSession | TlsInTls | None = None
        self._expiry = ""
        self._idle_until: float | None = None
        """The deadline, while the one before it is for `receive` to raise FellIdle."""
        self.closed = True
        self.deadline = NEVER
        self.on_made: Callable[[Channel], None] | None = None
        """Called once, when the connection is there."""
        self.on_lost: Callable[[], object] | None = None
        """Called once, when the connection is gone in both directions."""
        self.on_stopping: Callable[[], None] | None = None
        """Called when the listener stops, so that what is under way can end well."""
        self.on_activity: Callable[[Channel], object] | None = None
        """Called when anything arrives that nobody waits for, the end included, or is late; for
        connections lying idle."""

    # --- the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start watching deadlines."""
        self._transport = cast(asyncio.Transport, transport)
        self.closed = False
        self._transport.set_write_buffer_limits(high=self._buffers.each)
        self._clock.watch(self)
        if self.on_made is not None:
            self.on_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put what arrives: as much as there is to read at once."""
        buffers = self._buffers
        return buffers.mouthful if buffers.held <= buffers.together else buffers.bite

    def buffer_updated(self, nbytes: int) -> None:
        """Take what arrived out of the room that all share."""
        self.data_received(self._buffers.mouthful[:nbytes].tobytes())

    def data_received(self, data: bytes) -> None:
        """Keep what arrived and wake the receiver."""
        if self._tls is not None:
            data = self._through_tls(data)
            if not data:
                return
        if self._incoming_size:
            if self._more is None:
                self._more = []
            self._more.append(data)
        else:
            self._incoming = data
        size = len(data)
        self._incoming_size += size
        buffers = self._buffers
        buffers.held += size
        if not self._paused and (
            2 * self._incoming_size > buffers.each
            or (buffers.held > buffers.together and self._read_waiter is None)
        ):
            self._paused = True
            self._transport.pause_reading()
        self._wake_reader()

    def _through_tls(self, data: bytes) -> bytes:
        tls = self._tls
        assert tls is not None
        plain = b""
        try:
            if tls.established:
                plain = tls.decrypt(data)
            elif tls.handshake(data):
                plain = tls.decrypt(b"")
        except TlsError as error:
            self._error = error
            self._send_raw(tls.take())
            self._wake_reader()
            return b""
        self._send_raw(tls.take())
        if tls.ended:
            self._eof = True
        if tls.failure is not None and self._error is None:
            self._error = tls.failure
        if tls.ended or not plain:
            self._wake_reader()
        return plain

    def _send_raw(self, data: bytes) -> None:
        if data and not self.closed:
            self._transport.write(data)

    def eof_received(self) -> bool:
        """Note that the peer sends no more; our direction stays open, if the peer still reads.

        A client that wants its answer says goodbye in TLS before it ends its side: one that does
        not is gone. Of origins it is no sign, too many leave it out after the last byte.
        """
        tls = self._tls
        if tls is not None and tls.established and not tls.ended and tls.object.server_side:
            self._error = self._error or ConnectionLost(
                "the peer ended the connection without closing its TLS session"
            )
            self._transport.abort()
        self._eof = True
        self._wake_reader()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake everybody."""
        if not self.closed:
            self.closed = True
            self._buffers.held -= self._incoming_size + self._unsent
            self._unsent = 0
        self._eof = True
        if exc is not None and self._error is None:
            self._error = ConnectionLost(_reason(exc))
        self._clock.forget(self)
        self._wake_reader()
        self._wake_writer()
        if self.on_lost is not None:
            self.on_lost()

    def pause_writing(self) -> None:
        """Note that the peer reads slower than we write."""
        self._write_blocked = True
        self._unsent = self._transport.get_write_buffer_size()
        self._buffers.held += self._unsent

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._write_blocked = False
        self._buffers.held -= self._unsent
        self._unsent = 0
        if self._narrow and not self._buffers.tight:
            self._narrow = False
            self._transport.set_write_buffer_limits(high=self._buffers.each)
        self._wake_writer()

    def _wake_reader(self) -> None:
        waiter = self._read_waiter
        if waiter is not None:
            self._read_waiter = None
            if not waiter.done():
                waiter.set_result(None)
        elif self.on_activity is not None:
            self.on_activity(self)

    def _wake_writer(self) -> None:
        waiters, self._write_waiters = self._write_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    # --- time

    @property
    def now(self) -> float:
        """The time in seconds, as of the clock's last sweep."""
        return self._clock.now

    def allow(self, seconds: float, expiry: str) -> None:
        """Give what comes next so many seconds; `expiry` says what was late, for people."""
        self.deadline = self._clock.now + seconds
        self._idle_until = None
        self._expiry = expiry

    def allow_for_ever(self) -> None:
        """Lift the deadline."""
        self.deadline = NEVER
        self._idle_until = None

    def allow_idle(self, seconds: float, expiry: str) -> None:
        """As `allow`, to who has nothing to do until something comes; and `doze`."""
        self.allow(seconds, expiry)
        self.doze()

    def doze(self) -> None:
        """Have `receive` raise FellIdle, once, where it waits for a while; the deadline stays."""
        rest_at = self._clock.now + _REST_AFTER
        if rest_at < self.deadline:
            self._idle_until = self.deadline
            self.deadline = rest_at

    def expire(self) -> None:
        """Fail every wait, because the deadline passed; break off what was being closed."""
        if self._idle_until is not None:
            self.deadline, self._idle_until = self._idle_until, None
            if self.deadline >= self._clock.now:
                self._fall_idle()
                return
            self.deadline = NEVER
        if self._transport.is_closing():
            self._transport.abort()
        self._error = ConnectionTimeout(self._expiry)
        self._wake_reader()
        self._wake_writer()

    def _fall_idle(self) -> None:
        waiter = self._read_waiter
        if waiter is None or not self._clock.lets_rest():
            self.doze()  # who reads is about to; or there are others enough
        elif not waiter.done():
            waiter.set_exception(FellIdle())

    # --- the coroutine's side

    async def receive(self) -> bytes:
        """Return what arrived, at least one byte; `b""` when the peer has ended its side.

        Raises ConnectionLost, ConnectionTimeout or TlsError; FellIdle only after `doze`.
        """
        while not self._incoming_size:
            if self._error is not None:
                raise self._error
            if self._eof:
                return b""
            self._read_waiter = self._loop.create_future()
            try:
                await self._read_waiter
            finally:
                self._read_waiter = None
        return self.take()

    def interrupt(self, error: Exception) -> None:
        """Let whoever receives at the moment see an error, which is none of the connection's."""
        waiter = self._read_waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def take(self) -> bytes:
        """Take what has arrived, possibly nothing, without waiting."""
        data = self._incoming
        if self._more is not None:
            data = b"".join([data, *self._more])
            self._more = None
        if not self.closed:
            self._buffers.held -= self._incoming_size
        self._incoming = b""
        self._incoming_size = 0
        if self._paused:
            self._paused = False
            if not self.closed:
                self._transport.resume_reading()
        return data

    @property
    def has_unread(self) -> bool:
        """Whether something has arrived that nobody received."""
        return self._incoming_size > 0

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of what arrives."""
        if data:
            rest = self.take()
            self._incoming = data + rest
            self._incoming_size = len(self._incoming)
            if not self.closed:
                self._buffers.held += self._incoming_size

    def write(self, data: bytes) -> None:
        """Send `data`; dropped silently where the connection is gone (`drain` tells)."""
        if self.closed:
            return
        if self._tls is not None:
            try:
                data = self._tls.encrypt(data)
            except TlsError as error:
                self._error = error
                return
        self._transport.write(data)
        if self._write_blocked:
            self._unsent += len(data)
            self._buffers.held += len(data)
        elif self._buffers.tight:
            self._narrow = True
            self._transport.set_write_buffer_limits(high=len(self._buffers.bite))

    @property
    def buffers(self) -> Buffers:
        """What it shares with all others."""
        return self._buffers

    @property
    def write_blocked(self) -> bool:
        """Whether a writer should `drain` before it writes more."""
        return self._write_blocked or self.closed

    async def drain(self) -> None:
        """Wait until the peer has read enough. Raises ConnectionLost or ConnectionTimeout."""
        while self._write_blocked and not self.closed:
            if isinstance(self._error, ConnectionTimeout):
                raise self._error
            await self.writable()
        if self.closed:
            raise self._error or ConnectionLost("the connection was closed")

    def writable(self) -> asyncio.Future[None]:
        """Return what is done when it is worth asking `write_blocked` and `closed` again."""
        waiter = self._loop.create_future()
        if self._write_waiters is None:
            self._write_waiters = []
        self._write_waiters.append(waiter)
        return waiter

    @property
    def ended(self) -> bool:
        """Whether the peer has ended its side, or the connection failed."""
        return self._eof or self._error is not None

    @property
    def error(self) -> Exception | None:
        """Why the connection failed, where it did."""
        return self._error

    async def start_tls(self, session: TlsSession) -> None:
        """Speak TLS from here on; returns when the handshake is done.

        What was received and not taken is the handshake's beginning. Raises TlsError,
        ConnectionLost or ConnectionTimeout.
        """
        begun = self.take()
        self._tls = tls = session if self._tls is None else TlsInTls(self._tls, session)
        if begun or not session.object.server_side:
            try:
                session.handshake(begun)
            finally:
                self._send_raw(tls.take())
        while not session.established:
            if self._error is not None:
                raise self._error
            if self._eof:
                raise TlsError("the peer closed the connection during the TLS handshake")
            self._read_waiter = self._loop.create_future()
            try:
                await self._read_waiter
            finally:
                self._read_waiter = None

    @property
    def tls(self) -> TlsSession | TlsInTls | None:
        """The TLS session, where there is one."""
        return self._tls

    # --- the end

    def write_eof(self) -> None:
        """End our direction; the peer may go on sending."""
        if self.closed:
            return
        if self._tls is not None:
            self._send_raw(self._tls.say_goodbye())
        with contextlib.suppress(OSError, NotImplementedError):
            self._transport.write_eof()

    def close(self) -> None:
        """Send what is queued, then close."""
        if not self.closed and not self._transport.is_closing():
            if self._tls is not None:
                self._send_raw(self._tls.say_goodbye())
            self._transport.close()
            self.allow(_LAST_WORDS, "did not read the end in time")

    def abort(self) -> None:
        """Close at once; the peer may see a reset."""
        if not self.closed:
            self._transport.abort()

    async def linger(self, seconds: float, max_bytes: int) -> None:
        """Close so that the peer gets what was sent, though it still sends itself.

        Closing a socket with unread input resets it, and the reset can overtake the answer
        (RFC 9112, section 9.6). So end our side, read on a while, then close.
        """
        self.write_eof()
        if isinstance(self._error, ConnectionTimeout):
            self._error = None  # what was late has had its answer
        self.allow(seconds, "lingering")
        with contextlib.suppress(ConnectionLost, ConnectionTimeout, TlsError):
            while max_bytes > 0:
                data = await self.receive()
                if not data:
                    break
                max_bytes -= len(data)
        self.close()

    # --- facts

    def peer_address(self) -> tuple[str, int]:
        """The other end's IP address and port."""
        return _address(self._transport.get_extra_info("peername"))

    def local_address(self) -> tuple[str, int]:
        """Our end's IP address and port."""
        return _shared_address(*_address(self._transport.get_extra_info("sockname")))

    @property
    def socket(self) -> socket.socket | None:
        """The socket, for options."""
        return cast("socket.socket | None", self._transport.get_extra_info("socket"))


def _address(name: Any) -> tuple[str, int]:
    if isinstance(name, tuple) and len(name) >= 2:
        return _shared(str(name[0])), int(name[1])
    return "", 0


_MAPPED = "::ffff:"


@lru_cache(maxsize=1024)
def _shared(host: str) -> str:
    """Return an equal string: many connections come from few addresses.

    IPv4 on a socket that takes both families is called what it is called on others.
    """
    return host.removeprefix(_MAPPED) if "." in host else host


@lru_cache(maxsize=64)
def _shared_address(host: str, port: int) -> tuple[str, int]:
    """Return an equal pair: many connections come to few addresses."""
    return host, port


def _reason(exc: Exception) -> str:
    if isinstance(exc, ConnectionResetError):
        return "the connection was reset"
    if isinstance(exc, BrokenPipeError):
        return "the peer closed the connection"
    return f"the connection failed: {exc}"
