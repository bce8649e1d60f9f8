"""What an HTTP/2 connection tells its owner: the events of `http2`, as methods to override."""

from __future__ import annotations

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field
from proxy_core.wire.events import RequestReceived, ResponseReceived
from proxy_core.wire.http2_codes import PROTOCOL_ERROR


class Listener:
    """Hears everything and does nothing; override what matters. Sizes are in bytes."""

    __slots__ = ()

    def on_request(self, stream_id: int, received: RequestReceived) -> None:
        """A client opened a stream."""

    def on_response(self, stream_id: int, received: ResponseReceived) -> None:
        """A head came back, maybe an informational one."""

    def on_data(self, stream_id: int, data: bytes, credit: int) -> None:
        """A piece of body; give `credit` back with `give_credit` when it has been used."""

    def on_end(self, stream_id: int, trailers: list[Field] | None) -> None:
        """The peer's side of a stream is complete."""

    def on_reset(self, stream_id: int, code: int, reason: str) -> None:
        """A stream was broken off, by the peer or because what it sent was malformed."""

    def on_malformed(self, stream_id: int, error: RemoteProtocolError) -> None:
        """A stream was broken off because what came on it was malformed."""
        self.on_reset(stream_id, PROTOCOL_ERROR, str(error))

    def on_refused(self, stream_id: int, ended: bool, error: RemoteProtocolError) -> None:
        """A request came that is to be answered with `error.status`; `ended` with its head."""

    def on_window(self, stream_id: int) -> None:
        """There is more room to send in; on all streams where the id is 0."""

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """The peer takes no new streams and has not seen those above `last_stream_id`."""

    def on_leave_seen(self) -> None:
        """The peer knows by now that we are leaving."""
