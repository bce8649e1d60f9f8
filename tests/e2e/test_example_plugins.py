"""The plugins that come with the program, at work in a running core."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from int3rceptor_tui.demo.client import ProxyClient
from proxy_core.config import Settings
from proxy_core.core import Core
from tests.e2e.conftest import StartProxy
from tests.e2e.harness import BackgroundOrigin, Curl
from tests.e2e.test_api import Api
from tests.waiting import until

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


@pytest.fixture
async def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Core]:
    monkeypatch.setenv("HOME", str(tmp_path))
    plugins = tmp_path / "plugins"
    for name in ("mock", "jwt-inspector"):
        shutil.copytree(PLUGINS / name, plugins / name)
    running = Core(Settings(listen_port=0, data_dir=tmp_path / "data", plugins=(plugins,)))
    await running.start()
    yield running
    await running.stop()


async def test_mock_answers_for_the_origin_and_lets_the_rest_go_on(
    core: Core, origin: BackgroundOrigin
) -> None:
    origin.recording.requests.clear()
    host, _, port = core.listening[0].rpartition(":")
    async with ProxyClient(host, int(port), core.ca_path).plain() as session:
        there = f"http://127.0.0.1:{origin.http}"
        mocked = await session.request("GET", f"{there}/int3-mock?x=1")
        assert (mocked.status, mocked.body) == (200, b'{"mock": true}')
        passed = await session.request("GET", f"{there}/other")
        assert b"there is no '/other' here" in passed.body  # the origin's word
    assert [record.target for record in origin.recording.requests] == [b"/other"]


async def test_what_mock_answers_is_edited_by_the_others(
    core: Core, tmp_path: Path, origin: BackgroundOrigin
) -> None:
    shutil.copytree(PLUGINS / "header-modifier", tmp_path / "plugins" / "header-modifier")
    await core.plugins.discover()
    host, _, port = core.listening[0].rpartition(":")
    async with ProxyClient(host, int(port), core.ca_path).plain() as session:
        mocked = await session.request("GET", f"http://127.0.0.1:{origin.http}/int3-mock")
    assert (mocked.status, mocked.body) == (200, b'{"mock": true}')
    assert (b"x-plugin-modified", b"true") in mocked.fields
    (flow,) = core.flows
    await until(lambda: flow.ended)
    assert [(change.by, change.of_response) for change in flow.changes] == [
        ("plugin header-modifier", True)
    ]


async def test_jwt_inspector_says_on_the_flow_what_the_token_says(
    core: Core, origin: BackgroundOrigin
) -> None:
    # {"alg":"none"}, {"sub":"ann","exp":1000}
    token = b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjEwMDB9."
    host, _, port = core.listening[0].rpartition(":")
    async with ProxyClient(host, int(port), core.ca_path).plain() as session:
        url = f"http://127.0.0.1:{origin.http}/other"
        await session.request("GET", url, [(b"authorization", b"Bearer " + token)])
    control = core.control()
    (summary,) = await control.flows()
    flow = await control.flow(summary.id)
    assert flow is not None
    assert flow.annotations == {
        "comment": "JWT alg=none sub=ann exp=1000 (expired)",
        "tag": "jwt jwt-expired jwt-none",
    }


def put_enabled(plugins: Path, name: str, config: str | None = None) -> None:
    """Copy a plugin, enabled, with `config` in the place of the one that it comes with."""
    place = plugins / name
    place.mkdir(parents=True)
    shutil.copy(PLUGINS / name / f"{name}.wasm", place)
    text = (PLUGINS / name / "plugin.toml").read_text(encoding="utf-8")
    text = text.replace("enabled = false", "enabled = true")
    if config is not None:
        text = text[: text.index("[config" if "\n[config" in text else "[[config")] + config
    (place / "plugin.toml").write_text(text, encoding="utf-8")


class Served:
    """`serve --api` with one plugin, and curl through it."""

    def __init__(self, start_proxy: StartProxy, directory: Path, origin: BackgroundOrigin) -> None:
        options = ("--plugins", str(directory / "plugins"), "--upstream-ca", str(origin.ca))
        self.proxy = start_proxy("--api", "127.0.0.1:0", *options)
        self.api = Api(self.proxy, directory)
        self.curl = Curl(self.proxy, directory)

    async def flow(self) -> Any:
        """The newest flow, once it is over."""
        (summary,) = self.api.get("/api/flows?limit=1")["flows"]
        await until(lambda: self.api.get(f"/api/flows/{summary['id']}")["ended"] is not None)
        return self.api.get(f"/api/flows/{summary['id']}")

    def everything(self) -> str:
        """All that the API tells of all flows, once they are over."""
        flows = self.api.get("/api/flows?limit=100")["flows"]
        whole = [self.api.get(f"/api/flows/{summary['id']}") for summary in flows]
        assert all(flow["ended"] is not None for flow in whole)
        return json.dumps([flows, whole])

    def metrics(self, name: str) -> Any:
        plugins = self.api.get("/api/plugins")["plugins"]
        (status,) = [plugin for plugin in plugins if plugin["name"] == name]
        assert status["stats"]["traps"] == 0
        return status["stats"]["metrics"]


@pytest.mark.tools("curl")
async def test_redact_secrets_masks_what_is_kept_and_nothing_on_the_wire(
    start_proxy: StartProxy, tmp_path: Path, origin: BackgroundOrigin
) -> None:
    put_enabled(tmp_path / "plugins", "redact-secrets")
    served = Served(start_proxy, tmp_path, origin)
    body = '{"user":"ann","password":"hunter2","card":"4111 1111 1111 1111"}'
    origin.recording.requests.clear()
    answer = served.curl(
        f"https://127.0.0.1:{origin.https}/echo?token=t0ps3cret",
        *("-H", "Authorization: Bearer t0ps3cret", "-b", "sid=t0ps3cret"),
        *("-H", "Content-Type: application/json", "-d", body),
    )
    assert (answer.status, answer.body) == (200, body.encode())
    (record,) = origin.recording.of("/echo")
    assert record.target == b"/echo?token=t0ps3cret"
    assert record.values(b"authorization") == [b"Bearer t0ps3cret"]
    assert record.values(b"cookie") == [b"sid=t0ps3cret"]
    assert record.sha256 == hashlib.sha256(body.encode()).hexdigest()
    flow = await served.flow()
    masked = '{"user":"ann","password":"***","card":"**** **** **** 1111"}'
    assert flow["request_body"]["text"] == flow["response_body"]["text"] == masked
    assert flow["url"].endswith("/echo?token=***")
    fields = {field["name"].lower(): field["value"] for field in flow["request"]["headers"]}
    assert (fields["authorization"], fields["cookie"]) == ("Bearer ***", "sid=***")
    everything = json.dumps([flow, served.api.get("/api/flows")])
    assert "t0ps3cret" not in everything
    assert "hunter2" not in everything
    login = served.curl(f"http://127.0.0.1:{origin.http}/api/login", "-d", "password=hunter2")
    assert json.loads(login.body)["token"] == "demo.token.value"
    flow = await served.flow()
    assert flow["request_body"]["text"] == "password=***"
    assert json.loads(flow["response_body"]["text"]) == {"ok": True, "token": "***"}
    kept = [f["value"] for f in flow["response"]["headers"] if f["name"].lower() == "set-cookie"]
    sent = login.values("set-cookie")
    assert [cookie.partition(";")[2] for cookie in kept] == [c.partition(";")[2] for c in sent]
    assert all(cookie.partition(";")[0].endswith("=***") for cookie in kept)
    assert not any("=***" in cookie for cookie in sent)
    assert served.metrics("redact-secrets")["masked"] >= 10


@pytest.mark.tools("curl")
async def test_redact_secrets_leaves_nothing_of_what_other_plugins_have_taken_out(
    start_proxy: StartProxy, tmp_path: Path, origin: BackgroundOrigin
) -> None:
    remove = """
