"""Bodies that stream through plugins, piece by piece: curl talks with an origin in lock-step.

Nothing is sent before what was sent before it has come out at the other end, so a proxy or a plugin
that kept a piece back would stop these tests for ever.
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
from proxy_core.model.flow import FlowState
from proxy_core.model.log_line import LogLevel
from tests.e2e.plugged import put_module, running_core
from tests.plugin_host.guests import importing, wasm
from tests.waiting import until

pytestmark = pytest.mark.tools("curl")


def _on(first: str, code: str) -> str:
    """Run `code` where the piece begins with this character."""
    return f"(if (i32.eq (i32.load8_u (i32.const 1025)) (i32.const {ord(first)})) (then {code}))"


EDGES = wasm(
    f"""(module {importing("host_get_body", 3)} {importing("host_set_body", 2)}
    {importing("host_get_field", 3)} {importing("host_respond", 5)}
  (memory (export "memory") 4)
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func $edit (result i32) (local $n i32)
    (i32.store (i32.const 1024) (i32.const {ord("<")}))
    (local.set $n (call $get_body (i32.const 0) (i32.const 1025) (i32.const 200000)))
    {_on("!", "(drop (call $set_body (i32.const 0) (i32.const 0))) (return (i32.const 0))")}
    {_on("#", "(return (i32.const 1))")}
    {_on("*", "unreachable")}
    {
        _on(
            "?",
            "(drop (call $respond (i32.const 413) (i32.const 0) (i32.const 0)"
            "(i32.const 1025) (local.get $n))) (return (i32.const 3))",
        )
    }
    (drop (call $get_field (i32.const 17) (i32.const 0) (i32.const 1)))
    (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const {ord("1")})) (then
      (i32.store8 (i32.const 1024) (i32.const {ord("$")}))
      (drop (call $set_body (i32.const 1024) (i32.const 1)))
      (return (i32.const 0))))
    (i32.store8 (i32.add (i32.const 1025) (local.get $n)) (i32.const {ord(">")}))
    (drop (call $set_body (i32.const 1024) (i32.add (local.get $n) (i32.const 2))))
    i32.const 0)
  (export "on_request_chunk" (func $edit))
  (export "on_response_chunk" (func $edit)))"""
)
"""Puts < and > around each piece and $ behind the last. By its first character a piece is taken
out (!), ends the flow (#), makes the plugin trap (*) or is answered (?)."""

WHOLE = wasm(
    f"""(module {importing("host_set_body", 2)} (memory (export "memory") 1)
  (data (i32.const 0) "whole")
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func (export "on_response") (result i32)
    (drop (call $set_body (i32.const 0) (i32.const 5))) i32.const 0))"""
)


class Dialogue(Site):
    """Says to GET what is put into `says`, until None; has in `heard` what POST sends."""

    def __init__(self) -> None:
        super().__init__()
        self.says: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.fields: list[tuple[bytes, bytes]] = []
        """Of the answer to GET and HEAD."""

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
        await reply.finish()


class Talk:
    """A core with the plugin, an origin with a dialogue in the clear and in TLS, and curl."""

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


@pytest.fixture
async def talk(
    certificate: OriginCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Talk]:
    monkeypatch.setenv("HOME", str(tmp_path))
    put_module(tmp_path / "plugins", "edges", EDGES)
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
        running_core(tmp_path, upstream_ca=certificate.ca_file) as core,
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


@each_way
@pytest.mark.parametrize("fields", [[], [(b"content-length", b"9")]], ids=["open", "counted"])
async def test_a_response_reaches_the_client_piece_by_piece(
    talk: Talk, flag: str, way: str, fields: list[tuple[bytes, bytes]]
) -> None:
    talk.site.fields = fields
    async with talk.curl(flag, way) as curl:
        for piece in (b"one", b"!x", b"two"):
            talk.site.says.put_nowait(piece)
            if piece == b"!x":
                await talk.called(2)
            else:
                assert await curl.out.readexactly(5) == b"<" + piece + b">"
        talk.site.says.put_nowait(b"3")
        assert await curl.out.readexactly(3) == b"<3>"
        talk.site.says.put_nowait(None)
        assert await curl.rest() == (b"$", 0)
    flow = await talk.flow()
    assert (flow.summary.state, flow.summary.error) == (FlowState.DONE, None)
    assert flow.response is not None
    assert flow.response_body is not None
    assert "content-length" not in [name.lower() for name, _ in flow.response.fields]
    assert flow.response_body.kept == b"<one><two><3>$"
    assert flow.edited_by == ("plugin edges",)


@each_way
async def test_a_request_reaches_the_origin_piece_by_piece(talk: Talk, flag: str, way: str) -> None:
    async with talk.curl(flag, way, "-T", ".", "-X", "POST") as curl:
        for piece in (b"one", b"!x", b"two"):
            curl.feed.write(piece)
            if piece == b"!x":
                await talk.called(2)
            else:
                assert await talk.site.heard.get() == b"<" + piece + b">"
        curl.feed.write_eof()
        assert await talk.site.heard.get() == b"$"
        assert await curl.rest() == (b"<heard>$", 0)
    flow = await talk.flow()
    assert flow.summary.error is None
    assert flow.request_body.kept == b"<one><two>$"


@each_way
async def test_an_upload_whose_length_was_known_goes_on_without_it(
    talk: Talk, flag: str, way: str
) -> None:
    async with talk.curl(flag, way, "-d", "abc") as curl:
        assert await curl.rest() == (b"<heard>$", 0)
    heard = b"".join([talk.site.heard.get_nowait() for _ in range(talk.site.heard.qsize())])
    assert heard == b"<abc>$"
    (seen,) = talk.recording.requests
    assert seen.values(b"content-length") == []
    assert seen.values(b"transfer-encoding") == ([b"chunked"] if seen.version != "HTTP/2" else [])


@each_way
async def test_a_plugin_ends_a_response_in_its_middle(talk: Talk, flag: str, way: str) -> None:
    async with talk.curl(flag, way) as curl:
        talk.site.says.put_nowait(b"one")
        assert await curl.out.readexactly(5) == b"<one>"
        talk.site.says.put_nowait(b"#")
        rest, code = await curl.rest()
        assert rest == b""
        assert code != 0
    flow = await talk.flow()
    assert (flow.summary.state, flow.summary.error) == (
        FlowState.FAILED,
        "blocked by plugin edges",
    )


@each_way
@pytest.mark.parametrize(("mark", "status"), [(b"#", 403), (b"?", 413)])
async def test_a_plugin_answers_in_the_middle_of_an_upload(
    talk: Talk, flag: str, way: str, mark: bytes, status: int
) -> None:
    arguments = ("-T", ".", "-X", "POST", "-w", "%{http_code}")
    async with talk.curl(flag, way, *arguments) as curl:
        curl.feed.write(b"one")
        assert await talk.site.heard.get() == b"<one>"
        curl.feed.write(mark + b" too much")
        rest, _ = await curl.rest()
        assert rest.endswith(b"%d" % status)
        if mark == b"?":
            assert rest.startswith(b"? too much")
    assert (await talk.flow()).summary.status == status


@each_way
async def test_a_piece_over_which_the_plugin_traps_goes_on_as_it_is(
    talk: Talk, flag: str, way: str
) -> None:
    async with talk.curl(flag, way) as curl:
        for piece, comes in ((b"one", b"<one>"), (b"*trap", b"*trap"), (b"two", b"<two>")):
            talk.site.says.put_nowait(piece)
            assert await curl.out.readexactly(5) == comes
        talk.site.says.put_nowait(None)
        assert await curl.rest() == (b"$", 0)
    (line,) = [x for x in talk.core.plugins.logs.snapshot("edges") if x.level is LogLevel.ERROR]
    assert line.text.startswith("on_response_chunk trapped")


@each_way
async def test_an_answer_to_head_has_no_pieces(talk: Talk, flag: str, way: str) -> None:
    talk.site.fields = [(b"content-length", b"12")]
    async with talk.curl(flag, way, "--head") as curl:
        head, code = await curl.rest()
    assert code == 0
    assert b"content-length: 12\r\n" in head.lower()
    assert talk.core.plugins.statuses()[0].calls == 0


async def test_a_body_that_was_gathered_goes_through_in_pieces_too(
    talk: Talk, tmp_path: Path
) -> None:
    put_module(tmp_path / "plugins", "whole", WHOLE)
    assert "whole" in (await talk.core.plugins.discover()).added
    talk.site.says.put_nowait(b"one")
    talk.site.says.put_nowait(None)
    async with talk.curl("--http2", "https") as curl:
        assert await curl.rest() == (b"<whole>$", 0)
