"""One core and its peers, as scenarios see them, and the one fault that befalls them."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from proxy_core.config import Limits, Mode, ModeSpec, RegularMode, Settings
from proxy_core.core import Core
from proxy_core.model.flow import Flow, FlowState
from proxy_core.net.channel import Channel
from proxy_core.net.dial import Dialer
from proxy_core.net.pool import UpstreamPool
from tests.ca.certificates import make, server_context
from tests.e2e.inside import RawOrigin
from tests.faults.injection import CLIENT, Fault, befall, befall_dialling, reset_stream
from tests.faults.virtual_loop import VirtualLoop
from tests.faults.watching import Place, Tasks, Watched, place_of
from tests.net.h2_peer import H2Peer
from tests.net.pair_ends import Http1End, Http2End
from tests.net.wires import Peer, TlsPeer

T = TypeVar("T")

ORIGIN = "origin.test"
ORIGIN_ADDRESS = "192.0.2.1"
LIMITS = Limits(
    head_timeout=40.0,
    body_timeout=40.0,
    idle_timeout=40.0,
    tunnel_timeout=90.0,
    unwanted_timeout=20.0,
    connect_timeout=40.0,
    response_timeout=40.0,
    upstream_idle=30.0,
    stream_buffer=65536,
)
OVER = (FlowState.DONE, FlowState.FAILED)
_OWNERS = ("ClientSession.run", "Http2Upstream._serve", "Fetcher.fetch", "Core.start")
"""What is cancelled from outside: by a client that leaves, or a core that stops."""
_LISTENS = ("bind", "Listener.start")
_REFUSES = Fault.ORIGIN_RESETS  # of who is asked for an address: he knows none
_DIALS = ("_connect_to_one", "Dialer._elsewhere")


@dataclass(frozen=True)
class Scenario:
    """What a client and an origin do: `play` it, on a core with these settings."""

    name: str
    play: Callable[[World], Awaitable[None]]
    modes: tuple[Callable[[int], Mode], ...] = ()
    """Made with the origin's port; their listeners are `world.port(1)` and so on."""
    settings: dict[str, Any] | None = None
    prepare: Callable[[World], None] | None = None
    """Called when the core has started."""


@functools.cache
def certificates() -> tuple[Path, ssl.SSLContext]:
    """The CA file that upstream trusts, and the origin's context."""
    directory = Path(tempfile.mkdtemp(prefix="int3rceptor-faults-"))
    ca = make("The CA", ca=True)
    file = directory / "ca.pem"
    file.write_bytes(ca.pem)
    return file, server_context(make(ORIGIN, issuer=ca), directory)


