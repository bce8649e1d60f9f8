"""One direction of a WebSocket: what one side sends, on its way to the other.

A message that nobody asked to see goes on piece by piece, in the bytes it came in, and is read on
the side. One that a hook wants to see is kept back until it is whole. Where compression remembers
earlier messages, one that was changed or dropped leaves the receiver with another memory than the
sender has: from then on compressed messages are compressed anew.
"""

from __future__ import annotations

import asyncio
import enum
import os
import time

from proxy_core.config import Limits
from proxy_core.errors import ConnectionLost, ConnectionTimeout, TlsError, WebSocketError
from proxy_core.exchange.hooks import Hooks
from proxy_core.exchange.long_text import is_text
from proxy_core.exchange.ports import ByteStream
from proxy_core.exchange.websocket_watcher import Watcher
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import Block, Hold
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.wire.websocket import (
    CLOSE,
    CONTINUATION,
    FRAME_PIECE,
    TEXT,
    MessageReader,
    Piece,
    encode_close,
    encode_frame,
    frame_pieces,
    parse_close,
)
from proxy_core.wire.websocket_deflate import Compression, Deflater, Inflater

_TURN = 1024 * 1024
"""Bytes decompressed before others on the loop have their turn."""
_FRAME = 64 * 1024
"""What an edited message is sent in: to compress so much takes some 2 ms."""
_PIECE = 4096
"""What any piece counts among them: tiny messages come by the ten thousand."""


class _Killed(Exception):
    """The user ended the flow while a message was held."""


class _Way(enum.Enum):
    """How the message under way goes on."""

    AS_IT_COMES = 1
    HELD = 2
    ANEW = 3