[config]
remove = ["Authorization", "X-Api-Key", "Set-Cookie"]"""
    patch = """
[[config.patches]]
operations = [{ op = "remove", path = "/password" }]"""
    put_enabled(tmp_path / "plugins", "redact-secrets")
    put_enabled(tmp_path / "plugins", "header-modifier", remove)
    put_enabled(tmp_path / "plugins", "json-patch", patch)
    served = Served(start_proxy, tmp_path, origin)

    async def send() -> None:
        answer = served.curl(
            f"https://127.0.0.1:{origin.https}/echo",
            *("-H", "Authorization: Bearer t0ps3cret", "-H", "X-Api-Key: t0ps3cret"),
            *("-H", "Content-Type: application/json", "-d", '{"password":"t0ps3cret","a":1}'),
        )
        assert answer.body == b'{"a":1}'
        login = served.curl(f"http://127.0.0.1:{origin.http}/api/login", "-d", "a=b")
        assert login.values("set-cookie") == []
        await served.flow()

    await send()
    await until(lambda: '_received": {' not in served.everything())
    everything = served.everything()
    for secret in ("t0ps3cret", "HttpOnly"):
        assert secret not in everything
    assert "plugin header-modifier" in everything  # who edited it is told still
    assert served.api("/api/plugins/redact-secrets/disable", "-X", "POST").status == 200
    await send()
    everything = served.everything()
    assert '_received": {' in everything
    for secret in ("t0ps3cret", "HttpOnly"):
        assert secret in everything


async def test_redact_secrets_masks_messages_and_trailers(
    start_proxy: StartProxy, tmp_path: Path, origin: BackgroundOrigin
) -> None:
    put_enabled(tmp_path / "plugins", "redact-secrets")
    served = Served(start_proxy, tmp_path, origin)
    url = f"ws://127.0.0.1:{origin.http}/chat"
    texts = ['{"token":"t0ps3cret"}', '42["login",{"password":"t0ps3cret"}]', "?token=t0ps3cret"]
    async with connect(url, proxy=served.proxy.url) as connection:
        for text in texts:
            await connection.send(text)
            assert await connection.recv() == text
        await connection.close(1000, '{"token":"t0ps3cret"}')
    flow = await served.flow()
    await until(lambda: "t0ps3cret" not in served.everything())
    flow = await served.flow()
    shown = [message["text"] for message in flow["web_socket"]["messages"][:6]]
    masked = ['{"token":"***"}', '42["login",{"password":"***"}]', "?token=***"]
    assert shown[::2] == shown[1::2] == masked
    assert flow["web_socket"]["close_reason"] == '{"token":"***"}'
    reader, writer = await asyncio.open_connection("127.0.0.1", served.proxy.port)
    writer.write(
        b"POST http://127.0.0.1:%d/echo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n"
        b"TE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\na\r\n0\r\nX-Api-Key: t0ps3cret\r\nX-Sum: 1\r\n\r\n" % (origin.http, origin.http)
    )
    assert b"X-Api-Key: t0ps3cret" in await reader.read()
    writer.close()
    await served.flow()
    await until(lambda: "t0ps3cret" not in served.everything())
    flow = await served.flow()
    for body in (flow["request_body"], flow["response_body"]):
        trailers = {field["name"]: field["value"] for field in body["trailers"]}
        assert trailers == {"X-Api-Key": "***", "X-Sum": "1"}


@pytest.mark.tools("curl")
async def test_json_patch_edits_what_the_origin_and_the_client_get(
    start_proxy: StartProxy, tmp_path: Path, origin: BackgroundOrigin
) -> None:
    config = """
