"""WebSockets: two byte streams joined message by message (RFC 6455), each side judged by itself.

Whoever breaks the protocol is told so with a close frame; the other side is told that its peer has
gone, or, where it has got half a frame, sees the connection end. What a side does within the
protocol goes on as it came, pings and the closing handshake included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from proxy_core.config import Limits
from proxy_core.errors import RemoteProtocolError, WebSocketError
from proxy_core.exchange.held import KILLED, Decision, not_held
from proxy_core.exchange.hooks import Hooks
from proxy_core.exchange.news import News
from proxy_core.exchange.ports import ByteStream
from proxy_core.exchange.tunnel import TunnelTimes
from proxy_core.exchange.websocket_direction import Direction
from proxy_core.model.flow import Flow
from proxy_core.model.ids import FlowId
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.websocket import WebSocketEnd, WebSocketLog, WebSocketMessage
from proxy_core.wire.websocket import BINARY, TEXT
from proxy_core.wire.websocket_deflate import Deflate, agreed

HoldFlow = Callable[[Flow], Awaitable[Decision]]
"""What waits for the user's word on a flow, and returns it."""

_GOING_AWAY = 1001
_ABNORMAL = 1006  # stands for no close frame; never sent (RFC 6455, section 7.4.1)


def compression_of(request: RequestHead, response: ResponseHead) -> Deflate | None:
    """Return what the handshake agreed on about compression, or None for none.

    Raises RemoteProtocolError where the messages cannot be read: another version, an extension
    that is not known.
    """
    version = request.headers.get(b"sec-websocket-version")
    if version not in (None, b"13"):
        raise RemoteProtocolError(f"WebSocket version {version!r} is not known")
    return agreed(response.headers.get_all(b"sec-websocket-extensions"))


class WebSockets:
    """The WebSockets that are open. For the core's loop only."""

    def __init__(
        self,
        hooks: Hooks,
        limits: Limits,
        times: TunnelTimes | None = None,
        *,
        farewell: float = 5.0,
        news_interval: float = 0.25,
    ) -> None:
        """Give the sides `farewell` seconds to end once it is over; both arguments in seconds."""
        self._hooks = hooks
        self._limits = limits
        self._times = times or TunnelTimes()
        self._farewell = farewell
        self._news_interval = news_interval
        self._open: dict[FlowId, _Session] = {}

    async def carry(
        self,
        flow: Flow,
        client: ByteStream,
        server: ByteStream,
        deflate: Deflate | None,
        on_news: Callable[[Flow], None],
        hold: HoldFlow | None = None,
    ) -> None:
        """Carry messages both ways until both sides have ended; what goes wrong is on the flow.

        `hold` is asked where a hook wants a message held; without it the message goes on. Both
        connections are closed afterwards, also where this is cancelled.
        """
        flow.web_socket = WebSocketLog(self._limits.websocket_captured)
        news = News(flow, on_news, self._news_interval)
        session = _Session(
            flow,
            client,
            server,
            deflate,
            self._hooks,
            self._limits,
            self._times,
            news,
            self._farewell,
            hold,
        )
        self._open[flow.id] = session
        try:
            await session.run()
        finally:
            news.cancel()
            del self._open[flow.id]

    def is_open(self, flow_id: FlowId) -> bool:
        """Whether a flow is a WebSocket that messages can be sent into."""
        session = self._open.get(flow_id)
        return session is not None and not session.over

    async def inject(self, flow_id: FlowId, from_client: bool, opcode: int, payload: bytes) -> bool:
        """Send a text (1) or binary (2) message as if that side had; return whether it could be.

        It is not shown to the hook. It cannot be sent where the WebSocket is not open, a text is
        not UTF-8, or the receiver does not keep up.
        """
        session = self._open.get(flow_id)
        if session is None or session.over or opcode not in (TEXT, BINARY):
            return False
        direction = session.to_server if from_client else session.to_client
        return await direction.inject(opcode, payload)


