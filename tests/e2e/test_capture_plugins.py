"""Captured copies that a plugin annotates and masks, seen through the API; the wire sees neither.

One plugin takes out of every finished flow what the tests put in as secrets, and logs what it read.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from proxy_core.config import Limits
from proxy_core.config.limits import MIB
from tests.e2e.harness import BackgroundOrigin, Curl, ProxyProcess, free_ports
from tests.e2e.inside import Inside
from tests.e2e.plugged import put_module
from tests.e2e.test_api import Api
from tests.e2e.test_curl import over_all, site
from tests.plugin_host.guests import guest, importing, wasm
from tests.waiting import until

pytestmark = pytest.mark.tools("curl")

SECRET = "c0ffee-4711"
EARLY = guest(
    "(drop (call $remove_header (i32.const 0) (i32.const 13))) i32.const 0",
    imports=importing("host_remove_header", 2) + '(data (i32.const 0) "authorization")',
)
each_size = pytest.mark.parametrize("size", [MIB, MIB + 1, 3 * MIB])
MASK = wasm(
    f"""(module {importing("host_get_header", 4)} {importing("host_set_header", 4)}
    {importing("host_get_body", 3)} {importing("host_set_body", 2)}
    {importing("host_get_field", 3)} {importing("host_set_field", 3)}
    {importing("host_remove_header", 2)} {importing("host_annotate", 4)} {importing("host_log", 3)}
  (memory (export "memory") 40)
  (data (i32.const 0) "request") (data (i32.const 16) "response")
  (data (i32.const 32) "authorization") (data (i32.const 64) "set-cookie")
  (data (i32.const 80) "proxy-authorization") (data (i32.const 128) "tag")
  (data (i32.const 144) "masked")
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (data (i32.const 160) "message ")
  (func $header (param $at i32) (param $n i32)
    (if (i32.ge_s (call $get_header
          (local.get $at) (local.get $n) (i32.const 0) (i32.const 0)) (i32.const 0))
      (then (drop (call $set_header
        (local.get $at) (local.get $n) (i32.const 144) (i32.const 6))))))
  (func $message (param $at i32) (param $n i32) (local $length i32)
    (if (call $set_field (i32.const 16) (local.get $at) (local.get $n)) (then (return)))
    (drop (call $remove_header (i32.const 80) (i32.const 19)))
    (call $header (i32.const 32) (i32.const 13))
    (call $header (i32.const 64) (i32.const 10))
    (local.set $length (call $get_body (i32.const 0) (i32.const 8192) (i32.const 60)))
    (if (i32.gt_s (local.get $length) (i32.const 0)) (then
      (drop (call $log (i32.const 1) (i32.const 8192)
        (select (local.get $length) (i32.const 60)
          (i32.lt_u (local.get $length) (i32.const 60)))))
      (drop (call $set_body (i32.const 144) (i32.const 6))))))
  (func $url (local $n i32) (local $i i32)
    (local.set $n (call $get_field (i32.const 1) (i32.const 1024) (i32.const 4096)))
    (block $end (loop $next
      (br_if $end (i32.ge_s (local.get $i) (local.get $n)))
      (if (i32.eq (i32.load8_u offset=1024 (local.get $i)) (i32.const {ord("?")})) (then
        (drop (call $set_field (i32.const 1) (i32.const 1024) (local.get $i))) (br $end)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next))))
  (func (export "on_capture") (result i32) (local $number i32)
    (call $message (i32.const 0) (i32.const 7))
    (call $url)
    (call $message (i32.const 16) (i32.const 8))
    (loop $next
      (i32.store8 (i32.const 168) (i32.add (local.get $number) (i32.const 48)))
      (if (i32.eqz (call $set_field (i32.const 16) (i32.const 160) (i32.const 9))) (then
        (drop (call $set_body (i32.const 144) (i32.const 6)))
        (local.set $number (i32.add (local.get $number) (i32.const 1)))
        (br $next))))
    (drop (call $annotate (i32.const 128) (i32.const 3) (i32.const 144) (i32.const 6)))
    i32.const 0))"""
)


@pytest.fixture(scope="module")
def proxy(
    origin: BackgroundOrigin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyProcess]:
    """A proxy with the plugin, and its API."""
    directory = tmp_path_factory.mktemp("mask")
    put_module(directory / "plugins", "mask", MASK, "[limits]\nmemory_mb = 20")
    arguments = ("--upstream-ca", str(origin.ca), "--plugins", str(directory / "plugins"))
    with ProxyProcess.running(directory, *arguments, "--api", "127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="module")
def api(proxy: ProxyProcess) -> Api:
    return Api(proxy, proxy.data_dir)


def captured(api: Api) -> Any:
    """The newest flow, once the plugin is through with it."""
    flow: Any = None
    while flow is None or "tag" not in flow["annotations"]:
        newest = api.get("/api/flows?limit=1")["flows"][-1]["id"]
        flow = api.get(f"/api/flows/{newest}")
    return flow


def told(document: Any) -> Iterator[str]:
    """Every text in a document, and what lies in base64."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name.endswith("base64") and value is not None:
                yield base64.b64decode(value).decode("latin-1")
            else:
                yield from told(value)
    elif isinstance(document, list):
        for value in document:
            yield from told(value)
    elif isinstance(document, str):
        yield document


def assert_masked(flow: Any) -> None:
    assert [text for text in told(flow) if SECRET in text] == []
    assert flow["annotations"] == {"tag": "masked"}


@over_all
def test_what_was_captured_is_masked_and_what_went_over_the_wire_is_not(
    curl: Curl, api: Api, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    url = site(origin, way) + f"/echo?token={SECRET}"
    answer = curl(url, flag, "-H", f"Authorization: Bearer {SECRET}", "-d", f"key={SECRET}")
    assert answer.body == f"key={SECRET}".encode()
    seen = origin.recording.of("/echo")[-1]
    assert seen.values(b"authorization") == [f"Bearer {SECRET}".encode()]
    assert seen.target == f"/echo?token={SECRET}".encode()
    flow = captured(api)
    assert_masked(flow)
    assert flow["summary"]["path"] == "/echo"
    assert flow["request_body"]["text"] == flow["response_body"]["text"] == "masked"
    assert flow["notes"] == ["the captured copy was changed by plugin mask"]
    lines = api.get("/api/plugins/mask/logs?level=info")["lines"]
    assert [line["text"] for line in lines if line["flow_id"] == flow["summary"]["id"]] == [
        f"key={SECRET}"
    ] * 2


@pytest.mark.parametrize("path", ["/cookies", "/cut", "/reset", "/trailers", "/status/204"])
def test_flows_that_end_in_some_other_way_are_masked(
    curl: Curl, api: Api, origin: BackgroundOrigin, path: str
) -> None:
    curl(f"{site(origin, 'https1')}{path}?token={SECRET}", "-H", f"Authorization: {SECRET}")
    flow = captured(api)
    assert_masked(flow)
    assert flow["summary"]["path"] == path
    cookies = [f["value"] for f in flow["response"]["headers"] if f["name"] == "set-cookie"]
    assert set(cookies) <= {"masked"}


def test_a_flow_without_an_origin_is_masked(curl: Curl, api: Api) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/?token={SECRET}"
    assert curl(url, "-H", f"Authorization: {SECRET}", "-d", SECRET).status == 502
    flow = captured(api)
    assert_masked(flow)
    assert flow["summary"]["error"] is not None


@each_size
def test_a_body_of_which_only_the_beginning_was_kept_is_masked(
    curl: Curl, api: Api, origin: BackgroundOrigin, tmp_path: Path, size: int
) -> None:
    large = tmp_path / "large"
    large.write_bytes((SECRET.encode() * (size // len(SECRET) + 1))[:size])
    answer = curl(site(origin, "https") + "/echo", "--data-binary", f"@{large}")
    assert answer.body == large.read_bytes()
    flow = captured(api)
    assert_masked(flow)
    assert flow["summary"]["request_size"] == size


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_messages_of_a_websocket_are_masked(api: Api) -> None:
    async with serve(_echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(
            f"ws://127.0.0.1:{port}/?token={SECRET}",
            proxy=api.proxy.url,
            additional_headers={"Authorization": SECRET},
        ) as connection:
            for message in (SECRET, SECRET.encode()):
                await connection.send(message)
                assert await connection.recv() == message
    flow = await asyncio.to_thread(captured, api)
    assert_masked(flow)
    assert [(m["opcode"], m["text"]) for m in flow["web_socket"]["messages"]][:4] == [
        (1, "masked"),
        (1, "masked"),
        (2, "masked"),
        (2, "masked"),
    ]


async def test_what_a_tunnel_carried_is_masked(api: Api, origin: BackgroundOrigin) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.proxy.port)
    writer.write(
        f"CONNECT 127.0.0.1:{origin.echo} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: {SECRET}\r\nProxy-Authorization: {SECRET}\r\n\r\n".encode()
    )
    await reader.readuntil(b"friend\r\n")
    writer.write(SECRET.encode())
    assert await reader.readexactly(len(SECRET)) == SECRET.encode()
    writer.close()
    flow = await asyncio.to_thread(captured, api)
    assert_masked(flow)
    assert flow["summary"]["kind"] == "tunnel"


async def test_what_others_have_taken_out_on_the_way_is_not_kept_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    put_module(tmp_path / "plugins", "early", EARLY, "priority = 1")
    put_module(tmp_path / "plugins", "mask", MASK, "[limits]\nmemory_mb = 20")
    house = Inside(tmp_path, Limits(), plugins=(tmp_path / "plugins",))
    await house.open()
    try:
        client = house.client()
        head = b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n" % ((house.origin.name,) * 2)
        await client.send(head + b"Authorization: %b\r\n\r\n" % SECRET.encode())
        origin = await house.origin.accept()
        assert SECRET.encode() not in await origin.read_head()
        await origin.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        await client.read_head()
        (flow,) = house.core.flows
        await until(lambda: flow.annotations)
        shown = await house.flow()
        assert shown.edited_by == ("plugin early",)
        assert (shown.request_received, shown.changes) == (None, ())
        assert SECRET.encode() not in shown.request.raw
    finally:
        await house.close()
