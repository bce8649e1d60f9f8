"""A plugin asks another origin through a running core, and cannot ask the proxy itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import wasmtime

from proxy_core.config import Settings
from proxy_core.core import Core

ASK = r"""
(module
  (import "env" "host_http_request" (func $ask (param i32 i32 i32 i32) (result i32)))
  (import "env" "host_respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "GET http://127.0.0.1:PORT/\n\n")
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func (export "on_request") (result i32) (local $n i32)
    (local.set $n (call $ask (i32.const 0) (i32.const LENGTH) (i32.const 1024) (i32.const 4096)))
    (if (i32.lt_s (local.get $n) (i32.const 0)) (then (return (i32.const 1))))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0)
      (i32.const 1024) (local.get $n)))
    i32.const 3))
"""


async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 203 Fine\r\nX: y\r\nContent-Length: 4\r\n\r\ndata")
    await writer.drain()
    writer.close()


async def through(core: Core, port: int) -> bytes:
    """Load a plugin that asks that port, send a request, return what comes back."""
    place = core.settings.plugins[0] / "ask"
    text = ASK.replace("PORT", str(port)).replace(
        "LENGTH", str(len(f"GET http://127.0.0.1:{port}/\n\n"))
    )
    await asyncio.to_thread(place.mkdir, parents=True)
    await asyncio.to_thread((place / "ask.wasm").write_bytes, wasmtime.wat2wasm(text))
    manifest = (
        'name = "ask"\nwasm = "ask.wasm"\n[permissions]\nmodify_requests = true\n'
        'network = ["127.0.0.1"]\n'
    )
    await asyncio.to_thread((place / "plugin.toml").write_text, manifest)
    assert "ask" in (await core.plugins.discover()).added
    await core.plugins.decide_permission("ask", "network", True)
    host, _, own = core.listening[0].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(own))
    writer.write(
        b"GET http://example.test/ HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("itself", [False, True])
async def test_an_origin_answers_and_the_proxy_itself_is_refused(
    itself: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    core = Core(Settings(listen_port=0, data_dir=tmp_path / "d", plugins=(tmp_path / "p",)))
    await asyncio.to_thread((tmp_path / "p").mkdir)
    await core.start()
    server = await asyncio.start_server(origin, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        answer = await through(core, int(core.listening[0].rpartition(":")[2]) if itself else port)
        if itself:
            assert answer.startswith(b"HTTP/1.1 403")
        else:
            assert answer.endswith(b"203 Fine\nX: y\nContent-Length: 4\n\ndata")
    finally:
        server.close()
        await core.stop()