class World:
    """Everything of one run."""

    def __init__(
        self,
        scenario: Scenario,
        loop: VirtualLoop,
        data_dir: Path,
        tried: set[tuple[Place, Fault]] | None,
    ) -> None:
        self.loop = loop
        loop.names[ORIGIN] = [ORIGIN_ADDRESS]
        self.scenario = scenario
        self.origin = RawOrigin()
        self.modes = [mode(self.origin.port) for mode in scenario.modes]
        self.data_dir = data_dir
        settings = Settings(
            listen_port=0,
            mode=tuple(ModeSpec(mode, "127.0.0.1", 0) for mode in (RegularMode(), *self.modes)),
            data_dir=data_dir,
            upstream_ca=certificates()[0],
            limits=LIMITS,
        )
        self.core = Core(replace(settings, **(scenario.settings or {})))
        self.dialer: Dialer
        self.pool: UpstreamPool
        self._tried = tried
        self.seen: set[Place] = set()
        self.injected: tuple[Place, Fault] | None = None
        self.armed = False
        self.fault = asyncio.Event()
        self.stopping = False
        self.answered = 0
        """Exchanges that the client saw come to a good end."""
        self.under_way: list[Flow] = []
        self.answered_before = 0
        self.ending: asyncio.Task[Any] | None = None
        """What has been cancelled, and has to end soon."""
        self._sockets: list[socket.socket] = []
        self._side: list[asyncio.Task[Any]] = []
        self._tasks = Tasks(loop, self._see)
        self.complaints: list[str] = []
        loop.set_exception_handler(self._complain)
        self.logs = self.core.bus.logs.subscribe(1000)

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"the loop was told: {context['message']} {context!r}")

    async def begin(self) -> None:
        """Start the core."""
        await self.core.start()
        assert self.core._pool is not None
        self.pool = self.core._pool
        self.dialer = self.pool._dialer
        if self.scenario.prepare is not None:
            self.scenario.prepare(self)

    async def play(self) -> None:
        """Play the scenario. Where nothing goes wrong its client leaves in the end."""
        await self.scenario.play(self)
        if self.injected is None:
            for sock in self._sockets:
                sock.close()

    @property
    def settled(self) -> bool:
        """Whether nothing is left of the connections that there were."""
        counters = self.core.counters
        return not (
            counters.active
            or counters.client_connections
            or counters.server_connections
            or len(self.dialer._clock)
        )

    # --- what scenarios do

    def port(self, number: int = 0) -> int:
        return int(self.core.listening[number].rpartition(":")[2])

    def client(self, number: int = 0) -> Peer:
        """Connect to a listener; 0 is the regular one."""
        sock = socket.create_connection(("127.0.0.1", self.port(number)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.append(sock)
        return Peer(sock)

    def client_context(self, *alpn: str) -> ssl.SSLContext:
        return _client_context(self.core.ca_path, alpn)

    async def tunnel(self, *, name: str = ORIGIN) -> Peer:
        """Open a tunnel to the origin with CONNECT."""
        client = self.client()
        where = b"%b:%d" % (name.encode(), self.origin.port)
        await client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (where, where))
        assert (await client.read_head()).startswith(b"HTTP/1.1 200 ")
        return client

    async def secure(self, peer: Peer, *alpn: str, name: str = ORIGIN) -> TlsPeer:
        """Speak TLS with the proxy, as a client."""
        client = TlsPeer(peer.sock, self.client_context(*alpn), name)
        await client.handshake()
        return client

    async def accept(self) -> Peer:
        """Be an origin, to the next connection."""
        peer = await self.origin.accept()
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return peer

    async def accept_tls(self, *alpn: str) -> TlsPeer:
        """Be an origin that speaks TLS."""
        context = certificates()[1]
        context.set_alpn_protocols(list(alpn))
        peer = TlsPeer((await self.accept()).sock, context)
        await peer.handshake()
        return peer

    async def client_of(self, version: str) -> Http1End | Http2End:
        """Connect a client, in a tunnel with TLS."""
        if version == "h2":
            return await self.http2_client()
        peer = await self.secure(await self.tunnel(), "http/1.1")
        return Http1End(peer, client=True, target="/x")

    async def http2_client(self, **settings: int) -> Http2End:
        h2 = H2Peer(await self.secure(await self.tunnel(), "h2"), client_side=True, **settings)
        await h2.begin()
        return Http2End(h2, client=True)

    async def origin_of(self, version: str) -> Http1End | Http2End:
        if version == "h2":
            return await self.http2_origin()
        return Http1End(await self.accept_tls("http/1.1"), client=False)

    async def http2_origin(self, **settings: int) -> Http2End:
        h2 = H2Peer(await self.accept_tls("h2"), client_side=False, **settings)
        await h2.begin()
        return Http2End(h2, client=False)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run beside the scenario, which awaits it in the end."""
        task = self.loop.create_task(work)
        self._side.append(task)
        return task

    def stop(self) -> asyncio.Task[None]:
        """Begin to stop the core."""
        self.stopping = True
        return self.start(self.core.stop())

    def waiting(self) -> list[str]:
        """Where every task waits."""
        return self._tasks.unfinished()

    def clients(self) -> list[Channel]:
        served = [one.channel for each in self.core._listeners for one in each._tasks.values()]
        rest = [channel for each in self.core._listeners for channel in each._resting]
        return [channel for channel in (*served, *rest) if not channel.closed]

    def origins(self) -> list[Channel]:
        return [channel for channel in self.dialer._open if not channel.closed]

    def slow(self, channels: list[Channel]) -> None:
        """Let peers read nothing, as far as their channels can tell."""
        for channel in channels:
            channel.pause_writing()

    async def speed(self, channels: list[Channel]) -> None:
        """Let them read again, once somebody waits for it."""
        await self.until(lambda: any(channel._write_waiters for channel in channels))
        for channel in channels:
            channel.resume_writing()
        for _ in range(3):  # until who waited goes on
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what has no event of its own."""
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(1.0 if self.loop.skipping else 0.001)

    async def skip(self, condition: Callable[[], object]) -> None:
        """Let time pass until a condition holds."""
        self.loop.skipping = True
        await self.until(condition)
        self.loop.skipping = self.injected is not None

    async def skip_to_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Let time pass until something is done; return what came of it."""
        task = self.start(work)
        await self.skip(task.done)
        return await task

    # --- faults

    def _see(self, watched: Watched, future: Any) -> Any:
        if not self.armed or self.injected is not None:
            return future
        place = place_of(watched.inner)
        if not place.chain:
            return future
        self.seen.add(place)
        if self._tried is None:
            return future
        for fault in Fault:
            if (place, fault) in self._tried:
                continue
            happen = self._happening(place, fault, future)
            if happen is not None:
                self._tried.add((place, fault))
                self.injected = place, fault
                self.loop.skipping = True
                self.fault.set()
                self.under_way = [f for f in self.core.flows if f.state not in OVER]
                self.answered_before = self.answered
                return happen()
        return future

    def _happening(self, place: Place, fault: Fault, future: Any) -> Callable[[], Any] | None:
        """Return what makes a fault happen and returns what to wait for, if it can happen here."""
        task = asyncio.current_task()
        if fault is Fault.CANCELLED:
            return lambda: self._cancel(task, future)
        if fault in CLIENT:
            channels = self._clients_of(task)
        elif place.chain[-1].function in (*_DIALS, *_LISTENS):
            asks = "getaddrinfo" in place.below
            if fault is Fault.ORIGIN_ENDS or "transport" in place.below:
                return None
            if place.chain[-1].function in _LISTENS and (fault, asks) != (_REFUSES, True):
                return None
            return lambda: befall_dialling(future, fault, asks)
        else:
            channels = self.origins()
        if not channels:
            return None

        def happen() -> Any:
            for channel in channels:
                befall(channel, fault)
            return future

        return happen

    def _cancel(self, task: asyncio.Task[Any] | None, future: Any) -> Any:
        for owner in self._tasks.ancestors(task):
            name = self._tasks.name(owner)
            if name == "Http2Client._exchange" and reset_stream(self._tasks.frame(owner)):
                return future
            if name in _OWNERS:
                owner.cancel()
                self.ending = owner
                return future
        self.stop()
        return future

    def _clients_of(self, task: asyncio.Task[Any] | None) -> list[Channel]:
        for owner in self._tasks.ancestors(task):
            for listener in self.core._listeners:
                if owner in listener._tasks:
                    channel = listener._tasks[owner].channel
                    return [] if channel.closed else [channel]
        return self.clients()

    def close(self) -> None:
        """End every peer, and what runs beside the scenario; a core that stops goes on to."""
        for task in self._side:
            if self._tasks.name(task) != "Core.stop":
                task.cancel()
        for sock in self._sockets:
            sock.close()
        self.origin.close()


@functools.cache
def _client_context(ca: Path, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.set_alpn_protocols(list(alpn))
    return context
