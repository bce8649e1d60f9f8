"""The demo origin: three listeners on loopback before one site. Also what the tests talk to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from itertools import count
from types import TracebackType
from typing import Self

from int3rceptor_tui.demo.certificate import OriginCertificate
from int3rceptor_tui.demo.listener import Listener
from int3rceptor_tui.demo.messages import ConnectionRecord, Recording
from int3rceptor_tui.demo.origin_http1 import Http1Server
from int3rceptor_tui.demo.origin_http2 import Http2Server
from int3rceptor_tui.demo.site import Site


class DemoOrigin:
    """An async context manager; inside it `http`, `https` and `https1` are ports of 127.0.0.1.

    `http` is cleartext HTTP/1.1, `https` offers h2 and http/1.1 by ALPN, `https1` only http/1.1.
    `recording` has what came in, exactly. `pause` is awaited before each answer.
    """

    def __init__(
        self,
        certificate: OriginCertificate,
        pause: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._certificate = certificate
        self._site = Site(pause)
        self._numbers = count(1)
        self._listeners: list[Listener] = []
        self.recording = Recording()
        self.http = 0
        self.https = 0
        self.https1 = 0

    async def __aenter__(self) -> Self:
        self.http = self._listen(None)
        self.https = self._listen(self._certificate.server_context("h2", "http/1.1"))
        self.https1 = self._listen(self._certificate.server_context("http/1.1"))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the listeners and break off every connection; idempotent."""
        for listener in self._listeners:
            await listener.close()

    def _listen(self, context: ssl.SSLContext | None) -> int:
        listener = Listener(self._serve, context)
        self._listeners.append(listener)
        return listener.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        alpn = None if tls is None else tls.selected_alpn_protocol()
        record = ConnectionRecord(next(self._numbers), alpn)
        self.recording.connections.append(record)
        kind = Http2Server if alpn == "h2" else Http1Server
        try:
            await kind(reader, writer, self._site, self.recording, record).run()
        finally:
            record.closed = True
