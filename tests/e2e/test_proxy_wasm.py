"""Proxy-Wasm filters in a running proxy, seen by curl: what each part of the ABI does to flows."""

from __future__ import annotations

import asyncio
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from int3rceptor_tui.demo.messages import RequestRecord
from proxy_core.plugin_host.belongings.grants import Grants, hash_of
from tests.e2e.harness import BackgroundOrigin, Curl, ProxyProcess
from tests.e2e.wires import Wires
from tests.plugin_host.foreign.filters import build
from tests.plugin_host.foreign.proxy_wasm.filters import CONTINUE, add, filter_of, on

pytestmark = pytest.mark.tools("curl")

LIMITS = "\n[limits]\ndeadline_ms = 500\nlog_lines_per_second = 1000\n"

MARK = filter_of(
    on("request_headers", 3, add(0, (100, 6), (110, 2)) + CONTINUE),
    on("response_headers", 3, add(2, (100, 6), (110, 2)) + CONTINUE),
    on(
        "response_body",
        3,
        """(drop (call $set_buffer_bytes (i32.const 1) (i32.const -1) (i32.const 0)
        (i32.const 110) (i32.const 2))) (i32.const 0)""",
    ),
    on(
        "downstream_data",
        3,
        """(drop (call $set_buffer_bytes (i32.const 2) (i32.const 0) (i32.const 0)
        (i32.const 110) (i32.const 2))) (i32.const 0)""",
    ),
    texts={100: b"x-mark", 110: b"it"},
)
"""In WebAssembly text, so that it runs where there is no compiler."""


class Served:
    """A proxy with one filter, and curl behind it."""

    def __init__(self, proxy: ProxyProcess, directory: Path, origin: BackgroundOrigin) -> None:
        self.proxy = proxy
        self.curl = Curl(proxy, directory)
        self.url = f"http://127.0.0.1:{origin.http}"
        self._directory = directory
        self._origin = origin

    @property
    def log(self) -> str:
        return (self._directory / "serve.log").read_text(encoding="utf-8")

    def await_log(self, text: str) -> None:
        while text not in self.log:
            time.sleep(0.02)

    def received(self, path: str, *arguments: str) -> dict[str, str]:
        """Ask for a path; return the fields that the origin saw."""
        self._origin.recording.requests.clear()
        self.curl(self.url + path, *arguments)
        (record,) = self._origin.recording.requests
        return fields_of(record)


def fields_of(record: RequestRecord) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in record.fields}


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path, origin: BackgroundOrigin) -> Iterator[Serve]:
    """Starts a proxy with a module as the plugin `filter`, and what its manifest says besides."""
    with ExitStack() as stack:

        def start(module: bytes, manifest: str = "", network: str = "", config: str = "") -> Served:
            place = tmp_path / "plugins" / "filter"
            place.mkdir(parents=True)
            (place / "filter.wasm").write_bytes(module)
            if config:
                (place / "config.txt").write_text(config, encoding="utf-8")
                manifest = f'config_file = "config.txt"\n{manifest}'
            (place / "plugin.toml").write_text(
                f'name = "filter"\nwasm = "filter.wasm"\n{manifest}', encoding="utf-8"
            )
            if network:
                (tmp_path / "data").mkdir(mode=0o700)
                grants = Grants(tmp_path / "data", pytest.fail)
                grants.decide("filter", hash_of(module), "network", [network], True)
            arguments = ("--upstream-ca", str(origin.ca), "--plugins", str(place.parent))
            running = stack.enter_context(ProxyProcess.running(tmp_path, *arguments))
            return Served(running, tmp_path, origin)

        yield start


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build("exchange.c", tmp_path_factory.mktemp("built"))


@pytest.fixture
def filtered(serve: Serve, exchange: bytes) -> Served:
    """The filter in C, greeting with what it is configured to."""
    manifest = f'[proxy_wasm]\nroot_id = "my root"\nvm_config = "the vm"{LIMITS}'
    return serve(exchange, manifest, config="hello")


@pytest.mark.parametrize("flag", ["--http1.1", "--http2"])
def test_text_marks_messages_both_ways(serve: Serve, origin: BackgroundOrigin, flag: str) -> None:
    served = serve(MARK)
    origin.recording.requests.clear()
    answer = served.curl(f"https://localhost:{origin.https}/echo", flag, "-d", "abc")
    (record,) = origin.recording.requests
    assert fields_of(record)["x-mark"] == "it"
    assert answer.values("x-mark") == ["it"]
    assert answer.body == b"abcit"


