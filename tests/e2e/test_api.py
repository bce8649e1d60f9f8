"""The API of a core in a process of its own, asked with curl and over raw sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import StartProxy
from tests.e2e.harness import Answer, BackgroundOrigin, Curl, ProxyProcess, free_ports
from tests.e2e.stamps import put_plugin, write_version

SPELLINGS = [
    "127.0.0.1",
    "localhost",
    "LOCALHOST",
    "127.1",
    "127.0.0.2",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
]


class Api:
    """curl, with the address and the token of a core."""

    def __init__(self, proxy: ProxyProcess, directory: Path) -> None:
        self.proxy = proxy
        self.url = proxy.read_api_url()
        self.port = urlsplit(self.url).port or 0
        self.token_file = proxy.data_dir / "api" / "token"
        self.token = self.token_file.read_text(encoding="ascii").strip()
        self._curl = Curl(None, directory)

    def __call__(self, path: str, *arguments: str) -> Answer:
        field = f"Authorization: Bearer {self.token}"
        return self._curl(self.url + path, "-H", field, *arguments)

    def without_token(self, path: str, *arguments: str) -> Answer:
        return self._curl(self.url + path, *arguments)

    def get(self, path: str) -> Any:
        answer = self(path)
        assert answer.status == 200, answer
        return json.loads(answer.body)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return put_plugin(tmp_path / "plugins")


def log_of(proxy: ProxyProcess) -> str:
    """End a proxy and return all that it said."""
    if proxy.process.poll() is None:
        proxy.process.terminate()  # a second time would end it at once
    proxy.process.wait()
    return (proxy.data_dir.parent / "serve.log").read_text(encoding="utf-8")


@pytest.fixture
def api(start_proxy: StartProxy, plugin: Path, tmp_path: Path) -> Iterator[Api]:
    proxy = start_proxy("--api", "127.0.0.1:0", "--plugins", str(plugin.parent))
    yield Api(proxy, tmp_path)
    log = log_of(proxy)
    secret = (proxy.data_dir / "api" / "token").read_text(encoding="ascii").strip()
    assert secret not in log


@pytest.mark.tools("curl")
def test_a_plugin_is_listed_reloaded_disabled_and_enabled(api: Api, plugin: Path) -> None:
    (listed,) = api.get("/api/plugins")["plugins"]
    assert (listed["name"], listed["loaded"], listed["abi"]) == ("stamp", True, "int3 v1")
    reloaded = json.loads(api("/api/plugins/reload/stamp", "-X", "POST").body)
    assert (reloaded["success"], reloaded["generation"]) == (True, 2)
    assert api("/api/plugins/reload/nobody", "-X", "POST").status == 404
    (plugin / "stamp.wasm").write_bytes(b"\0asm broken")
    broken = api("/api/plugins/reload/stamp", "-X", "POST")
    assert broken.status == 422
    assert json.loads(broken.body)["success"] is False
    assert api.get("/api/plugins")["plugins"][0]["stats"]["generation"] == 2
    assert api("/api/plugins/stamp/disable", "-X", "POST").status == 200
    assert api("/api/plugins/reload/stamp", "-X", "POST").status == 409
    assert api("/api/plugins/stamp/enable", "-X", "POST").status == 422
    write_version(plugin, 3)
    assert api("/api/plugins/stamp/enable", "-X", "POST").status == 200
    (lost, found) = ("nowhere", "stamp")
    discovered = api.get("/api/plugins/discover")
    assert [p["name"] for p in discovered["plugins"]] == [found]
    assert lost not in json.dumps(discovered)


@pytest.mark.tools("curl")
def test_discover_tells_why_a_plugin_was_refused(api: Api, plugin: Path) -> None:
    (plugin.parent / "rubbish.wasm").write_bytes(b"no module")
    document = api.get("/api/plugins/discover")
    (rubbish,) = [p for p in document["plugins"] if p["name"] == "rubbish"]
    assert (rubbish["loaded"], rubbish["state"]) == (False, "refused")
    assert rubbish["error"]
    assert document["refused"][0]["path"].endswith("rubbish.wasm")


@pytest.mark.tools("curl")
def test_a_plugin_is_swapped_through_the_api_while_requests_flow(
    api: Api, plugin: Path, origin: BackgroundOrigin
) -> None:
    async def visit(statuses: list[int], over: asyncio.Event) -> None:
        async with api.proxy.client().plain() as session:
            while not over.is_set():
                answer = await session.request("GET", f"http://127.0.0.1:{origin.http}/")
                statuses.append(answer.status)

    async def scenario() -> list[int]:
        statuses: list[int] = []
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(visit(statuses, over))
            for version in range(2, 7):
                write_version(plugin, version)
                answer = await asyncio.to_thread(api, "/api/plugins/reload/stamp", "-X", "POST")
                assert json.loads(answer.body)["generation"] == version
            over.set()
        return statuses

    statuses = asyncio.run(scenario())
    assert set(statuses) == {200}
    versions = [
        line["text"]
        for line in api.get("/api/plugins/stamp/logs?level=info")["lines"]
        if len(line["text"]) == 1
    ]
    assert versions == sorted(versions)
    assert "1" in versions
    flow_id = api.get("/api/flows?limit=1")["flows"][0]["id"]
    flow = api.get(f"/api/flows/{flow_id}")
    assert flow["url"] == f"http://127.0.0.1:{origin.http}/"
    assert flow["edited_by"] == ["plugin stamp"]


@pytest.mark.tools("curl")
def test_a_follower_sees_a_line_that_is_logged_after_it_came(
    api: Api, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    config = tmp_path / "curlrc"
    config.write_text(f'header = "Authorization: Bearer {api.token}"\n', encoding="ascii")
    command = ["curl", "-sSN", "-K", str(config), f"{api.url}/api/plugins/stamp/logs?follow=true"]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == ": following\n"
        curl = Curl(api.proxy, tmp_path)
        assert curl(f"http://127.0.0.1:{origin.http}/").status == 200
        lines = [follower.stdout.readline() for _ in range(4)]
        assert lines[:2] == ["\n", "event: log\n"]
        data = json.loads(lines[3].removeprefix("data: "))
        assert (data["plugin"], data["level"], data["text"]) == ("stamp", "info", "1")
        assert lines[2] == f"id: {data['seq']}\n"
        api.proxy.process.terminate()  # with the follower still there
        assert follower.wait() == 0
        assert api.proxy.process.wait() == 0
    finally:
        follower.kill()
        follower.communicate()


@pytest.mark.tools("curl")
def test_who_has_no_token_or_a_foreign_host_is_refused(api: Api) -> None:
    assert api.without_token("/api/health").status == 200
    assert api.without_token("/api/plugins").status == 401
    assert api.without_token("/api/plugins", "-H", "Authorization: Bearer guess").status == 401
    assert api("/api/plugins", "-H", "Host: evil.example").status == 403
    assert api.without_token("/api/health", "-H", "Host: evil.example").status == 403
    assert api("/api/plugins", "-H", f"Host: localhost:{api.port}").status == 200
    assert stat.S_IMODE(api.token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(api.token_file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("host", SPELLINGS)
def test_the_proxy_does_not_forward_to_its_own_api(shared_api: Api, host: str) -> None:
    where = f"{host}:{shared_api.port}"
    plain = b"GET http://%b/api/health HTTP/1.1\r\nHost: %b\r\n\r\n"
    answer = _exchange(shared_api, plain % (where.encode(), where.encode()))
    assert answer.startswith(b"HTTP/1.1 508 "), answer


@pytest.mark.parametrize("host", SPELLINGS)
def test_nor_through_a_tunnel(shared_api: Api, host: str) -> None:
    where = f"{host}:{shared_api.port}".encode()
    request = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (where, where)
    inner = b"GET /api/health HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % where
    answer = _exchange(shared_api, request, inner)
    assert b"HTTP/1.1 508 " in answer, answer
    assert b'int3rceptor"' not in answer


@pytest.mark.tools("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_nor_in_tls_in_either_version(shared_api: Api, tmp_path: Path, version: str) -> None:
    curl = Curl(shared_api.proxy, tmp_path)
    for host in ("127.0.0.1", "localhost"):
        answer = curl(f"https://{host}:{shared_api.port}/api/health", version)
        assert answer.status == 508
        assert answer.version == version.removeprefix("--http")


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("api")
    with ProxyProcess.running(directory, "--api", "127.0.0.1:0") as proxy:
        yield Api(proxy, directory)


def _exchange(api: Api, *requests: bytes) -> bytes:
    """Send requests one after the other, each after the last one's head; return all answers."""
    received = b""
    with socket.create_connection(("127.0.0.1", api.proxy.port)) as client:
        client.settimeout(10)
        for request in requests:
            client.sendall(request)
            received = b""
            while b"\r\n\r\n" not in received:
                data = client.recv(65536)
                if not data:
                    break
                received += data
    return received


