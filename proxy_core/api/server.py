"""The API's server: uvicorn inside the core's loop, and the only place that knows it.

Sockets, signals and logging are not its business: it gets sockets that listen already, is told
when to stop, and its faults go where all libraries' go. A connection that asks for nothing, or too
slowly, is closed, and at once where others want its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from proxy_core.api.app import Guarded
from proxy_core.api.documents import Problem, encode
from proxy_core.api.gate import Gate
from proxy_core.control.control import Control
from proxy_core.net.bound import Bound

MOST_CONNECTIONS: Final = 128
HEAD_SECONDS: Final = 10.0
"""From a connection's beginning, or its last answer, to the end of the next request's head."""
_HEAD_BYTES: Final = 16 * 1024
_GRACE: Final = 0.5  # seconds for answers under way when the server stops
_FAULTS: Final = logging.getLogger("uvicorn.error.requests")
_FAULTS.setLevel(logging.ERROR)  # whoever can connect could fill the log with warnings


class ApiServer:
    """Serves one core's API; made, `start`ed and `stop`ped on the core's loop."""

    def __init__(
        self,
        control: Control,
        bound: Bound,
        gate: Gate,
        on_fault: Callable[[BaseException], None],
    ) -> None:
        """`on_fault` is told of a server that dies, which leaves the core as it is."""
        self._bound = bound
        self._on_fault = on_fault
        self._app = Guarded(control, gate)
        self._stopping = False
        config = uvicorn.Config(
            self._serve_one,
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            timeout_keep_alive=int(HEAD_SECONDS),
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve; return once it does."""
        serving = self._server.serve(sockets=self._bound.sockets)
        self._task = asyncio.get_running_loop().create_task(serving)
        self._task.add_done_callback(self._ended)
        await self._server.is_up.wait()

    async def _serve_one(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._stopping:
                raise

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._server.is_up.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_fault(error)

    async def stop(self) -> None:
        """End event streams, let other answers finish for a moment, then end them; idempotent."""
        self._stopping = True
        self._app.followers.close()
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_GRACE)
            while not self._task.done():
                self._server.cut_off()
                await asyncio.wait([self._task], timeout=_GRACE)
        self._bound.close()


class _Server(uvicorn.Server):
    """A server that leaves signals alone and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Begin to accept."""
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: signals are for who runs the core."""
        yield

    def cut_off(self) -> None:
        """End what is left: clients that do not read, routes that take their time."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()


class _Connection(H11Protocol):
    """A connection that has a deadline while no request is being answered."""

    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _FAULTS

    def connection_made(self, transport: Any) -> None:
        """Take the connection; where there are too many, the one that is idle for longest goes."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS and not self._end_another():
            transport.abort()
            return
        self._expect()

    def _end_another(self) -> bool:
        idle: dict[float, _Connection] = {}
        for each in self.connections:
            if isinstance(each, _Connection) and each._deadline is not None:
                idle[each._deadline.when()] = each
        if not idle:
            return False
        longest = idle[min(idle)]
        longest._relax()
        longest.transport.abort()
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, as the application refuses."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = encode(Problem("this is no HTTP request that can be read; send HTTP/1.1"))
            fields = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            for event in (
                h11.Response(status_code=400, headers=fields, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline too."""
        self._relax()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take requests; one that is there has all the time it needs."""
        super().handle_events()
        if self._is_answering():
            self._relax()

    def on_response_complete(self) -> None:
        """Wait for the next request, for as long as for the first."""
        super().on_response_complete()
        if not self._is_answering() and not self.transport.is_closing():
            self._expect()

    def _expect(self) -> None:
        self._relax()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # which is None until there was a request
        return cycle is not None and not cycle.response_complete