def test_text_answers_amid_a_body_that_is_not_gathered(
    serve: Serve, origin: BackgroundOrigin
) -> None:
    respond = """(drop (call $send_local_response (i32.const 418) (i32.const 0) (i32.const 0)
        (i32.const 100) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const -1))) (i32.const 1)"""
    served = serve(filter_of(on("request_body", 3, respond), texts={100: b"tea"}))
    answer = served.curl(
        f"{served.url}/upload", "-d", "x" * 1000, "-H", "Content-Type: application/grpc"
    )
    assert (answer.status, answer.body) == (418, b"tea")


def test_text_marks_trailers_of_a_body_in_chunks(serve: Serve, origin: BackgroundOrigin) -> None:
    served = serve(
        filter_of(
            on("response_trailers", 2, add(3, (100, 6), (110, 2)) + CONTINUE),
            texts={100: b"x-mark", 110: b"it"},
        )
    )
    answer = served.curl(f"{served.url}/trailers", "--raw", "-H", "TE: trailers")
    tail = answer.body.rpartition(b"\r\n0\r\n")[2].lower()
    assert b"x-checksum: 5f70bf18\r\n" in tail
    assert b"x-mark: it\r\n" in tail


async def test_text_marks_bytes_of_a_tunnel(serve: Serve, origin: BackgroundOrigin) -> None:
    served = serve(MARK, '[proxy_wasm]\nkind = "stream"')
    wires = Wires(served.proxy)
    reader, writer = await wires.connect(f"127.0.0.1:{origin.echo}")
    assert await reader.readline() == b"220 speak, friend\r\n"
    writer.write(b"hello")
    assert await reader.readexactly(7) == b"ithello"
    await wires.close()


def test_headers_and_path_are_edited(filtered: Served, origin: BackgroundOrigin) -> None:
    origin.recording.requests.clear()
    answer = filtered.curl(f"{filtered.url}/edit", "-H", "X-Replaced: old", "-H", "X-Removed: y")
    (record,) = origin.recording.requests
    assert record.target == b"/edited?yes"
    fields = fields_of(record)
    assert (fields["x-replaced"], fields["x-added"]) == ("new", "hello")
    assert "x-removed" not in fields
    assert answer.values("x-filter") == ["was here"]
    assert answer.values("server") == []


def test_bodies_are_rewritten_both_ways(filtered: Served) -> None:
    answer = filtered.curl(f"{filtered.url}/echo", "-d", "some text", "-H", "X-Capitals: yes")
    assert answer.body == b"RESPONSE: REQUEST: SOME TEXT"
    assert answer.values("content-length") == [str(len(answer.body))]
    chunked = ("-H", "Transfer-Encoding: chunked")
    answer = filtered.curl(
        f"{filtered.url}/echo", "-d", "x" * 5000, "-H", "X-Capitals: yes", *chunked
    )
    assert answer.body == b"RESPONSE: REQUEST: " + b"X" * 5000


def test_the_filter_answers_itself(filtered: Served, origin: BackgroundOrigin) -> None:
    origin.recording.requests.clear()
    answer = filtered.curl(f"{filtered.url}/local")
    assert (answer.status, answer.body) == (418, b"made here\n")
    assert answer.values("x-by") == ["the filter"]
    assert not origin.recording.requests


def test_properties_tell_of_the_flow(filtered: Served) -> None:
    fields = filtered.received("/properties")
    assert (fields["x-method"], fields["x-plugin"]) == ("GET", "filter")
    assert fields["x-root"] == "my root"
    assert int(fields["x-port"]) > 0


def test_shared_data_counts_by_compare_and_swap(filtered: Served) -> None:
    for count in ("1", "2", "3"):
        fields = filtered.received("/count")
        assert (fields["x-count"], fields["x-stale"]) == (count, "8")


def test_what_is_queued_is_told_and_what_is_logged_is_shown(filtered: Served) -> None:
    filtered.curl(f"{filtered.url}/queue")
    filtered.await_log("one job")
    filtered.await_log("/queue 404")
    filtered.await_log("the vm")


def test_metrics_are_counted(filtered: Served) -> None:
    assert filtered.received("/metrics")["x-hits"] == "1"
    assert filtered.received("/metrics")["x-hits"] == "2"


def test_foreign_functions_are_unimplemented(filtered: Served) -> None:
    assert filtered.received("/foreign")["x-foreign"] == "12"