def test_a_taken_port_is_one_line_that_says_what_to_do(
    start_proxy: StartProxy, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AssertionError) as failed:
            start_proxy("--api", f"127.0.0.1:{port}")
    assert f"port {port} is taken (127.0.0.1:{port}); pass --api or stop" in str(failed.value)
    assert "Traceback" not in str(failed.value)


@pytest.mark.tools("curl")
def test_an_api_for_other_machines_is_told_loudly_and_answers_under_its_names(
    start_proxy: StartProxy, tmp_path: Path
) -> None:
    token_file = tmp_path / "my-token"
    proxy = start_proxy(
        *("--api", "0.0.0.0:0", "--api-hosts", "Proxy.Example"),
        *("--api-token-file", str(token_file)),
    )
    url = proxy.read_api_url()
    port = urlsplit(url).port
    curl = Curl(None, tmp_path)
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    field = f"Authorization: Bearer {token_file.read_text(encoding='ascii').strip()}"
    for host, status in (("proxy.example", 200), ("localhost", 200), ("other.example", 403)):
        answer = curl(
            f"http://127.0.0.1:{port}/api/plugins", "-H", field, "-H", f"Host: {host}:{port}"
        )
        assert answer.status == status
    log = log_of(proxy)
    assert f"the API listens on 0.0.0.0:{port}, for other machines too" in log


def test_the_configuration_file_switches_it_on(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    config = tmp_path / "int3rceptor.toml"
    config.write_text(f'api = "127.0.0.1:{port}"\n', encoding="ascii")
    with ProxyProcess.running(tmp_path, "--config", str(config)) as proxy:
        assert proxy.read_api_url() == f"http://127.0.0.1:{port}"