[[config.patches]]
in = "request"
operations = [
    { op = "test", path = "/admin", value = false },
    { op = "replace", path = "/admin", value = true },
]

[[config.patches]]
in = "response"
url = "https://*/echo"
operations = [
    { op = "move", from = "/admin", path = "/was-admin" },
    { op = "add", path = "/list/0", json = "1.50" },
]
"""
    put_enabled(tmp_path / "plugins", "json-patch", config)
    served = Served(start_proxy, tmp_path, origin)
    url = f"https://127.0.0.1:{origin.https}/echo"
    origin.recording.requests.clear()
    sent = '{"admin": false, "n": 1.0e5, "list": [2]}'
    seen = '{"admin": true, "n": 1.0e5, "list": [2]}'
    got = b'{"n": 1.0e5, "list": [1.50,2],"was-admin":true}'
    for version in ("--http1.1", "--http2"):
        assert served.curl(url, version, "-d", sent).body == got
    assert {record.sha256 for record in origin.recording.of("/echo")} == {
        hashlib.sha256(seen.encode()).hexdigest()
    }
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(sent.encode()))
    through = served.curl(
        url, "-H", "Content-Encoding: gzip", "--data-binary", f"@{packed}"
    )  # the origin says nothing of a coding
    assert gzip.decompress(through.body) == seen.encode()
    assert served.curl(url, "-d", "no JSON").body == b"no JSON"
    assert served.curl(url, "-d", '{"admin": true}').body == b'{"admin": true}'
    assert served.curl(f"http://127.0.0.1:{origin.http}/echo", "-d", sent).body == seen.encode()
    metrics = served.metrics("json-patch")
    assert (metrics["patched"], metrics["not applied"], metrics["not JSON"]) == (6, 2, 3)
    log = [line["text"] for line in served.api.get("/api/plugins/json-patch/logs")["lines"]]
    assert len([text for text in log if "no JSON" in text]) == 1
    assert len([text for text in log if "the test failed" in text]) == 1


@pytest.mark.tools("curl")
async def test_websocket_logger_tells_of_every_message(
    start_proxy: StartProxy, tmp_path: Path, origin: BackgroundOrigin
) -> None:
    put_enabled(tmp_path / "plugins", "websocket-logger")
    served = Served(start_proxy, tmp_path, origin)
    messages: list[str | bytes] = ["hello", b"\0\xff", "\x1b[2J\u202e", "x" * 100_000]
    url = f"ws://127.0.0.1:{origin.http}/chat"
    async with connect(url, proxy=served.proxy.url, max_size=None) as connection:
        for message in messages:
            await connection.send(message)
            assert await connection.recv() == message
        await connection.send(["in ", "three ", "pieces"])
        assert await connection.recv() == "in three pieces"
    lines = served.api.get("/api/plugins/websocket-logger/logs")["lines"]
    told = [line["text"] for line in lines if "bytes" in line["text"]]
    (summary,) = served.api.get("/api/flows")["flows"]
    assert {line["flow_id"] for line in lines if "bytes" in line["text"]} == {summary["id"]}
    assert told[0::2] == [
        'client: text, 5 bytes: "hello"',
        "client: binary, 2 bytes: 00 ff",
        'client: text, 7 bytes: "\\u{1b}[2J\\u{202e}"',
        f'client: text, 100000 bytes: "{"x" * 120}"...',
        'client: text, 15 bytes: "in three pieces"',
    ]
    assert [text.replace("server", "client") for text in told[1::2]] == told[0::2]
    counted = {"text": 4, "binary": 1, "bytes": 100_029}
    assert served.metrics("websocket-logger") == {
        f"{side} {what}": count for side in ("client", "server") for what, count in counted.items()
    }
