"""The composition root: builds the parts, starts them in order, stops them in reverse.

Everything is made here and handed down; no other module reaches for its neighbours.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy_core.bus.bus import Bus
from proxy_core.bus.flow_ring import FlowRing
from proxy_core.bus.library_log import LibraryLog
from proxy_core.bus.rate_limiter import RateLimiter
from proxy_core.ca import load_authority
from proxy_core.ca.contexts import ServerContexts
from proxy_core.ca.onboarding import OwnPages
from proxy_core.config import (
    RegularMode,
    ReverseMode,
    Settings,
    UpstreamMode,
    default_plugin_dir,
    join_host_port,
)
from proxy_core.control.local import LocalControl
from proxy_core.errors import ConfigError
from proxy_core.exchange.capture import CaptureQueue
from proxy_core.exchange.connections import Connections
from proxy_core.exchange.exchange import Exchange
from proxy_core.exchange.fetch import Fetcher
from proxy_core.exchange.held import HeldFlows
from proxy_core.exchange.ledger import Ledger
from proxy_core.exchange.ruled_hooks import hooks_with
from proxy_core.exchange.tunnel import TunnelTimes
from proxy_core.exchange.websocket import WebSockets
from proxy_core.model.counters import Counters
from proxy_core.model.log_line import LogLevel
from proxy_core.model.words import counted
from proxy_core.net.bound import bind
from proxy_core.net.buffers import Buffers
from proxy_core.net.client_parts import ClientParts
from proxy_core.net.clock import Clock
from proxy_core.net.descriptors import Descriptors
from proxy_core.net.dial import Dialer
from proxy_core.net.guard import ClientGuard, OwnAddresses
from proxy_core.net.listener import Listener
from proxy_core.net.passthrough import Passthrough
from proxy_core.net.passwords import Passwords
from proxy_core.net.pool import UpstreamPool
from proxy_core.net.tls_session import TlsBuffers
from proxy_core.net.upstream_tls import TlsPolicy, UpstreamTls
from proxy_core.plugin_host.manager import PluginManager
from proxy_core.policy.message_rules import message_rules

if TYPE_CHECKING:
    from proxy_core.api.server import ApiServer

_REFUSALS_TOLD = 5  # a second
_LIBRARY_LINES_TOLD = 20  # a second


class Core:
    """One proxy. Make, `start`, `stop`; not to be started twice."""

    def __init__(self, settings: Settings, *, attended: bool = True) -> None:
        """Take settings that are checked but for their message rules. Raises ConfigError.

        Where it is not `attended`, by a user who lets flows go on, none is held.
        """
        self.settings = settings
        self.bus = Bus()
        self.counters = Counters()
        self.flows = FlowRing(settings.limits.captured_total)
        self.held = HeldFlows(attended=attended)
        self.hooks = hooks_with(message_rules(settings))
        limits = settings.limits
        self._tunnel_times = TunnelTimes(limits.tunnel_timeout, limits.idle_timeout)
        self.web_sockets = WebSockets(self.hooks, limits, self._tunnel_times)
        self.plugins = PluginManager(
            [*settings.plugins, default_plugin_dir()],
            self.hooks,
            self.bus,
            settings.limits.log_lines,
            settings.data_dir,
            self.flows.snapshot,
            settings.watch,
        )
        self.listening: tuple[str, ...] = ()
        """`host:port` of each listener, with the real port; empty before and after."""
        self.api_url = ""
        """Where the API is served; empty where it is not, before and after."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool: UpstreamPool | None = None
        self._listeners: list[Listener] = []
        self._api: ApiServer | None = None
        self._stopped: asyncio.Future[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._cleanup = contextlib.ExitStack()

    @property
    def modes(self) -> tuple[str, ...]:
        """The listeners' modes, as they were given."""
        return tuple(str(mode) for mode, _, _ in self.settings.listeners)

    @property
    def ca_path(self) -> Path:
        """The CA certificate's file, PEM."""
        return self.settings.ca_certificate

    def control(self) -> LocalControl:
        """Return a console's handle; call on the core's loop, after `start`."""
        return LocalControl(self, asyncio.get_running_loop())

    async def start(self) -> None:
        """Load CA and plugins, then listen. Raises CaError, ConfigError or ListenError."""
        settings, limits = self.settings, self.settings.limits
        self._stopped = asyncio.get_running_loop().create_future()
        self._cleanup.enter_context(LibraryLog(self._log, _LIBRARY_LINES_TOLD))
        authority = load_authority(settings)
        for warning in (*settings.without_effect, *authority.repairs):
            self._log(LogLevel.WARN, warning)
        if authority.is_new:
            self._log(
                LogLevel.INFO, f"made a new CA; let clients trust {authority.certificate_path}"
            )

        ids = itertools.count(1)
        modes = [mode for mode, _, _ in settings.listeners]
        has_parent = any(isinstance(mode, UpstreamMode) for mode in modes)
        pseudonym = secrets.token_hex(8) if has_parent else ""
        has_origin = any(isinstance(mode, ReverseMode) for mode in modes)
        clock = Clock()
        own = OwnAddresses()
        upstream_tls = UpstreamTls(_tls_policy(settings))
        descriptors = Descriptors()
        tls_buffers = TlsBuffers()
        buffers = Buffers.within(limits)
        dialer = Dialer(
            clock, upstream_tls, limits, self.counters, ids, own, descriptors, tls_buffers, buffers
        )
        self._pool = UpstreamPool(dialer, clock, limits, settings.lenient)
        self.plugins.fetcher = Fetcher(self._pool)
        captures = CaptureQueue(
            self.hooks,
            lambda lost: self._log(
                LogLevel.WARN,
                f"on_capture does not keep up: {counted(lost, 'flow')} not shown to it, "
                "and kept as captured",
            ),
        )
        ledger = Ledger(
            flows=self.flows,
            bus=self.bus,
            counters=self.counters,
            captures=captures,
            body_limit=limits.captured_body,
            growing_limit=min(limits.captured_growing, limits.captured_total),
        )
        connections = Connections(
            ledger=ledger,
            hooks=self.hooks,
            upstreams=self._pool,
            tunnel_times=self._tunnel_times,
        )
        exchange = Exchange(
            ledger=ledger,
            hooks=self.hooks,
            upstreams=self._pool,
            held=self.held,
            web_sockets=self.web_sockets,
            own_pages=OwnPages(authority),
            max_informational=limits.informational_heads,
            tunnel_times=self._tunnel_times,
            body_buffer=limits.body_buffer,
            pseudonym=pseudonym,
            reverse_pseudonym=secrets.token_hex(8) if has_origin else "",
        )
        parts = ClientParts(
            mode=RegularMode(),
            exchange=exchange,
            connections=connections,
            upstreams=self._pool,
            contexts=ServerContexts(authority),
            clock=clock,
            limits=limits,
            buffers=buffers,
            ids=ids,
            tls_buffers=tls_buffers,
            descriptors=descriptors,
            make_room=self._pool.drop_idle,
            own=own,
            passthrough=Passthrough(
                settings.ignore_hosts,
                settings.allow_hosts,
                settings.auto_passthrough,
                lambda text: self._log(LogLevel.WARN, text),
            ),
            passwords=self._passwords(),
            pseudonym=pseudonym,
            upstream_per_client=settings.upstream_per_client,
            lenient=settings.lenient,
            keep_host=settings.keep_host,
            connect_address=settings.connect_address,
            on_fault=self._log_fault,
        )
        guard = ClientGuard(settings.allow_public_clients, settings.refuse_private_clients)
        refusals = RateLimiter(_REFUSALS_TOLD)

        def tell_refusal(reason: str) -> None:
            if refusals.allow():
                self._log(LogLevel.WARN, f"a client was turned away: {reason}")

        self._own(clock.run())
        self._own(captures.run(ledger.changed))
        serve_api = None if settings.api is None else await self._prepare_api(settings.api, own)
        await self.plugins.start()
        for mode, host, port in settings.listeners:
            listener = Listener(
                replace(parts, mode=mode), self.counters, self._log_fault, guard, tell_refusal
            )
            self._listeners.append(listener)
            self.listening = (*self.listening, await listener.start(host, port))
        for mode, host, port in settings.next_hops:
            if await dialer.leads_back(host, port):
                raise ConfigError(
                    f"mode {mode} leads back to this proxy, which listens at "
                    f"{join_host_port(host, port)}; name another address, or listen elsewhere"
                )
        if serve_api is not None:
            await serve_api()
        # Behind the listening, which must not wait for it, and off the loop.
        self._own(asyncio.to_thread(dialer.prepare))

    def _passwords(self) -> Passwords | None:
        if not self.settings.proxy_auth:
            return None
        passwords = Passwords(self.settings.proxy_auth)
        self._cleanup.callback(passwords.close)
        return passwords

    async def _prepare_api(
        self, address: tuple[str, int], own: OwnAddresses
    ) -> Callable[[], Awaitable[None]]:
        """Take the API's port, and its token; return what serves it, once there is a core."""
        from proxy_core.api.gate import Gate
        from proxy_core.api.server import ApiServer  # uvicorn: only who asked for it loads it
        from proxy_core.api.token_file import load_or_make_token

        settings = self.settings
        token = load_or_make_token(settings.api_token, settings.data_dir)
        for repair in token.repairs:
            self._log(LogLevel.WARN, repair)
        if token.is_new:
            self._log(LogLevel.INFO, f"made a token for the API: {token.path}")
        bound = await bind(*address, "--api", own)
        self._cleanup.callback(bound.close)
        if not bound.is_local:
            self._log(
                LogLevel.WARN,
                f"the API listens on {bound.address}, for other machines too, and does not "
                "encrypt: whoever sees its token commands this proxy; better let it listen on "
                "127.0.0.1 and come through ssh -L",
            )
        gate = Gate(token.secret, (*settings.api_hosts, join_host_port(*address)))

        async def serve() -> None:
            self._api = ApiServer(self.control(), bound, gate, self._log_fault)
            await self._api.start()
            self.api_url = f"http://{bound.address}"

        return serve

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what the core cannot live without: its end is the core's."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._lost)

    def _lost(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        stopped = self._stopped
        if task.cancelled() or stopped is None or stopped.done():
            return
        error = task.exception()
        if error is not None:
            stopped.set_exception(error)

    def _log(self, level: LogLevel, text: str) -> None:
        self.plugins.logs.write("", level, text)

    def _log_fault(self, error: BaseException) -> None:
        """Note a bug: one connection or stream has died of it, the rest goes on."""
        text = "".join(traceback.format_exception(error)).rstrip()
        self._log(LogLevel.ERROR, f"a fault of the proxy:\n{text}")

    async def wait_stopped(self) -> None:
        """Return once the core has stopped; raise what stopped it, where nobody asked."""
        if self._stopped is not None:
            await asyncio.shield(self._stopped)

    async def stop(self) -> None:
        """Finish what is under way within 2 s, then end everything; idempotent.

        It goes on where its caller is cancelled: others may wait for it.
        """
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                if self._api is not None:
                    group.create_task(self._api.stop())
                for listener in self._listeners:
                    group.create_task(listener.stop())
            self.listening = ()
            self.api_url = ""
            if self._pool is not None:
                await self._pool.close()
            await self.plugins.stop()
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            self._cleanup.close()
            if self._stopped is not None and not self._stopped.done():
                self._stopped.set_result(None)


def _tls_policy(settings: Settings) -> TlsPolicy:
    return TlsPolicy(
        upstream_ca=settings.upstream_ca,
        insecure=settings.insecure,
        insecure_hosts=settings.insecure_hosts,
        minimum=settings.upstream_tls_min,
        maximum=settings.upstream_tls_max,
        ciphers=settings.upstream_ciphers,
        client_certs=settings.client_certs,
    )