class Direction:
    """Carries one side's messages; `carry` runs until that side has ended."""

    def __init__(
        self,
        flow: Flow,
        from_client: bool,
        source: ByteStream,
        sink: ByteStream,
        compression: Compression | None,
        hooks: Hooks,
        limits: Limits,
        patience: float,
        watcher: Watcher,
    ) -> None:
        """Compress as agreed on for this direction; let the receiver not read for `patience` s."""
        self.from_client = from_client
        self.has_closed = False
        """Whether a close frame has gone to the receiver: then nothing else may."""
        self._flow = flow
        self._source = source
        self._sink = sink
        self._sink_ended = False
        self._hooks = hooks
        self._limits = limits
        self._patience = patience
        self._watcher = watcher
        self._compression = compression
        inflater = None if compression is None else Inflater(compression)
        self._reader = MessageReader(from_client, limits.websocket_message, inflater)
        self._body = flow.request_body if from_client else flow.response_body
        self._deflater: Deflater | None = None
        self._anew = False  # whether the receiver's window differs from the sender's
        self._out: list[bytes] = []
        self._in_frame = False  # whether the receiver has got a part of a frame
        self._injected: list[bytes] = []
        # The message under way.
        self._message: WebSocketMessage | None = None
        self._way = _Way.AS_IT_COMES
        self._kept: list[bytes] = []
        self._room = 0
        self._wire: list[bytes] = []
        self._wire_size = 0

    @property
    def who(self) -> str:
        """The side that sends."""
        return "client" if self.from_client else "server"

    async def carry(self) -> None:
        """Carry everything until the sender's end; failures go to the watcher."""
        watcher, sink, reader, body = self._watcher, self._sink, self._reader, self._body
        now = asyncio.get_running_loop().time
        try:
            while data := await self._source.receive():
                watcher.moved = now()
                if watcher.over:
                    continue
                body.size += len(data)
                reader.receive_data(data)
                try:
                    await self._pass_on()
                except WebSocketError as error:
                    watcher.broken(self, error)
                if sink.write_blocked and not watcher.over:
                    async with asyncio.timeout(self._patience):
                        await sink.drain()
        except (ConnectionLost, ConnectionTimeout, TlsError) as error:
            watcher.failed(self, f"from the {self.who}: {error}")
        except _Killed:
            watcher.killed()
        except TimeoutError:
            whom = "server" if self.from_client else "client"
            watcher.failed(self, f"the {whom} did not read for {self._patience:g} s")
        else:
            self.end()
            watcher.ended(self)
        finally:
            self._cut()

    async def _pass_on(self) -> None:
        """Send on what has been received. Raises WebSocketError, behind all that was right."""
        next_piece, out = self._reader.next_piece, self._out
        hooks, limit = self._hooks, self._limits.captured_body
        work = 0
        try:
            while (piece := next_piece()) is not None:
                if piece.opcode >= CLOSE:
                    self._control(piece)
                elif (
                    piece.first and piece.last and hooks.websocket_message is None
                ) and not self._anew:
                    # What nearly every message is, with nothing to remember between pieces.
                    out.append(piece.wire)
                    self._record(
                        WebSocketMessage(
                            self.from_client,
                            piece.opcode,
                            time.time(),
                            piece.payload[:limit],
                            piece.size,
                            piece.compressed,
                        )
                    )
                else:
                    await self._part(piece)
                work += _PIECE + (piece.size if piece.compressed else 0)
                if work > _TURN:
                    work = 0
                    self._flush()
                    await asyncio.sleep(0)
        finally:
            self._flush()

    def _flush(self) -> None:
        out = self._out
        if out:
            if not self._sink_ended:
                self._sink.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    def _record(self, message: WebSocketMessage) -> None:
        self._watcher.record(message)
        if self._injected:
            self._send_injected()

    def _control(self, piece: Piece) -> None:
        if piece.opcode == CLOSE:
            self._cut()
        self._out.append(piece.wire)
        self._watcher.record(
            WebSocketMessage(self.from_client, piece.opcode, time.time(), piece.payload, piece.size)
        )
        if piece.opcode == CLOSE:
            self.has_closed = True
            self._watcher.closed(self, *parse_close(piece.payload))

    # --- a message in parts

    async def _part(self, piece: Piece) -> None:
        message = self._message
        if message is None:
            message = self._begin(piece)
        message.size += piece.size
        if piece.payload and self._room > 0:
            self._kept.append(piece.payload)
            self._room -= len(piece.payload)
        if self._way is _Way.HELD:
            self._wire.append(piece.wire)
            self._wire_size += len(piece.wire)
            if max(message.size, self._wire_size) > self._limits.websocket_held:
                self._let_go(message)
        elif self._way is _Way.AS_IT_COMES:
            self._out.append(piece.wire)
            self._in_frame = not piece.ends_frame
        else:
            self._send_anew(message, piece.payload, piece.first, piece.last)
        self._reader.wanted = self._room > 0 or piece.last
        if piece.last:
            if self._way is _Way.HELD:
                await self._ask(message)
            else:
                message.payload = b"".join(self._kept)
            self._finish(message)

    def _begin(self, piece: Piece) -> WebSocketMessage:
        message = self._message = WebSocketMessage(
            self.from_client, piece.opcode, time.time(), compressed=piece.compressed
        )
        self._room = self._limits.captured_body
        self._way = _Way.ANEW if self._anew and piece.compressed else _Way.AS_IT_COMES
        if self._hooks.websocket_message is not None:
            self._way = _Way.HELD
            self._room = self._limits.websocket_held
        return message

    def _finish(self, message: WebSocketMessage) -> None:
        self._message = None
        self._kept.clear()
        self._wire.clear()
        self._wire_size = 0
        message.payload = message.payload[: self._limits.captured_body]
        self._record(message)

    def _cut(self) -> None:
        """Record a message that will not be completed; what was held of it is of no use."""
        message = self._message
        if message is not None:
            message.cut = True
            message.payload = b"".join(self._kept)
            self._injected.clear()  # no room for them inside a message
            self._finish(message)

    def _let_go(self, message: WebSocketMessage) -> None:
        """Stop keeping a message back that is too large for it."""
        self._note(
            f"messages of more than {self._limits.websocket_held} bytes went on unseen by plugins"
        )
        if self._anew and message.compressed:
            self._way = _Way.ANEW
            self._send_anew(message, b"".join(self._kept), True, not self._reader.in_message)
        else:
            self._way = _Way.AS_IT_COMES
            self._out += self._wire
            self._in_frame = self._reader.in_frame
        self._wire.clear()
        self._room = self._limits.captured_body - sum(map(len, self._kept))

    def _send_anew(
        self, message: WebSocketMessage, payload: bytes, first: bool, last: bool
    ) -> None:
        """Send a part of a compressed message in a frame of our own."""
        packed, compressed = payload, False
        if self._compression is not None and Deflater.can_compress(self._compression):
            if self._deflater is None:
                self._deflater = Deflater(self._compression)
            packed, compressed = self._deflater.feed(payload, last), first
        if packed or first or last:
            opcode = message.opcode if first else CONTINUATION
            self._out.append(
                encode_frame(
                    opcode, packed, fin=last, compressed=compressed, mask=self._fresh_mask()
                )
            )

    # --- asking a hook

    async def _ask(self, message: WebSocketMessage) -> None:
        """Show a whole message to the hook and do what it says."""
        whole = message.payload = b"".join(self._kept)
        hook = self._hooks.websocket_message
        if hook is not None:
            self._flush()
            verdict = await hook(self._flow, message)
            if isinstance(verdict, Block):
                message.dropped = True
                message.payload = whole
                message.by = (verdict.by,)
                self._note(f"messages dropped by {verdict.by}")
                self._changed(message)
                return
            if isinstance(verdict, Hold) and not await self._watcher.may_pass(message, verdict.by):
                message.dropped = True
                message.by = ("the user",)
                raise _Killed
        if message.payload != whole and await self._may_send(message):
            message.edited = True
            message.size = len(message.payload)
            self._changed(message)
        else:
            message.payload = whole
            message.by = ()
            if not (self._anew and message.compressed):
                self._out += self._wire
                return
        await self._send_edited(message)

    async def _send_edited(self, message: WebSocketMessage) -> None:
        """Send what became of a message, a long one in several frames: to mask them takes long."""
        self._way = _Way.ANEW  # what is injected waits for the last of them
        payload = message.payload
        for at in range(0, len(payload) or 1, _FRAME):
            if at:
                self._flush()
                await asyncio.sleep(0)
            part, first, last = payload[at : at + _FRAME], not at, at + _FRAME >= len(payload)
            if message.compressed:
                self._send_anew(message, part, first, last)
            else:
                opcode = message.opcode if first else CONTINUATION
                self._out.append(encode_frame(opcode, part, fin=last, mask=self._fresh_mask()))

    def _changed(self, message: WebSocketMessage) -> None:
        new = [name for name in message.by if name not in self._flow.edited_by]
        if new:
            self._flow.edited_by = (*self._flow.edited_by, *new)
        if message.compressed and self._compression is not None:
            self._anew = self._compression.takes_over

    async def _may_send(self, message: WebSocketMessage) -> bool:
        if message.opcode == TEXT and not await is_text(message.payload):
            self._note("an edit that made text something else than UTF-8 was not sent")
            return False
        return True

    # --- messages of our own

    async def inject(self, opcode: int, payload: bytes) -> bool:
        """Send a text or binary message as if the sender had; return whether it could be.

        It goes behind the message under way. It cannot be sent where the direction is closed, or
        the receiver takes nothing at the moment.
        """
        if not self._has_room(len(payload)):
            return False
        if opcode == TEXT and not await is_text(payload):
            return False
        frame = []
        for piece in frame_pieces(opcode, payload, self._fresh_mask()):
            frame.append(piece)
            if len(piece) == FRAME_PIECE:
                await asyncio.sleep(0)
        if not self._has_room(len(payload)):
            return False
        self._injected += frame
        if self._message is None or self._way is _Way.HELD:
            self._send_injected()
        kept = payload[: self._limits.captured_body]
        self._watcher.record(
            WebSocketMessage(
                self.from_client, opcode, time.time(), kept, len(payload), injected=True
            )
        )
        return True

    def _has_room(self, size: int) -> bool:
        """Whether a message of our own can be sent."""
        closed = self.has_closed or self._sink_ended or self._watcher.over
        if closed or self._sink.write_blocked:
            return False
        return sum(map(len, self._injected)) + size <= self._limits.websocket_held

    def _send_injected(self) -> None:
        """Send what waits behind all that has been let go, in the pieces it is made of."""
        self._flush()
        pieces, self._injected = self._injected, []
        if not self._sink_ended:
            for piece in pieces:
                self._sink.write(piece)

    def close(self, code: int, reason: str) -> None:
        """Tell the receiver that it is over, where it can still be told, and end the direction."""
        if not (self.has_closed or self._sink_ended or self._in_frame):
            payload = encode_close(code, reason)
            self._out.append(encode_frame(CLOSE, payload, mask=self._fresh_mask()))
            self._flush()
            self.has_closed = True
            self._watcher.record(
                WebSocketMessage(
                    self.from_client, CLOSE, time.time(), payload, len(payload), injected=True
                )
            )
        self.end()

    def end(self) -> None:
        """Send nothing more; the receiver is told of the end."""
        if not self._sink_ended:
            self._flush()
            self._sink_ended = True
            self._sink.write_eof()

    def _fresh_mask(self) -> bytes | None:
        return os.urandom(4) if self.from_client else None

    def _note(self, note: str) -> None:
        if note not in self._flow.notes:
            self._flow.notes = (*self._flow.notes, note)
