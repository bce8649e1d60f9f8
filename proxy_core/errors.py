"""The one exception tree: every failure that a user can meet, and whose fault it is.

A message states fact, value and remedy ("port 8080 is taken; pass --listen or stop the other
listener"). Foreign exceptions are translated once, at the edge that called the library.
"""

from __future__ import annotations


class Int3rceptorError(Exception):
    """The root: anything this program reports on purpose."""


class ConfigError(Int3rceptorError):
    """A setting is unknown, malformed or contradicts another one."""


class FilterError(Int3rceptorError):
    """A filter expression cannot be read; `column` counts its characters from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"column {column}: {message}")
        self.column = column


class ListenError(Int3rceptorError):
    """A listening socket could not be opened."""


class CaError(Int3rceptorError):
    """The certificate authority could not be made, read or trusted with its own files."""


class PrivateFileError(Int3rceptorError):
    """A file that only its owner may read could not be made, read or closed to others."""


class ProtocolError(Int3rceptorError):
    """Bytes or calls broke a protocol's rules."""


class LocalProtocolError(ProtocolError):
    """We tried to send something the protocol forbids: a bug of ours, never the peer's."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something the protocol forbids.

    `status` is what a server answers to it (RFC 9110, section 15): 400, 407, 408, 413, 414, 431,
    501, 505; `fields` what the answer says besides.
    """

    def __init__(
        self, message: str, status: int = 400, fields: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.fields = fields


class WebSocketError(ProtocolError):
    """One side of a WebSocket broke its protocol; `code` is the close code that tells it so.

    1002 protocol error, 1007 payload that is not what its type says, 1009 too big (RFC 6455,
    section 7.4.1).
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ConnectionLost(Int3rceptorError):
    """A connection broke."""


class ConnectionTimeout(Int3rceptorError):
    """A peer was silent, or did not read, for longer than a limit allows."""


class TlsError(ProtocolError):
    """A TLS handshake or session failed; the message is OpenSSL's."""


class ClientDisconnected(Int3rceptorError):
    """The client went away before its exchange was over."""


class UpstreamError(Int3rceptorError):
    """The origin could not be reached, or failed; `status` (502 or 504) goes to the client.

    `reset_code` is why the origin broke its stream off, where it did (RFC 9113, section 7).
    """

    def __init__(self, message: str, status: int = 502, reset_code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reset_code = reset_code


class UpstreamGone(UpstreamError):
    """A connection ended, or refused the stream, before the origin answered anything.

    `unseen` says that the origin surely did not act on the request, so that it may be sent again
    whatever its method is (RFC 9113, section 8.7).
    """

    def __init__(self, message: str, unseen: bool = False) -> None:
        super().__init__(message)
        self.unseen = unseen


class RefusedByHook(Int3rceptorError):
    """A hook ended an exchange in the middle of a body; the message says who, and why.

    `status` is what a client gets whose response has not begun.
    """

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


class PluginError(Int3rceptorError):
    """A plugin could not be found, loaded, reloaded or called."""


class PluginNotFound(PluginError):
    """No plugin of that name is known."""


class ApiError(Int3rceptorError):
    """A core answered that it will not, or not as asked; `status` is HTTP's (RFC 9110, 15)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ApiUnreachable(Int3rceptorError):
    """No core answers where one was looked for, or it does not know who asks."""


class ControlError(Int3rceptorError):
    """A command from a console could not be carried out."""
