"""What concerns a client's connection and no exchange on it: admission, refusals, tunnels."""

from __future__ import annotations

import asyncio
import time

from proxy_core.errors import UpstreamError
from proxy_core.exchange.answers import text_response
from proxy_core.exchange.hooks import ConnectAttempt, Hooks
from proxy_core.exchange.ledger import Ledger
from proxy_core.exchange.ports import ByteStream, Route, Upstreams
from proxy_core.exchange.tunnel import TunnelTimes, join_as
from proxy_core.model.connection import ClientConnection, ServerConnection
from proxy_core.model.flow import FlowKind
from proxy_core.model.message import RequestHead
from proxy_core.model.verdict import Block


class Connections:
    """One object serves all connections of a core."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        hooks: Hooks,
        upstreams: Upstreams,
        tunnel_times: TunnelTimes | None = None,
    ) -> None:
        self._ledger = ledger
        self._hooks = hooks
        self._upstreams = upstreams
        self._tunnel_times = tunnel_times or TunnelTimes()

    async def admit(self, client: ClientConnection, authority: bytes | None) -> Block | None:
        """Ask the plugins about a new connection, or a CONNECT for `authority`."""
        hook = self._hooks.connect
        if hook is None:
            return None
        verdict = await hook(ConnectAttempt(client, authority))
        return verdict if isinstance(verdict, Block) else None

    async def tunnel(
        self,
        client: ClientConnection,
        head: RequestHead,
        side: ByteStream,
        route: Route,
        dialled: tuple[ServerConnection, ByteStream] | None = None,
    ) -> None:
        """Join a client to an address byte for byte, as a flow that counts the bytes.

        `side` is the client's connection, closed at the end; `dialled` the server's, where it
        exists already. `head` is the CONNECT that asked for it.
        """
        flow = self._ledger.begin(client, head, FlowKind.TUNNEL)
        try:
            server, connection = dialled or await self._upstreams.connect(route)
            flow.server = server
            flow.first_byte = time.time()
            tunnel = self._hooks.tunnel
            flow.error = await join_as(
                flow,
                side,
                connection,
                self._tunnel_times,
                self._ledger.grew,
                None if tunnel is None else tunnel(flow),
            )
        except UpstreamError as error:
            flow.error = str(error)
            side.close()
        except asyncio.CancelledError:
            flow.error = flow.error or "the client went away"
            raise
        except Exception as error:
            flow.error = f"a fault of the proxy: {error!r}"
            side.abort()
            raise
        finally:
            self._ledger.end(flow)

    def refuse(
        self, client: ClientConnection, head: RequestHead, error: str, status: int | None = None
    ) -> None:
        """Record a request that got no further."""
        flow = self._ledger.begin(client, head)
        flow.error = error
        if status is not None:
            flow.response = text_response(status, error)[0]
        self._ledger.end(flow)
