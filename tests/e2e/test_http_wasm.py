"""http-wasm handlers in a running proxy, seen by curl: edits, answers, bodies, trailers, errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.harness import BackgroundOrigin, Curl, ProxyProcess, free_ports
from tests.plugin_host.foreign.http_wasm.modules import at, handler, text

pytestmark = pytest.mark.tools("curl")

PATH = """(func $second (result i32)
    (drop (call $get_uri (i32.const 512) (i32.const 64))) (i32.load8_u (i32.const 513)))"""
ENABLE = "(drop (call $enable_features (i32.const {})))"


def only_for(letter: str, code: str) -> str:
    """Run `code` where the path begins with this letter."""
    return f"(if (i32.eq (call $second) (i32.const {ord(letter)})) (then {code}))"


STAMP = handler(
    "enable_features",
    "set_header_value",
    "remove_header",
    "set_status_code",
    "get_uri",
    start=ENABLE.format(2),
    more=text("x-request", "mine", "user-agent", "x-response") + PATH,
    request=f"""(call $set_header_value (i32.const 0) {at("x-request")} {at("mine", "x-request")})
        (call $remove_header (i32.const 0) {at("user-agent", "x-request", "mine")})""",
    answer="(i64.const 0x4100000001)",
    response=f"""(i32.store8 (i32.const 400) (local.get 0))
        (call $set_header_value (i32.const 1) {at("x-response", "x-request", "mine", "user-agent")}
            (i32.const 400) (i32.const 1))
        {only_for("s", "(call $set_status_code (i32.const 418))")}""",
)
"""Edits heads both ways; the context it gives with the request is what it answers with."""

GATE = handler(
    "get_uri",
    "set_status_code",
    "add_header_value",
    "write_body",
    more="(global $next (mut i64) (i64.const 1))" + text("set-cookie", "a=1", "not here.") + PATH,
    request="(global.set $next (i64.const 1))"
    + only_for(
        "d",
        f"""(call $set_status_code (i32.const 403))
        (call $add_header_value (i32.const 1) {at("set-cookie")} {at("a=1", "set-cookie")})
        (call $write_body (i32.const 1) {at("not here.", "set-cookie", "a=1")})
        (global.set $next (i64.const 0))""",
    ),
    answer="(global.get $next)",
)
"""Answers by itself what begins with /d."""

DOUBLE = """(local $n i32)
    (local.set $n (i32.wrap_i64
        (call $read_body (i32.const {kind}) (i32.const 1024) (i32.const 60000))))
    (call $write_body (i32.const {kind}) (i32.const 1024) (local.get $n))
    (call $write_body (i32.const {kind}) (i32.const 1024) (local.get $n))"""
BODIES = handler(
    "enable_features",
    "read_body",
    "write_body",
    start=ENABLE.format(3),
    request=DOUBLE.format(kind=0),
    response=DOUBLE.format(kind=1),
)
"""Says everything twice."""

TRAILERS = handler(
    "enable_features",
    "add_header_value",
    "get_header_values",
    "log",
    start=ENABLE.format(6),
    more=text("x-sum", "42"),
    response=f"(call $add_header_value (i32.const 3) {at('x-sum')} {at('42', 'x-sum')})",
)

CLEANING = handler(
    "log",
    "get_source_addr",
    "get_protocol_version",
    more=text("broke"),
    request="""(call $log (i32.const 0) (i32.const 600)
            (call $get_protocol_version (i32.const 600) (i32.const 60)))
        (call $log (i32.const 0) (i32.const 600)
            (call $get_source_addr (i32.const 600) (i32.const 60)))""",
    response=f"(if (local.get 1) (then (call $log (i32.const 2) {at('broke')})))",
)


REPLACING = handler(
    "enable_features",
    "write_body",
    start=ENABLE.format(2),
    more=text("asked", "told"),
    request=f"(call $write_body (i32.const 0) {at('asked')})",
    response=f"(call $write_body (i32.const 1) {at('told', 'asked')})",
)
"""Puts bodies in the place of others that it never reads."""

Serve = Callable[..., Curl]


@pytest.fixture
def serve(tmp_path: Path, origin: BackgroundOrigin) -> Iterator[Serve]:
    """Starts a proxy with these handlers as plugins; returns curl behind it."""
    with ExitStack() as stack:

        def start(**handlers: bytes) -> Curl:
            plugins = tmp_path / "plugins"
            plugins.mkdir()
            for name, module in handlers.items():
                (plugins / f"{name}.wasm").write_bytes(module)
            arguments = ("--upstream-ca", str(origin.ca), "--plugins", str(plugins))
            running = stack.enter_context(ProxyProcess.running(tmp_path, *arguments))
            return Curl(running, tmp_path)

        yield start


def logged(directory: Path) -> str:
    return (directory / "serve.log").read_text(encoding="utf-8")


def await_log(directory: Path, text: str) -> None:
    """Wait until the proxy has logged something."""
    while text not in logged(directory):
        time.sleep(0.02)


each_version = pytest.mark.parametrize("flag", ["--http1.1", "--http2"])


@each_version
def test_heads_are_edited_both_ways(serve: Serve, origin: BackgroundOrigin, flag: str) -> None:
    curl = serve(stamp=STAMP)
    answer = curl(f"https://localhost:{origin.https}/headers", flag)
    assert answer.status == 200
    fields = {name.lower(): value for name, value in json.loads(answer.body)["fields"]}
    assert fields["x-request"] == "mine"
    assert "user-agent" not in fields
    assert answer.values("x-response") == ["A"]
    assert curl(f"https://localhost:{origin.https}/status/200", flag).status == 418


@each_version
def test_a_handler_answers_in_the_place_of_the_origin(
    serve: Serve, origin: BackgroundOrigin, flag: str
) -> None:
    curl = serve(gate=GATE)
    origin.recording.requests.clear()
    denied = curl(f"https://localhost:{origin.https}/denied", flag)
    assert (denied.status, denied.body) == (403, b"not here.")
    assert denied.values("set-cookie") == ["a=1"]
    assert denied.values("content-length") == ["9"]
    assert not origin.recording.requests
    assert curl(f"https://localhost:{origin.https}/headers", flag).status == 200


@each_version
def test_bodies_are_read_and_written_both_ways(
    serve: Serve, origin: BackgroundOrigin, flag: str
) -> None:
    curl = serve(bodies=BODIES)
    url = f"https://localhost:{origin.https}/echo"
    answer = curl(url, flag, "-d", "abc")
    assert (answer.status, answer.body) == (200, b"abcabcabcabc")
    assert answer.values("content-length") == ["12"]
    chunked = curl(url, flag, "-d", "x" * 5000, "-H", "Transfer-Encoding: chunked")
    assert chunked.body == b"x" * 20_000


@each_version
@pytest.mark.parametrize("size", [0, 10, 300_000, 20_000_000])
def test_a_request_is_given_another_body_whatever_it_had(
    serve: Serve, origin: BackgroundOrigin, tmp_path: Path, flag: str, size: int
) -> None:
    curl = serve(replacing=REPLACING)
    sent = tmp_path / "sent"
    sent.write_bytes(b"x" * size)
    origin.recording.requests.clear()
    answer = curl(f"https://localhost:{origin.https}/upload", flag, "--data-binary", f"@{sent}")
    assert (answer.code, answer.status, answer.body) == (0, 200, b"told")
    (seen,) = origin.recording.requests
    assert (seen.size, seen.values(b"content-length")) == (5, [b"5"])
    again = curl(f"https://localhost:{origin.https}/headers", flag)
    assert (again.status, again.body) == (200, b"told")


@each_version
@pytest.mark.parametrize("path", ["/bytes/20000000", "/bytes/0", "/events"])
def test_a_response_is_given_another_body_whatever_it_had(
    serve: Serve, origin: BackgroundOrigin, flag: str, path: str
) -> None:
    curl = serve(replacing=REPLACING)
    for _ in range(2):
        answer = curl(f"https://localhost:{origin.https}{path}", flag)
        assert (answer.code, answer.status, answer.body) == (0, 200, b"told")
        assert answer.values("content-length") == ["4"]


def test_handlers_work_one_after_the_other(serve: Serve, origin: BackgroundOrigin) -> None:
    curl = serve(a_stamp=STAMP, b_bodies=BODIES, c_gate=GATE)
    answer = curl(f"http://127.0.0.1:{origin.http}/echo", "-d", "ab")
    assert (answer.body, answer.values("x-response")) == (b"ab" * 4, ["A"])
    denied = curl(f"http://127.0.0.1:{origin.http}/d")
    assert (denied.status, denied.values("x-response")) == (403, ["A"])


def test_trailers_are_added_behind_the_body(serve: Serve, origin: BackgroundOrigin) -> None:
    curl = serve(trailers=TRAILERS)
    answer = curl(f"http://127.0.0.1:{origin.http}/trailers", "--raw")
    tail = answer.body.rpartition(b"\r\n0\r\n")[2].lower()
    assert b"x-checksum: 5f70bf18\r\n" in tail
    assert b"x-sum: 42\r\n" in tail


def test_a_handler_is_told_when_there_was_no_response(
    serve: Serve, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    curl = serve(cleaning=CLEANING)
    (port,) = free_ports(1)
    assert curl(f"http://127.0.0.1:{port}/").status == 502
    await_log(tmp_path, "ERROR cleaning #1: broke")
    assert "cleaning #1: HTTP/1.1" in logged(tmp_path)
    assert "cleaning #1: 127.0.0.1:" in logged(tmp_path)
    assert curl(f"http://127.0.0.1:{origin.http}/").status == 200


def test_a_handler_that_traps_harms_no_flow(
    serve: Serve, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    bad = handler("get_uri", request="(drop (call $get_uri (i32.const -1) (i32.const 100)))")
    curl = serve(bad=bad, stamp=STAMP)
    answer = curl(f"http://127.0.0.1:{origin.http}/headers")
    assert (answer.status, answer.values("x-response")) == (200, ["A"])
    await_log(tmp_path, "was stopped in get_uri: 8 bytes at 4294967295 outside its memory")
