"""One TLS session over memory BIOs: ciphertext in, plaintext out, and the other way round.

Knows no socket: a channel feeds it and sends what it gives. OpenSSL's errors leave here as
TlsError. Why not the loop's own TLS, and why all sessions share two BIOs: see docs/adr.
"""

from __future__ import annotations

import contextlib
import ssl

from proxy_core.errors import TlsError

_RECORD = 16384
_AT_ONCE = 256 * 1024  # bytes; a BIO never shrinks again


class TlsBuffers:
    """The two memory BIOs of all sessions of one thread: empty whenever no session is at work.

    A BIO keeps the room of the most that ever went through it. One pair for each connection would
    cost an idle one up to 700 KiB.
    """

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()


class TlsSession:
    """The state of one TLS connection, client or server side.

    `established` becomes True when the handshake is done, `ended` when the peer said goodbye;
    `failure` is what broke the session behind the last good bytes.
    """

    __slots__ = (
        "_incoming",
        "_object",
        "_outgoing",
        "_unread",
        "_unsent",
        "ended",
        "established",
        "failure",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
        buffers: TlsBuffers | None = None,
    ) -> None:
        """`buffers` may be shared with other sessions of the same thread."""
        buffers = buffers or TlsBuffers()
        self._incoming = buffers.incoming
        self._outgoing = buffers.outgoing
        self._unread = b""
        """Ciphertext behind the handshake."""
        self._unsent = b""
        try:
            self._object = context.wrap_bio(
                self._incoming,
                self._outgoing,
                server_side=server_side,
                server_hostname=server_hostname,
                session=session,
            )
        except (ssl.SSLError, ValueError) as error:
            raise TlsError(f"cannot begin TLS with {server_hostname!r}: {error}") from error
        self.established = False
        self.ended = False
        self.failure: TlsError | None = None

    @property
    def object(self) -> ssl.SSLObject:
        """The session's facts: cipher, version, certificate."""
        return self._object

    def handshake(self, data: bytes = b"") -> bool:
        """Go on with the handshake, given ciphertext; return whether it is done. See `take`."""
        if data:
            self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise TlsError(str(error)) from error
        finally:
            self._unread = self._incoming.read()
            self._unsent += self._outgoing.read()
        self.established = True
        return True

    def decrypt(self, data: bytes) -> bytes:
        """Return the plaintext that `data` completes; may be empty. Raises TlsError.

        Good bytes in front of bad ones are returned, and `failure` is set.
        """
        if self.failure is not None:
            raise self.failure
        if self._unread:
            data, self._unread = self._unread + data, b""
        tls = self._object
        incoming = self._incoming
        incoming.write(data)
        pieces: list[bytes] = []
        try:
            piece = tls.read(_RECORD)
            # Asking only while there is something left spares an exception for each read.
            if not incoming.pending and not tls.pending():
                if not piece:
                    self.ended = True
                return piece
            while piece:
                pieces.append(piece)
                if not incoming.pending and not tls.pending():
                    break
                piece = tls.read(_RECORD)
            else:
                self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            self.failure = TlsError(str(error))
            self.failure.__cause__ = error
            if not pieces:
                raise self.failure from error
        finally:
            if incoming.pending:
                incoming.read()  # behind the end, or behind what is broken
            if self._outgoing.pending:
                self._unsent += self._outgoing.read()
        return b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        """Return the ciphertext of `data`, with whatever else wants to be sent."""
        if len(data) > _AT_ONCE:
            view = memoryview(data)
            steps = range(0, len(data), _AT_ONCE)
            return b"".join([self._encrypt(view[step : step + _AT_ONCE]) for step in steps])
        return self._encrypt(data)

    def _encrypt(self, data: bytes | memoryview) -> bytes:
        try:
            written = self._object.write(data)
            while written < len(data):
                written += self._object.write(memoryview(data)[written:])
        except ssl.SSLError as error:
            self._outgoing.read()
            raise TlsError(str(error)) from error
        if self._unsent:
            return self.take() + self._outgoing.read()
        return self._outgoing.read()

    def take(self) -> bytes:
        """Take what the session itself wants to send: handshake, tickets, alerts."""
        unsent, self._unsent = self._unsent, b""
        return unsent

    def say_goodbye(self) -> bytes:
        """Return a close_notify alert, where the session got so far."""
        if self.established:
            # Wants the peer's close_notify, for which nobody waits.
            with contextlib.suppress(ssl.SSLError):
                self._object.unwrap()
            self._unsent += self._outgoing.read()
        return self.take()


class TlsInTls:
    """A session inside another one that is established: TLS with an origin through a TLS proxy.

    To a channel it is what `TlsSession` is.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, outer: TlsSession | TlsInTls, inner: TlsSession) -> None:
        self._outer = outer
        self._inner = inner

    @property
    def object(self) -> ssl.SSLObject:
        """The inner session's facts."""
        return self._inner.object

    @property
    def established(self) -> bool:
        """See `TlsSession`."""
        return self._inner.established

    @property
    def ended(self) -> bool:
        """See `TlsSession`."""
        return self._inner.ended or self._outer.ended

    @property
    def failure(self) -> TlsError | None:
        """See `TlsSession`."""
        return self._inner.failure or self._outer.failure

    def handshake(self, data: bytes = b"") -> bool:
        """See `TlsSession.handshake`."""
        return self._inner.handshake(self._outer.decrypt(data) if data else b"")

    def decrypt(self, data: bytes) -> bytes:
        """See `TlsSession.decrypt`."""
        return self._inner.decrypt(self._outer.decrypt(data) if data else b"")

    def encrypt(self, data: bytes) -> bytes:
        """See `TlsSession.encrypt`."""
        return self._outer.encrypt(self._inner.encrypt(data))

    def take(self) -> bytes:
        """See `TlsSession.take`."""
        inner = self._inner.take()
        return self._outer.encrypt(inner) if inner else self._outer.take()

    def say_goodbye(self) -> bytes:
        """See `TlsSession.say_goodbye`."""
        inner = self._inner.say_goodbye()
        return (self._outer.encrypt(inner) if inner else b"") + self._outer.say_goodbye()
