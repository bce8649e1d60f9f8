"""The h2 library's connection, mended: what it checks too much, and what it does not count.

Every frame that comes passes `Frames`, where the budget sees it before anything is made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import h2.events as h2_events
from h2.connection import AllowedStreamIDs, H2Connection
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import (
    DenialOfServiceError,
    FrameTooLargeError,
    ProtocolError,
    StreamClosedError,
    StreamIDTooLowError,
    TooManyStreamsError,
)
from h2.frame_buffer import FrameBuffer
from h2.settings import Settings
from h2.stream import H2Stream, StreamClosedBy
from hpack.exceptions import HPACKError
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from proxy_core.wire.hpack_memo import MemoDecoder, MemoEncoder
from proxy_core.wire.http2_budget import (
    CONTINUATION,
    DATA,
    HEADERS,
    SETTINGS,
    Http2Budget,
    OverBudget,
)
from proxy_core.wire.http2_state import CONFIGURATIONS, ClosedStreams, PeerSettings

_SETTING_BYTES = 6
_ACK = 0x1
_AT_ONCE = 64
"""Frames read in one go: small ones come by the ten thousand, and others wait for their turn."""


class _OverBudget(ProtocolError):
    """Tells the library to say ENHANCE_YOUR_CALM."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


class _BadCompression(ProtocolError):
    """Tells the library to say COMPRESSION_ERROR (RFC 9113, section 4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class _Stream(H2Stream):
    """A stream whose content-length is somebody else's matter.

    The library ends the connection where a body is too long or too short; that is a stream's
    fault (RFC 9113, section 8.1.1).
    """

    def _initialize_content_length(self, headers: Any) -> None:
        pass

    def _track_content_length(self, length: int, end_stream: bool) -> None:
        pass


class Frames(FrameBuffer):
    """The frames that come, each counted."""

    def __init__(self, server: bool, budget: Http2Budget, max_block: int) -> None:
        super().__init__(server)
        self._budget = budget
        self._max_block = max_block
        self._block = 0
        self._greeted = False
        """The peer has sent its settings, which come before anything else."""
        self._may_read = 0
        self.kind = -1
        """The type of the frame at hand; -1 between frames."""
        self.has_more = False
        """Whether whole frames may have come that were not read yet."""

    @property
    def mid_frame(self) -> bool:
        """Whether a frame or a header block has begun and not ended."""
        return bool(self._data or self._headers_buffer)

    @property
    def mid_head(self) -> bool:
        """Whether a header block has begun and not ended, be it within a frame."""
        if self._headers_buffer:
            return True
        begun = self._data
        return bool(begun) and (len(begun) < 4 or begun[3] in (HEADERS, CONTINUATION))

    @property
    def unfinished(self) -> bool:
        """Whether something has begun to come and has not ended, the greeting at first."""
        return bool(self._data or self._headers_buffer) or not self._greeted

    def skip_greeting(self) -> None:
        """Take preface and settings for received."""
        self._greeted = True
        self._preamble, self._preamble_len = b"", 0

    def add_data(self, data: Any) -> None:
        """See `FrameBuffer.add_data`."""
        self._may_read = _AT_ONCE
        self.has_more = False
        super().add_data(data)

    def _validate_frame_length(self, length: int) -> None:
        # Called for every frame that is there whole, while its header is at hand; the library
        # checks neither of the two that concern SETTINGS.
        if not self._may_read:
            self.has_more = True
            raise StopIteration  # out of `__next__`, which has not taken the frame yet
        self._may_read -= 1
        if length > self.max_frame_size:
            raise FrameTooLargeError(f"a frame of {length} bytes, which is more than was agreed")
        kind = self._data[3]
        acknowledges = kind == SETTINGS and self._data[4] & _ACK
        if acknowledges and length:  # RFC 9113, section 6.5
            raise FrameTooLargeError("a SETTINGS frame that acknowledges, and says something")
        if not self._greeted:
            if kind != SETTINGS or acknowledges:  # RFC 9113, section 3.4
                raise ProtocolError("the first frame is not SETTINGS")
            self._greeted = True

    def _update_header_buffer(self, f: Frame | None) -> Frame | None:
        if f is None:
            return super()._update_header_buffer(f)
        kind = self.kind = cast(int, f.type)
        if kind == HEADERS:
            self._block = len(cast(HeadersFrame, f).data)
            return super()._update_header_buffer(f)
        size = 0
        if kind in (DATA, CONTINUATION):
            size = len(f.data)  # type: ignore[attr-defined]
        charge(self._budget.frame, kind, size, "END_STREAM" in f.flags)
        if kind == CONTINUATION:
            self._block += size
            if self._block > self._max_block:
                raise _OverBudget(f"a header block of more than {self._max_block} bytes")
        return super()._update_header_buffer(f)


class Connection(H2Connection):
    """One connection. Raises h2's errors, those of the budget among them."""

    def __init__(
        self, client_side: bool, settings: Settings, budget: Http2Budget, max_block: int
    ) -> None:
        """`settings` are ours; `max_block` is how many bytes a header block may have."""
        super().__init__(CONFIGURATIONS[client_side])
        self._budget = budget
        self.local_settings = settings
        self.remote_settings = self.peer_settings = PeerSettings(not client_side)
        self.memos = MemoDecoder(max_block), MemoEncoder()
        self.decoder, self.encoder = self.memos
        self.incoming_buffer = self.frames = Frames(not client_side, budget, max_block)
        self.closed = ClosedStreams()
        del self._frame_dispatch_table  # `_RECEIVERS` is the same for all

    @property
    def closed(self) -> ClosedStreams:
        """How streams ended."""
        return cast(ClosedStreams, self._closed_streams)

    @closed.setter
    def closed(self, streams: ClosedStreams) -> None:
        self._closed_streams = streams  # type: ignore[assignment]

    def say(self, frames: list[Frame]) -> None:
        """Send frames that the library does not send while a connection goes on."""
        self._prepare_for_sending(frames)

    def acknowledge_of_all(self, size: int) -> None:
        """Let the peer send so many bytes more on all streams; the library ties that to one."""
        increment = self._inbound_flow_control_window_manager.process_bytes(size)
        if increment:
            frame = WindowUpdateFrame(0)
            frame.window_increment = increment
            self._prepare_for_sending([frame])

    def acknowledge_of_one(self, size: int, stream_id: int) -> None:
        """Let the peer send so many bytes more on a stream; harmless where it is over."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.open:
            self._prepare_for_sending(stream.acknowledge_received_data(size))

    def forget(self, stream_id: int) -> None:
        """Keep no more of a stream that is over than how it ended."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.closed:
            del self.streams[stream_id]
            self.closed[stream_id] = stream.closed_by

    def rest(self) -> None:
        """Give up what only makes things quicker."""
        for memo in self.memos:
            memo.forget()
        self.closed.forget_ends()
        if not self.streams:
            self.streams.clear()  # the room that there was for them

    def _receive_frame(self, frame: Frame) -> list[Event]:
        # The library writes down every frame for a log that is not kept.
        try:
            frames, events = _RECEIVERS[type(frame)](self, frame)
        except StreamClosedError as error:
            if not self._stream_is_closed_by_reset(error.stream_id):
                raise
            frames, events = [_reset(error.stream_id, error.error_code)], error._events
        except StreamIDTooLowError as error:
            # A stream that was reset may have frames on their way (RFC 9113, section 5.1).
            if self._stream_is_closed_by_reset(error.stream_id):
                frames, events = [_reset(error.stream_id, ErrorCodes.STREAM_CLOSED)], []
            elif self._stream_is_closed_by_end(error.stream_id):
                raise StreamClosedError(error.stream_id) from error
            else:
                raise
        self._prepare_for_sending(frames)
        return events

    def _open_streams(self, remainder: int) -> int:
        # The library counts all streams each time one is opened. Those that are over are mostly
        # forgotten by then, and where all there are is not too many, the open ones are not.
        ours = remainder == int(self.config.client_side)
        settings = self.remote_settings if ours else self.local_settings
        there = len(self.streams)
        return (
            there if there < settings.max_concurrent_streams else super()._open_streams(remainder)
        )

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream.__class__ = _Stream
        return stream

    def _prepare_for_sending(self, frames: list[Frame]) -> None:
        super()._prepare_for_sending(frames)
        if frames and self.frames.kind != -1:
            for frame in frames:
                if isinstance(frame, RstStreamFrame):
                    charge(self._budget.our_reset)

    def _handle_data_on_closed_stream(
        self, events: list[Event], exc: StreamClosedError, frame: DataFrame
    ) -> tuple[list[Frame], list[Event]]:
        # Body that was under way when we reset its stream is nobody's fault, and was answered. Body
        # behind the end of a request is a fault: `exc` has events where it ends the stream.
        by_us = self._stream_closed_by(frame.stream_id) is StreamClosedBy.SEND_RST_STREAM
        under_way = by_us and not exc._events
        frames, events = super()._handle_data_on_closed_stream(events, exc, frame)
        if under_way:
            frames = [each for each in frames if not isinstance(each, RstStreamFrame)]
        return frames, events

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Any]]:
        if self.config.client_side and frame.stream_id % 2 == 0:
            # The library makes a request of it; we have said that nothing is to be pushed.
            raise ProtocolError(f"stream {frame.stream_id} is not an origin's to open")
        try:
            frames, events = super()._receive_headers_frame(frame)
        except TooManyStreamsError:
            return self._refuse(frame), []
        except DenialOfServiceError:
            raise
        except ProtocolError as error:
            if isinstance(error.__cause__, HPACKError):
                raise _BadCompression(str(error)) from error
            raise
        for event in events:
            fields = getattr(event, "headers", None)
            if fields:
                unpacked = sum([len(name) + len(value) for name, value in fields])
                charge(self._budget.fields, len(frame.data), unpacked)
                break
        return frames, events

    def _refuse(self, frame: HeadersFrame) -> list[Frame]:
        """Refuse one stream too many; the client may not have seen yet how many there may be."""
        number = frame.stream_id
        if number <= self.highest_inbound_stream_id or number % 2 == int(self.config.client_side):
            raise ProtocolError(f"stream {number} may not be opened")
        try:
            list(self.decoder.decode(frame.data, raw=True))  # or the next one reads wrong
        except HPACKError as error:
            raise _BadCompression(str(error)) from error
        self.highest_inbound_stream_id = number
        self.closed[number] = StreamClosedBy.SEND_RST_STREAM
        return [_reset(number, ErrorCodes.REFUSED_STREAM)]

    def _receive_settings_frame(self, frame: SettingsFrame) -> tuple[list[Frame], list[Any]]:
        if frame.body_len > _SETTING_BYTES * len(frame.settings):
            # The library keeps the last of equal ones. A table that was to be smaller in between
            # has to be said to have been (RFC 7541, section 4.2).
            size = frame.settings.get(
                SettingsFrame.HEADER_TABLE_SIZE, self.encoder.header_table_size
            )
            self.encoder.header_table_size = 0
            self.encoder.header_table_size = size
        frames, events = super()._receive_settings_frame(frame)
        return frames, events

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Any]]:
        # The library takes GOAWAY for the end of everything. Streams that the peer has accepted
        # go on (RFC 9113, section 6.8).
        event = h2_events.ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


_RECEIVERS: dict[type[Frame], Callable[[Connection, Any], tuple[list[Frame], list[Any]]]] = {
    kind: getattr(Connection, receive.__name__)
    for kind, receive in H2Connection()._frame_dispatch_table.items()
}


def _reset(stream_id: int, code: ErrorCodes) -> RstStreamFrame:
    frame = RstStreamFrame(stream_id)
    frame.error_code = code
    return frame


def charge(pour: Callable[..., None], *arguments: object) -> None:
    """Pour into the budget from inside the library."""
    try:
        pour(*arguments)
    except OverBudget as error:
        raise _OverBudget(str(error)) from error
