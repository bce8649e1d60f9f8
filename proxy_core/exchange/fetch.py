"""An exchange of the proxy's own, for whoever asks: one request, one answer, both whole.

It is no flow: nobody captures it, and no hook sees it, so that a plugin that calls out does not
meet itself. It goes to the origin straight, over the connections that flows use too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy_core.errors import UpstreamError, UpstreamGone
from proxy_core.exchange.ports import Route, Upstreams, UpstreamStream
from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import RequestHead, ResponseHead, split_authority

ANSWER_BYTES: Final = 8 * 1024 * 1024
_INFORMATIONAL: Final = 100
"""Answers 1xx before the final one."""
_IDEMPOTENT: Final = (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer."""

    head: ResponseHead
    body: bytes
    trailers: tuple[Field, ...]


class Fetcher:
    """Makes exchanges over `upstreams`."""

    def __init__(self, upstreams: Upstreams, limit: int = ANSWER_BYTES) -> None:
        """Take answers whose body has at most `limit` bytes."""
        self._upstreams = upstreams
        self._limit = limit

    async def fetch(
        self,
        method: bytes,
        url: str,
        headers: Sequence[Field],
        body: bytes,
        seconds: float,
    ) -> Fetched:
        """Send a request to an absolute http or https `url` and return the answer.

        `headers` are without those about framing and the host, which are added. Raises
        UpstreamError where there is no whole answer within `seconds`.
        """
        scheme, _, rest = url.partition("://")
        authority, slash, path = rest.partition("/")
        fields = Headers([(b"Host", authority.encode()), *headers])
        if body:
            fields.add(b"Content-Length", b"%d" % len(body))
        head = RequestHead(method, scheme, authority.encode(), f"{slash}{path}".encode(), fields)
        host, port = split_authority(head.authority, scheme)
        route = Route(scheme, host, port)
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(route, head, body)
        except TimeoutError as error:
            raise UpstreamError(f"{host}:{port} did not answer in {seconds:g} s", 504) from error

    async def _exchange(self, route: Route, head: RequestHead, body: bytes) -> Fetched:
        """Try once more on a new connection where a kept one had died unseen."""
        upstream = self._upstreams.acquire(route)
        if upstream is not None:
            try:
                return await self._ask(upstream, head, body)
            except UpstreamGone as error:
                if not (error.unseen or head.method in _IDEMPOTENT):
                    raise
        return await self._ask(await self._upstreams.open(route, fresh=True), head, body)

    async def _ask(self, upstream: UpstreamStream, head: RequestHead, body: bytes) -> Fetched:
        try:
            upstream.send_head(head, len(body))
            if body:
                if upstream.blocked:
                    await upstream.drain()
                upstream.send_data(body)
                upstream.send_end(None)
            for _ in range(_INFORMATIONAL):
                response = await upstream.read_head()
                if not response.informational:
                    break
            else:
                raise UpstreamError(f"more than {_INFORMATIONAL} informational answers")
            if response.upgrade is not None:
                raise UpstreamError("the origin switched to another protocol")
            data = bytearray()
            if response.length:
                while piece := await upstream.read():
                    data += piece
                    if len(data) > self._limit:
                        raise UpstreamError(f"the answer has more than {self._limit} bytes")
            trailers = tuple(upstream.trailers or ()) if response.length else ()
        except BaseException:
            upstream.abort()
            raise
        upstream.release()
        return Fetched(response.head, bytes(data), trailers)
