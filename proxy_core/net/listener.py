"""The listening sockets, and the tasks that serve what they accept.

A connection on which nothing happens has no task: it rests, and anything that happens to it, a
deadline too, gives it one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from proxy_core.config import RegularMode, ReverseMode, UpstreamMode
from proxy_core.model.counters import Counters
from proxy_core.net.bound import bind
from proxy_core.net.channel import Channel
from proxy_core.net.client import ClientSession
from proxy_core.net.client_parts import ClientParts
from proxy_core.net.client_way import Way
from proxy_core.net.guard import ClientGuard
from proxy_core.net.last_words import closing_answer

_BACKLOG = 1024
_BATCH = 64  # clients that asyncio accepts before it looks at what else there is
_LOOK_EVERY = 0.02
_GRACE = 2.0  # seconds for exchanges under way when the listener stops


class Listener:
    """Accepts clients at one address and owns their tasks."""

    def __init__(
        self,
        parts: ClientParts,
        counters: Counters,
        on_fault: Callable[[BaseException], None],
        guard: ClientGuard,
        on_refused: Callable[[str], None],
    ) -> None:
        """`on_refused` is told why a client is turned away."""
        self._guard = guard
        self._on_refused = on_refused
        self._parts = parts
        self._counters = counters
        self._on_fault = on_fault
        self._servers: list[asyncio.Server] = []
        self._way = Way(parts)
        self._tasks: dict[asyncio.Task[None], ClientSession] = {}
        self._resting: dict[Channel, ClientSession] = {}
        self._wake_up = self._wake  # one object for all that rest
        self.refused = 0
        """Connections turned away because there were too many."""

    @property
    def resting(self) -> int:
        """How many connections have no task, as nothing happens on them."""
        return len(self._resting)

    async def start(self, host: str, port: int) -> str:
        """Listen; return `host:port` with the real port. Raises ListenError."""
        loop = asyncio.get_running_loop()
        batch = min(_BATCH, self._parts.descriptors.batch)
        bound = await bind(host, port, "--listen", self._parts.own)
        for sock in bound.sockets:
            # In two steps: sockets of a server that is cancelled in the one would be nobody's.
            server = await loop.create_server(
                self._accept, sock=sock, backlog=batch, start_serving=False
            )
            self._servers.append(server)
            await server.start_serving()
            _lengthen_queue(sock.fileno())
        return bound.address

    def _accept(self) -> Channel:
        parts = self._parts
        channel = Channel(asyncio.get_running_loop(), parts.clock, parts.buffers)
        channel.on_made = self._made
        return channel

    def _made(self, channel: Channel) -> None:
        stranger = self._guard.refusal(channel.peer_address()[0])
        refusal = stranger or self._no_room(channel)
        if refusal is not None:
            self.refused += 1
            self._on_refused(refusal)
            if stranger is None and self._speaks_http:
                channel.write(closing_answer(503, refusal))
                channel.close()
            else:
                channel.abort()
            return
        channel.on_made = None
        self._counters.client_connections += 1
        self._serve(ClientSession(self._parts, self._way, channel))

    def _serve(self, session: ClientSession) -> None:
        task = asyncio.get_running_loop().create_task(session.run())
        self._tasks[task] = session
        task.add_done_callback(self._done)
        session.channel.on_lost = task.cancel  # nobody is there to be served any more

    def _let_rest(self, session: ClientSession) -> None:
        channel = session.channel
        channel.on_lost = None
        channel.on_activity = self._wake_up
        self._resting[channel] = session
        if channel.has_unread or channel.ended:
            self._wake(channel)  # it came while the task ended

    def _wake(self, channel: Channel) -> None:
        session = self._resting.pop(channel)
        channel.on_activity = None
        if channel.closed:
            session.note_end()
            self._counters.client_connections -= 1
        else:
            self._serve(session)

    @property
    def _speaks_http(self) -> bool:
        mode = self._parts.mode
        if isinstance(mode, ReverseMode):
            return mode.scheme in ("http", "https")
        return isinstance(mode, RegularMode | UpstreamMode)

    def _no_room(self, channel: Channel) -> str | None:
        """Return why there is no room for one more client, or None."""
        parts = self._parts
        allowed = parts.limits.connections
        if self._counters.client_connections >= allowed:
            return f"{allowed} are connected already; raise [limits] connections"
        sock = channel.socket
        if sock is None or parts.descriptors.admit_client(sock.fileno()):
            return None
        parts.make_room()  # for the next one
        return parts.descriptors.refusal

    def _done(self, task: asyncio.Task[None]) -> None:
        session = self._tasks.pop(task)
        channel = session.channel
        if session.rests:
            if self._servers:
                self._let_rest(session)
                return
            session.note_end()
        self._counters.client_connections -= 1
        channel.on_lost = None
        channel.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_fault(error)

    async def stop(self) -> None:
        """Accept no more, let exchanges under way finish for a moment, then end them."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for channel in list(self._resting):
            self._wake(channel)
        await asyncio.sleep(0)  # they have begun by then, and can say goodbye
        for session in list(self._tasks.values()):
            channel = session.channel
            if channel.on_stopping is not None:
                channel.on_stopping()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _GRACE
        while self._counters.active and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _lengthen_queue(number: int) -> None:
    """Let as many clients wait as is right: to create_server both numbers are one."""
    with socket.socket(fileno=os.dup(number)) as same:
        same.listen(_BACKLOG)
