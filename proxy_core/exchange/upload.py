"""The request's body on its way to the origin, beside the response's way back.

Most bodies are there whole when the head is read, and go out at once. The rest is carried by a
task of its own, because an origin may answer before it has read everything (RFC 9112, 9.5).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from proxy_core.errors import UpstreamError
from proxy_core.exchange.news import News
from proxy_core.exchange.ports import BodySource, UpstreamStream
from proxy_core.model.flow import Flow


class Upload:
    """Carries one request body; `close` ends it in any case."""

    __slots__ = ("_flow", "_source", "_task", "_tell", "_upstream", "done", "error")

    def __init__(
        self,
        source: BodySource,
        upstream: UpstreamStream,
        flow: Flow,
        tell: Callable[[Flow], None],
    ) -> None:
        """`tell` lets people know how much has come so far."""
        self._source = source
        self._upstream = upstream
        self._flow = flow
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self.done = False
        self.error: Exception | None = None
        """Why it failed: the true cause, where the upstream stream fails after this."""

    async def rewind(self) -> bool:
        """Stop, to begin again on another stream; return whether all that went is still there."""
        await self.close()
        if isinstance(self.error, UpstreamError):
            self.error = None
        return self.error is None and not self._flow.request_body.truncated

    def start_again(self, upstream: UpstreamStream) -> None:
        """Send what went before, and go on."""
        self._upstream = upstream
        body = self._flow.request_body
        if body.size:
            upstream.send_data(body.kept)
        if self.done:
            upstream.send_end(body.trailers)
        else:
            self.start()

    def start(self) -> None:
        """Send what is there; begin to carry the rest, if there is any."""
        while not self._upstream.blocked:
            data = self._source.read_nowait()
            if data is None:
                break
            if not self._pass_on(data):
                return
        self._task = asyncio.get_running_loop().create_task(self._carry())

    def _pass_on(self, data: bytes) -> bool:
        """Send one piece; return whether there may be more."""
        if data:
            self._flow.request_body.feed(data)
            self._upstream.send_data(data)
            return True
        self._flow.request_body.trailers = self._source.trailers
        self._upstream.send_end(self._source.trailers)
        self._flow.request_sent = time.time()
        self.done = True
        return False

    async def _carry(self) -> None:
        news = News(self._flow, self._tell)
        try:
            while True:
                if self._upstream.blocked:
                    await self._upstream.drain()
                if not self._pass_on(await self._source.read()):
                    return
                news.note()
        except UpstreamError as error:
            # No abort: the answer may be there all the same (RFC 9113, 8.1), or fails by itself.
            self.error = error
        except Exception as error:
            self.error = error
            self._upstream.abort()
        finally:
            news.cancel()

    async def close(self) -> None:
        """Stop carrying; returns when nothing is under way any more."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])  # to await the task itself would hide that we are cancelled