class _Session:
    """One WebSocket; the two directions' watcher."""

    def __init__(
        self,
        flow: Flow,
        client: ByteStream,
        server: ByteStream,
        deflate: Deflate | None,
        hooks: Hooks,
        limits: Limits,
        times: TunnelTimes,
        news: News,
        farewell: float,
        hold: HoldFlow | None,
    ) -> None:
        assert flow.web_socket is not None
        self.over = False
        self.moved = asyncio.get_running_loop().time()
        self._idle = times.idle
        self._halves: list[asyncio.Task[None]] = []
        self._flow = flow
        self._log = flow.web_socket
        self._news = news
        self._farewell = farewell
        self._hold = hold
        self._turn = asyncio.Lock()  # a flow has one message at a time that waits for the user
        self._broken_off = False
        self._sides = (client, server)
        self._time = asyncio.timeout(None)
        self.to_server = Direction(
            flow,
            True,
            client,
            server,
            None if deflate is None else deflate.from_client,
            hooks,
            limits,
            times.blocked,
            self,
        )
        self.to_client = Direction(
            flow,
            False,
            server,
            client,
            None if deflate is None else deflate.from_server,
            hooks,
            limits,
            times.blocked,
            self,
        )

    async def run(self) -> None:
        done = False
        try:
            async with self._time, asyncio.TaskGroup() as group:
                self._halves += [
                    group.create_task(self.to_server.carry()),
                    group.create_task(self.to_client.carry()),
                ]
                watcher = group.create_task(self._watch())
                await asyncio.wait(self._halves)
                watcher.cancel()
            done = not self._broken_off
        except TimeoutError:
            done = True  # a side that does not end though all is said
        finally:
            self.over = True
            for side in self._sides:
                if done:
                    side.close()
                else:
                    side.abort()

    async def _watch(self) -> None:
        now = asyncio.get_running_loop().time
        while (left := self.moved + self._idle - now()) > 0:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(left)
        self._break_off(f"nothing came through the WebSocket for {self._idle:g} s")

    def _break_off(self, reason: str) -> None:
        self.over = self._broken_off = True
        self._flow.error = self._flow.error or reason
        for half in self._halves:
            half.cancel()

    # --- what the directions tell

    def record(self, message: WebSocketMessage) -> None:
        """See `Watcher.record`."""
        self._log.add(message)
        self._news.note()

    async def may_pass(self, message: WebSocketMessage, by: str) -> bool:
        """See `Watcher.may_pass`."""
        if self._hold is None:
            self._note(not_held(by))
            return True
        async with self._turn:
            self._note(f"held by {by}")
            self._log.held = message
            try:
                decision = await self._hold(self._flow)
            finally:
                self._log.held = None
                self.moved = asyncio.get_running_loop().time()
        return decision is Decision.RESUME

    def _note(self, note: str) -> None:
        if note not in self._flow.notes:
            self._flow.notes = (*self._flow.notes, note)

    def killed(self) -> None:
        """See `Watcher.killed`."""
        self._end("proxy", _ABNORMAL, "")
        self._break_off(KILLED)

    def closed(self, direction: Direction, code: int, reason: str) -> None:
        """See `Watcher.closed`: the first one says why; after the second, time is short."""
        self._end(direction.who, code, reason)
        if self._other(direction).has_closed:
            self._hurry()

    def broken(self, direction: Direction, error: WebSocketError) -> None:
        """See `Watcher.broken` (RFC 6455, section 7.1.7)."""
        self.over = True
        self._flow.error = f"the {direction.who} broke the WebSocket protocol: {error}"
        self._end("proxy", error.code, str(error))
        self._other(direction).close(error.code, str(error))
        direction.close(_GOING_AWAY, f"the {direction.who} broke the protocol")
        self._hurry()

    def ended(self, direction: Direction) -> None:
        """See `Watcher.ended`."""
        if not self.over:
            self._end(direction.who, _ABNORMAL, "")

    def failed(self, direction: Direction, reason: str) -> None:
        """See `Watcher.failed`: behind the closing handshake it does not matter."""
        self.ended(direction)
        if not (self.to_server.has_closed and self.to_client.has_closed):
            self._break_off(reason)

    def _end(self, by: str, code: int, reason: str) -> None:
        if self._log.end is None:
            self._log.end = WebSocketEnd(by, code, reason)
            self._news.note()

    def _other(self, direction: Direction) -> Direction:
        return self.to_client if direction is self.to_server else self.to_server

    def _hurry(self) -> None:
        if not self._time.expired():
            self._time.reschedule(asyncio.get_running_loop().time() + self._farewell)
