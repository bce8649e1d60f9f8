"""Filters that hold a head back until they have seen its body, which comes as it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from proxy_core.model.log_line import LogLevel
from tests.e2e.dialogue import Talk, each_way, talking
from tests.e2e.plugged import put_module
from tests.plugin_host.foreign.proxy_wasm.filters import CONTINUE, PAUSE, add, filter_of, on, text
from tests.plugin_host.guests import importing, wasm
from tests.waiting import until

pytestmark = pytest.mark.tools("curl")

LONG = "\n[limits]\ndeadline_ms = 60000\n"
STREAMS = ("-H", "Content-Type: application/grpc")
"""A body of this type is never gathered."""


def rewriting(mark: bytes) -> bytes:
    """A filter that holds a message back until it is whole, and puts `mark` before its body and
    into its head. A body that begins with ! is let go at once."""
    said = len(mark)

    def body(number: int, map_number: int) -> str:
        first = f"""(drop (call $get_buffer_bytes (i32.const {number}) (i32.const 0) (i32.const 1)
            (global.get $address) (global.get $length)))"""
        return f"""(if (i32.and (i32.eqz (local.get 2)) (i32.gt_u (local.get 1) (i32.const 0)))
            (then {first} (if (i32.eq (i32.load8_u (i32.load (global.get $address)))
                (i32.const 33)) (then (return {CONTINUE})))))
          (if (i32.eqz (local.get 2)) (then (return {PAUSE})))
          {add(map_number, (100, 6), (110, said))}
          (drop (call $set_buffer_bytes (i32.const {number}) (i32.const 0) (i32.const 0)
            {text(110, said)})) {CONTINUE}"""

    return filter_of(
        on("request_headers", 3, "(i32.eqz (local.get 2))"),
        on("request_body", 3, body(0, 0)),
        on("response_headers", 3, "(i32.eqz (local.get 2))"),
        on("response_body", 3, body(1, 2)),
        texts={100: b"x-mark", 110: mark},
    )


@pytest.fixture
async def talk(
    certificate: OriginCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Talk]:
    monkeypatch.setenv("HOME", str(tmp_path))
    put_module(tmp_path / "plugins", "filter", rewriting(b"it"), LONG)
    async with talking(tmp_path, certificate) as made:
        yield made


def errors(talk: Talk) -> list[str]:
    return [line.text for line in talk.core.plugins.logs.snapshot() if line.level > LogLevel.WARN]


@each_way
async def test_a_response_is_rewritten_before_its_head_goes_on(
    talk: Talk, flag: str, way: str
) -> None:
    async with talk.curl(flag, way, "-i") as curl:
        for piece in (b"one", b"two", None):
            talk.site.says.put_nowait(piece)
        out, code = await curl.rest()
    assert code == 0
    assert b"x-mark: it\r\n" in out
    assert out.endswith(b"\r\n\r\nitonetwo")
    assert errors(talk) == []
    flow = await talk.flow()
    assert flow.response_body is not None
    assert flow.response_body.kept == b"itonetwo"


@each_way
async def test_a_response_is_let_go_in_the_middle_of_its_body(
    talk: Talk, flag: str, way: str
) -> None:
    async with talk.curl(flag, way) as curl:
        talk.site.says.put_nowait(b"!go")
        assert await curl.out.readexactly(3) == b"!go"
        talk.site.says.put_nowait(b"two")
        talk.site.says.put_nowait(None)
        assert await curl.rest() == (b"ittwo", 0)


@each_way
async def test_a_request_that_streams_is_rewritten_before_its_head_goes_on(
    talk: Talk, flag: str, way: str
) -> None:
    async with talk.curl(flag, way, "-T", ".", "-X", "POST", *STREAMS) as curl:
        for piece in (b"one", b"two"):
            curl.feed.write(piece)
            await curl.feed.drain()
        curl.feed.write_eof()
        out, code = await curl.rest()
    assert (out, code) == (b"itheard", 0)
    (seen,) = talk.recording.requests
    assert seen.values(b"x-mark") == [b"it"]
    assert (await talk.flow()).request_body.kept == b"itonetwo"
    assert errors(talk) == []


@each_way
async def test_a_client_that_waits_to_be_asked_is_asked(talk: Talk, flag: str, way: str) -> None:
    async with talk.curl(flag, way, "-d", "abc", "-H", "Expect: 100-continue", *STREAMS) as curl:
        assert await curl.rest() == (b"itheard", 0)
    (seen,) = talk.recording.requests
    assert (seen.values(b"x-mark"), seen.values(b"expect")) == ([b"it"], [])
    assert (await talk.flow()).request_body.kept == b"itabc"


async def test_a_client_that_goes_while_its_body_is_awaited_ends_the_flow(talk: Talk) -> None:
    async with talk.curl("--http1.1", "http", "-T", ".", "-X", "POST", *STREAMS) as curl:
        curl.feed.write(b"one")
        await curl.feed.drain()
        await until(lambda: talk.core.flows)
        curl.process.kill()
        flow = await talk.flow()
    assert flow.summary.error is not None
    assert "internal error" not in " ".join(errors(talk))


@each_way
async def test_an_origin_that_breaks_off_gives_502(talk: Talk, flag: str, way: str) -> None:
    talk.site.breaks_off = True
    async with talk.curl(flag, way, "-w", "%{http_code}") as curl:
        talk.site.says.put_nowait(b"one")
        talk.site.says.put_nowait(None)
        out, _ = await curl.rest()
    assert out.endswith(b"502")
    assert errors(talk) == []


BEFORE = wasm(
    f"""(module {importing("host_set_body", 2)} {importing("host_get_body", 3)}
  (memory (export "memory") 2) (data (i32.const 0) "<")
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func (export "on_response_chunk") (result i32) (local $n i32)
    (local.set $n (call $get_body (i32.const 0) (i32.const 1) (i32.const 1000)))
    (if (local.get $n) (then (drop (call $set_body (i32.const 0)
      (i32.add (local.get $n) (i32.const 1))))))
    i32.const 0))"""
)
"""Puts < before each piece."""


async def test_bodies_that_are_read_ahead_go_through_plugins_in_their_order(
    talk: Talk, tmp_path: Path
) -> None:
    plugins = tmp_path / "plugins"
    put_module(plugins, "before", BEFORE, "priority = 50")
    put_module(plugins, "behind", BEFORE, "priority = 200")
    put_module(plugins, "last", rewriting(b"last"), f"priority = 300{LONG}")
    await talk.core.plugins.discover()
    for piece in (b"one", None):
        talk.site.says.put_nowait(piece)
    async with talk.curl("--http1.1", "http", "-i") as curl:
        out, code = await curl.rest()
    assert code == 0
    assert out.endswith(b"last<it<one")
    assert b"x-mark: it\r\nx-mark: last\r\n" in out
    assert errors(talk) == []
