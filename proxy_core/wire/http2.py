"""HTTP/2 for either side: bytes in, our events out, on top of the h2 library (RFC 9113).

The library keeps frames, HPACK, stream states and windows; heads are read and checked by
`http2_fields`, bodies counted here, nuisance by `http2_budget`. The library's own checks of heads
and lengths are off: they cost a fifth of an exchange, and end connections for a stream's fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h2.events as h2_events
from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from h2.settings import SettingCodes
from hpack import NeverIndexedHeaderTuple
from hyperframe.frame import GoAwayFrame, PingFrame

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field
from proxy_core.model.words import counted
from proxy_core.wire.http2_budget import Http2Budget, OverBudget
from proxy_core.wire.http2_codes import ENHANCE_YOUR_CALM, NO_ERROR, PROTOCOL_ERROR, error_name
from proxy_core.wire.http2_connection import Connection
from proxy_core.wire.http2_fields import read_request, read_response, read_trailers
from proxy_core.wire.http2_folded import Folded, fold, unfold
from proxy_core.wire.http2_listener import Listener
from proxy_core.wire.http2_state import own_settings

_MAX_FRAME = 16384  # we ask for no larger ones
ROOM_FOR_STREAMS = 1024 * 1024
_DEFAULT_WINDOW = 65_535
_ALL_STREAMS = 2**31 - 1
_LEAVING = b"leaving."


class Http2Engine:
    """The state of one HTTP/2 connection. What it wants to send is fetched with `take`."""

    __slots__ = (
        "_broken",
        "_closed",
        "_h2",
        "_lent",
        "_listener",
        "_max_fields",
        "_max_target",
        "_methods",
        "_to_come",
        "_trailers",
        "_wide",
        "budget",
    )

    def __init__(
        self,
        client_side: bool,
        listener: Listener,
        *,
        stream_window: int = 256 * 1024,
        max_streams: int = 100,
        max_head: int = 65536,
        max_target: int = 32768,
        max_fields: int = 200,
        budget: Http2Budget | None = None,
        folded: Folded | None = None,
    ) -> None:
        """`folded` is the connection to go on with, where it has begun."""
        self.budget = budget or Http2Budget(2000, 400, lambda: 0.0)
        settings = own_settings(client_side, stream_window, max_streams, max_head)
        self._h2 = Connection(client_side, settings, self.budget, max_head)
        if folded is not None:
            unfold(folded, self._h2)
        self._max_fields = max_fields
        self._to_come: dict[int, int] = {}
        """Bytes of body that are still to come, of streams that have said how many."""
        self._broken: list[int] = []
        """Streams that we broke off, with events of theirs still to be told."""
        self._closed = False
        self._lent = 0 if folded is None else folded.lent
        """Bytes that the connection's window is wider than it should be."""
        self._wide = folded is not None and folded.wide
        """The peer may send `ROOM_FOR_STREAMS` bytes more on all streams."""
        self._listener = listener
        self._max_target = max_target
        self._methods: dict[int, bytes] = {}
        self._trailers: dict[int, list[Field]] = {}

    def begin(self) -> None:
        """Send the preface and settings (RFC 9113, section 3.4)."""
        self._h2.initiate_connection()
        wider = self._h2.local_settings.initial_window_size - _DEFAULT_WINDOW
        if wider > 0:  # one stream is not held back by the connection
            self._h2.increment_flow_control_window(wider)

    def receive_data(self, data: bytes) -> bool:
        """Take bytes and tell the listener what they mean; return whether there is more of that.

        Where there is, ask again, with `b""`, when others have had their turn. Raises
        RemoteProtocolError where the connection cannot go on; `take` then has the GOAWAY.
        """
        frames = self._h2.frames
        try:
            events = self._h2.receive_data(data)
            if not frames.has_more and len(frames._data) > _MAX_FRAME + 9:
                # The library looks at a frame's length when all of it is there.
                self._h2.close_connection(ErrorCodes.FRAME_SIZE_ERROR)
                raise RemoteProtocolError("HTTP/2: a frame larger than was agreed")
            for event in events:
                handler = _HANDLERS.get(type(event))
                if handler is None:
                    continue
                if self._broken and getattr(event, "stream_id", 0) in self._broken:
                    if isinstance(event, h2_events.DataReceived):
                        credit = event.flow_controlled_length or 0
                        self.give_credit(event.stream_id or 0, credit, credit)
                    continue
                handler(self, event)
        except H2Error as error:
            self._closed = True
            raise RemoteProtocolError(f"HTTP/2: {error}") from error
        except OverBudget as error:
            self.close(ENHANCE_YOUR_CALM)
            raise RemoteProtocolError(f"HTTP/2: {error}") from error
        except (ValueError, KeyError, IndexError, AssertionError) as error:
            # What the library does not catch itself in malformed frames.
            self.close(PROTOCOL_ERROR)
            raise RemoteProtocolError(f"HTTP/2: malformed frame: {error!r}") from error
        except RemoteProtocolError:
            self._closed = True
            raise
        finally:
            frames.kind = -1
            self._broken.clear()
        return frames.has_more

    def take(self) -> bytes:
        """Take what is to be sent."""
        return self._h2.data_to_send()

    # --- what came

    def _on_request(self, event: h2_events.RequestReceived) -> None:
        stream_id = event.stream_id
        assert stream_id is not None
        fields, ended = event.headers or (), event.stream_ended is not None
        try:
            if len(fields) > self._max_fields:
                raise RemoteProtocolError(
                    f"a head of {len(fields)} fields; at most {self._max_fields} pass", 431
                )
            received = read_request(fields, ended, self._max_target)
            self._expect(stream_id, received.declared, ended)
        except RemoteProtocolError as error:
            if error.status == 400:
                self._malformed(stream_id, error)
            else:
                self._listener.on_refused(stream_id, ended, error)
            return
        self._listener.on_request(stream_id, received)

    def _on_response(self, event: h2_events.ResponseReceived) -> None:
        stream_id = event.stream_id
        assert stream_id is not None
        method = self._methods.get(stream_id)
        if method is None:
            return
        fields, ended = event.headers or (), getattr(event, "stream_ended", None) is not None
        try:
            if len(fields) > self._max_fields:
                raise RemoteProtocolError(
                    f"a head of {len(fields)} fields; at most {self._max_fields} pass"
                )
            received = read_response(fields, ended, method)
            if not received.informational:
                self._expect(stream_id, received.declared, ended)
        except RemoteProtocolError as error:
            self._malformed(stream_id, error)
            return
        self._listener.on_response(stream_id, received)

    def _expect(self, stream_id: int, declared: int | None, ended: bool) -> None:
        """Note how long a body is said to be (RFC 9113, section 8.1.1)."""
        if declared is None:
            return
        if not ended:
            self._to_come[stream_id] = declared
        elif declared:
            raise RemoteProtocolError(f"content-length {declared}, and no body")

    def _on_data(self, event: h2_events.DataReceived) -> None:
        stream_id = event.stream_id
        assert stream_id is not None
        data = event.data or b""
        credit = event.flow_controlled_length or 0
        to_come = self._to_come.get(stream_id)
        if to_come is not None:
            to_come -= len(data)
            if to_come < 0:
                self.give_credit(stream_id, credit, credit)
                beyond = counted(-to_come, "byte")
                self._malformed(
                    stream_id,
                    RemoteProtocolError(f"{beyond} of body beyond its content-length"),
                )
                return
            self._to_come[stream_id] = to_come
        self._listener.on_data(stream_id, data, credit)

    def _on_trailers(self, event: h2_events.TrailersReceived) -> None:
        stream_id = event.stream_id
        assert stream_id is not None
        try:
            self._trailers[stream_id] = read_trailers(event.headers or ())
        except RemoteProtocolError as error:
            self._malformed(stream_id, error)

    def _on_end(self, event: h2_events.StreamEnded) -> None:
        stream_id = event.stream_id
        assert stream_id is not None
        trailers = self._trailers.pop(stream_id, None)
        missing = self._to_come.pop(stream_id, 0)
        if missing:
            short = counted(missing, "byte")
            self._malformed(
                stream_id,
                RemoteProtocolError(f"a body {short} shorter than its content-length"),
            )
            return
        self._listener.on_end(stream_id, trailers)

    def _on_reset(self, event: h2_events.StreamReset) -> None:
        assert event.stream_id is not None
        code = int(event.error_code or 0)
        self._trailers.pop(event.stream_id, None)
        self._to_come.pop(event.stream_id, None)
        self._listener.on_reset(event.stream_id, code, f"reset with {error_name(code)}")

    def _on_window(self, event: h2_events.WindowUpdated) -> None:
        self._listener.on_window(event.stream_id or 0)

    def _on_settings(self, event: h2_events.RemoteSettingsChanged) -> None:
        if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
            self._listener.on_window(0)

    def _on_goaway(self, event: h2_events.ConnectionTerminated) -> None:
        self._listener.on_goaway(event.last_stream_id or 0, int(event.error_code or 0))

    def _on_ping_ack(self, event: h2_events.PingAckReceived) -> None:
        if event.ping_data == _LEAVING:
            self._listener.on_leave_seen()

    def _malformed(self, stream_id: int, error: RemoteProtocolError) -> None:
        """A malformed message is a stream error (RFC 9113, section 8.1.1)."""
        self._trailers.pop(stream_id, None)
        self._broken.append(stream_id)
        self.reset(stream_id, PROTOCOL_ERROR)
        self._listener.on_malformed(stream_id, error)
        self.budget.our_reset()

    # --- what goes

    def next_stream_id(self) -> int:
        """Return the id of a stream that a client side may open now."""
        return self._h2.get_next_available_stream_id()

    @property
    def peer_max_streams(self) -> int:
        """How many streams the peer lets us have open."""
        return self._h2.remote_settings.max_concurrent_streams

    def send_request(self, stream_id: int, method: bytes, fields: list[Field], end: bool) -> None:
        """Send a request's fields."""
        self._methods[stream_id] = method
        self.send_fields(stream_id, fields, end)

    def send_fields(self, stream_id: int, fields: list[Field], end: bool) -> None:
        """Send a response's fields, or trailers; secrets stay out of compression contexts.

        Nothing is sent any more after `close`, here as in `send_data`.
        """
        if self._closed:
            return
        self._h2.send_headers(
            stream_id,
            [
                NeverIndexedHeaderTuple(*field) if field[0] == b"authorization" else field
                for field in fields
            ],
            end,
        )

    def room(self, stream_id: int) -> int:
        """Return how many bytes of body may be sent on a stream now; 0 where it is gone."""
        try:
            return self._h2.local_flow_control_window(stream_id)
        except H2Error:
            return 0

    def granted(self, stream_id: int) -> int:
        """Return how many bytes the peer lets a stream alone send now."""
        stream = self._h2.streams.get(stream_id)
        return 0 if stream is None else stream.outbound_flow_control_window

    @property
    def takes_extended_connect(self) -> bool:
        """Whether the peer offers RFC 8441."""
        return self._h2.remote_settings.enable_connect_protocol == 1

    def to_come(self, stream_id: int) -> int | None:
        """Return how much is still to come of a body that has said how long it is."""
        return self._to_come.get(stream_id)

    @property
    def mid_frame(self) -> bool:
        """Whether something has begun to come, a frame or a header block, and not ended."""
        return self._h2.frames.mid_frame

    @property
    def mid_head(self) -> bool:
        """Whether a header block has begun and not ended."""
        return self._h2.frames.mid_head

    @property
    def max_frame(self) -> int:
        """How many bytes one frame may carry."""
        return self._h2.max_outbound_frame_size

    def send_data(self, stream_id: int, data: bytes, end: bool) -> None:
        """Send a piece of body of at most `room` and `max_frame` bytes."""
        if not self._closed:
            self._h2.send_data(stream_id, data, end)

    def give_credit(self, stream_id: int, size: int, of_all: int) -> None:
        """Let the peer send `size` bytes more on a stream, `of_all` on all of them together."""
        paid = min(of_all, self._lent)
        self._lent -= paid
        try:
            if of_all and not self._wide:
                # Only now: most connections never carry a body this way, and where memory is tight
                # none is to be begun that many hold still in.
                self._wide = True
                self._h2.increment_flow_control_window(ROOM_FOR_STREAMS)
            self._h2.acknowledge_of_all(of_all - paid)
            self._h2.acknowledge_of_one(size, stream_id)
        except H2Error:
            return  # the connection is over

    def widen(self, stream_id: int, size: int) -> None:
        """Let the peer send so many bytes on a stream at once, whatever it has used.

        The connection's window has to be as wide, and is given no credit until that is used up.
        """
        try:
            self._h2.increment_flow_control_window(size, stream_id)
            if size > self._lent:
                self._h2.increment_flow_control_window(size - self._lent)
                self._lent = size
        except (H2Error, KeyError, ValueError):
            return  # the stream is gone, or may send as much as can be said

    def reset(self, stream_id: int, code: int) -> None:
        """Break a stream off; harmless where it is over."""
        self._methods.pop(stream_id, None)
        self._to_come.pop(stream_id, None)
        try:
            self._h2.reset_stream(stream_id, code)
        except H2Error:
            return

    def forget(self, stream_id: int) -> None:
        """Drop what is kept for a stream that is over."""
        self._h2.forget(stream_id)
        self._methods.pop(stream_id, None)
        self._to_come.pop(stream_id, None)

    def rest(self) -> None:
        """Give up what a connection does not need while there is no stream on it."""
        self._h2.rest()
        for of_streams in (self._methods, self._to_come, self._trailers):
            of_streams.clear()  # empty already, but for the room that there was

    def fold(self) -> Folded | None:
        """Return what another engine needs to go on with an idle connection.

        None while there is more to it: streams, a part of a frame or of a head, nuisance that was
        not forgiven yet.
        """
        if self._closed or not self.budget.empty:
            return None
        folded = fold(self._h2)
        return None if folded is None else folded._replace(lent=self._lent, wide=self._wide)

    def leave(self) -> None:
        """Say that we are about to go (RFC 9113, section 6.8); `on_leave_seen` follows."""
        ping = PingFrame(0)
        ping.opaque_data = _LEAVING
        self._h2.say([_goaway(_ALL_STREAMS), ping])

    def refuse_further(self) -> int:
        """Say, and return, which stream was the last that is served; those that came go on."""
        last: int = self._h2.highest_inbound_stream_id
        self._h2.say([_goaway(last)])
        return last

    def close(self, code: int = NO_ERROR) -> None:
        """Say goodbye (GOAWAY), once."""
        if self._closed:
            return
        self._closed = True
        try:
            self._h2.close_connection(code)
        except H2Error:
            return


_HANDLERS: dict[type, Callable[[Http2Engine, Any], None]] = {
    h2_events.RequestReceived: Http2Engine._on_request,
    h2_events.ResponseReceived: Http2Engine._on_response,
    h2_events.InformationalResponseReceived: Http2Engine._on_response,
    h2_events.DataReceived: Http2Engine._on_data,
    h2_events.StreamEnded: Http2Engine._on_end,
    h2_events.TrailersReceived: Http2Engine._on_trailers,
    h2_events.StreamReset: Http2Engine._on_reset,
    h2_events.WindowUpdated: Http2Engine._on_window,
    h2_events.RemoteSettingsChanged: Http2Engine._on_settings,
    h2_events.ConnectionTerminated: Http2Engine._on_goaway,
    h2_events.PingAckReceived: Http2Engine._on_ping_ack,
}


def _goaway(last_stream_id: int) -> GoAwayFrame:
    frame = GoAwayFrame(0)
    frame.last_stream_id = last_stream_id
    frame.error_code = NO_ERROR
    return frame