def test_ticks_come_until_they_are_switched_off(serve: Serve, exchange: bytes) -> None:
    served = serve(exchange, config="tick")
    served.await_log("ticked three times")
    assert served.received("/ticks")["x-ticks"] == "3"


def test_a_flow_that_nobody_resumes_goes_on(filtered: Served) -> None:
    fields = filtered.received("/stuck")
    assert fields["host"].startswith("127.0.0.1")
    filtered.await_log("paused the flow, and nothing has let it go on for 0.5 s")


def test_a_flow_gets_502_where_the_plugin_fails_closed(serve: Serve, exchange: bytes) -> None:
    served = serve(exchange, f'on_failure = "closed"{LIMITS}')
    assert served.curl(f"{served.url}/trap").status == 502
    assert served.curl(f"{served.url}/stuck").status == 502
    assert served.curl(f"{served.url}/close").status == 403
    assert served.curl(f"{served.url}/echo").status == 200


def test_a_trap_harms_no_flow(filtered: Served) -> None:
    assert filtered.received("/trap")
    filtered.await_log("unreachable")
    assert filtered.received("/count")["x-count"] == "1"


class TokenServer:
    """An origin of its own that hands out a token once it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.asked = threading.Event()
        self.seen: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.seen.append(f"{self.path} {self.headers['x-for']}")
                outer.asked.set()
                outer.let.wait(10)
                self.send_response(200)
                self.send_header("Content-Length", "6")
                self.end_headers()
                self.wfile.write(b"s3cret")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.let.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    server = TokenServer()
    yield server
    server.close()


async def test_a_flow_waits_for_the_filters_own_call_while_others_go_on(
    serve: Serve, exchange: bytes, tokens: TokenServer, origin: BackgroundOrigin
) -> None:
    here = f"127.0.0.1:{tokens.port}"
    manifest = f'[permissions]\nnetwork = ["{here}"]\n'
    manifest += f'[proxy_wasm.upstreams]\nauth = "http://{here}"\n'
    served = serve(exchange, manifest, here)
    origin.recording.requests.clear()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(asyncio.to_thread(served.curl, f"{served.url}/call"))
        await asyncio.to_thread(tokens.asked.wait)
        other = await asyncio.to_thread(served.curl, f"{served.url}/count")
        assert other.values("x-filter") == ["was here"]
        assert not waiting.done()
        tokens.let.set()
    (record,) = origin.recording.of("/call")
    fields = fields_of(record)
    assert (fields["x-status"], fields["x-token"]) == ("200", "s3cret")
    assert tokens.seen == ["/token filter"]


def test_a_call_needs_the_permission(filtered: Served) -> None:
    assert filtered.received("/call")["x-call"] == "10"


async def test_bytes_of_a_tunnel_pass_a_filter_line_by_line(
    serve: Serve, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    served = serve(build("stream.c", tmp_path))
    wires = Wires(served.proxy)
    reader, writer = await wires.connect(f"127.0.0.1:{origin.echo}")
    assert await reader.readexactly(20) == b"220 speak, friend\r\n<"
    writer.write(b"hello\n")
    assert await reader.readexactly(7) == b"HELLO\n<"
    writer.write_eof()
    assert await reader.read() in (b"", b"<")
    await asyncio.to_thread(served.await_log, "over")
    assert "a connection" in served.log
    assert "the client is gone" in served.log
    await wires.close()


def test_a_filter_of_the_first_version(
    serve: Serve, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    served = serve(build("headers.rs", tmp_path), '[config]\ngreeting = "hello"\n')
    fields = served.received("/echo", "-A", "me")
    assert (fields["x-agent"], fields["x-absent"]) == ("me", "")
    served.await_log('{"greeting":"hello"}')
    answer = served.curl(f"{served.url}/echo", "-d", "Some Text")
    assert answer.values("x-was") == ["200"]
    assert answer.body == b"sOME tEXT"


@pytest.mark.timeout(120)  # Go compiles its runtime where it has not done so before
def test_a_filter_in_go(serve: Serve, tmp_path: Path) -> None:
    served = serve(build("greet.go", tmp_path), config="hello")
    served.await_log("configured with hello")
    assert served.received("/echo")["x-greeting"] == "hello"
    answer = served.curl(f"{served.url}/echo", "-d", "some text")
    assert (answer.values("x-seen"), answer.body) == (["200"], b"SOME TEXT")
    denied = served.curl(f"{served.url}/closed")
    assert (denied.status, denied.body) == (403, b"NOT TODAY\n")
    assert denied.values("x-seen") == ["403"]
