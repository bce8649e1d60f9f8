"""curl talks with an origin in lock-step, through a core with plugins made for the test.

Nothing is sent before what was sent before it has come out at the other end, so a proxy or a plugin
that kept a piece back would stop such a talk for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from int3rceptor_tui.demo.listener import Listener
from int3rceptor_tui.demo.messages import ConnectionRecord, Recording, Reply, Request
from int3rceptor_tui.demo.origin_http1 import Http1Server
from int3rceptor_tui.demo.origin_http2 import Http2Server
from int3rceptor_tui.demo.site import Site
from proxy_core.control.views import FlowDetail
from proxy_core.core import Core
from tests.e2e.plugged import running_core
from tests.waiting import until


class Dialogue(Site):
    """Says to GET what is put into `says`, until None; has in `heard` what POST sends."""

    def __init__(self) -> None:
        super().__init__()
        self.says: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.fields: list[tuple[bytes, bytes]] = []
        """Of the answer to GET and HEAD."""
        self.breaks_off = False
        """Whether that answer has no proper end."""

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer as the method asks for."""
        if request.method == "POST":
            async for piece in request.pieces():
                self.heard.put_nowait(piece)
            await reply.answer(200, "text/plain", b"heard")
            return
        await reply.head(200, self.fields)
        while request.method == "GET" and (said := await self.says.get()) is not None:
            await reply.send(said)
        if self.breaks_off:
            reply.cut()
        else:
            await reply.finish()


class Talk:
    """A core with plugins, an origin with a dialogue in the clear and in TLS, and curl."""

    def __init__(self, core: Core, site: Dialogue, recording: Recording) -> None:
        self.core, self.site, self.recording = core, site, recording
        self.ports: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def curl(self, flag: str, way: str, *arguments: str) -> AsyncIterator[Curling]:
        """Run curl, without any buffering of its own."""
        scheme = "http" if way == "http" else "https"
        process = await asyncio.create_subprocess_exec(
            "curl", "-sSN", flag, "-x", f"http://{self.core.listening[0]}",
            "--cacert", str(self.core.ca_path), "-H", "Expect:", *arguments,
            f"{scheme}://localhost:{self.ports[way]}/",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            yield Curling(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def called(self, times: int) -> None:
        """Wait until the plugin has been called so often."""
        await until(lambda: self.core.plugins.statuses()[0].calls == times)

    async def flow(self) -> FlowDetail:
        """The only flow, when it is over."""
        control = self.core.control()
        (flow,) = self.core.flows
        await until(lambda: flow.ended)
        shown = await control.flow(flow.id)
        assert shown is not None
        return shown


class Curling:
    """A curl that runs; what it is fed it sends as it comes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.feed, self.out = process, process.stdin, process.stdout

    async def rest(self) -> tuple[bytes, int]:
        """What it still says, and what it ends with."""
        return await self.out.read(), await self.process.wait()


@contextlib.asynccontextmanager
async def talking(directory: Path, certificate: OriginCertificate) -> AsyncIterator[Talk]:
    """Run the plugins in `directory`/plugins between curl and the dialogue."""
    site, recording, numbers = Dialogue(), Recording(), count(1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        record = ConnectionRecord(next(numbers), tls and tls.selected_alpn_protocol())
        kind = Http2Server if record.alpn == "h2" else Http1Server
        await kind(reader, writer, site, recording, record).run()

    contexts = {
        "http": None,
        "https": certificate.server_context("h2", "http/1.1"),
        "https1": certificate.server_context("http/1.1"),
    }
    async with (
        running_core(directory, upstream_ca=certificate.ca_file) as core,
        contextlib.AsyncExitStack() as stack,
    ):
        made = Talk(core, site, recording)
        for way, context in contexts.items():
            listener = Listener(serve, context)
            made.ports[way] = listener.open()
            stack.push_async_callback(listener.close)
        yield made


each_way = pytest.mark.parametrize(
    ("flag", "way"),
    [
        ("--http1.1", "http"),
        ("--http1.1", "https"),
        ("--http2", "https"),
        ("--http2", "https1"),
    ],
)
