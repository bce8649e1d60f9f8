"""Failures upstream: the status that fits, a readable reason, and the proxy goes on."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartProxy
from tests.e2e.harness import BackgroundOrigin, Curl, ProxyProcess, free_ports

pytestmark = pytest.mark.tools("curl")


def test_a_refused_port_is_a_502_that_names_it(curl: Curl) -> None:
    (port,) = free_ports(1)
    for url in (f"http://127.0.0.1:{port}/", f"https://127.0.0.1:{port}/"):
        answer = curl(url)
        status = answer.status or answer.connect
        assert status == 502
        if answer.status:
            assert f"127.0.0.1:{port}" in answer.body.decode()
            assert "refused" in answer.body.decode().lower()


def test_a_name_that_does_not_exist_is_a_502_that_names_it(curl: Curl) -> None:
    answer = curl("http://no-such-host.invalid/")
    assert answer.status == 502
    assert "no-such-host.invalid" in answer.body.decode()


@pytest.mark.parametrize("way", ["http", "https", "https1"])
def test_an_origin_that_resets_is_a_502(curl: Curl, origin: BackgroundOrigin, way: str) -> None:
    port = getattr(origin, way)
    url = f"http://127.0.0.1:{port}" if way == "http" else f"https://localhost:{port}"
    answer = curl(url + "/reset")
    assert answer.status == 502
    assert answer.body.decode().strip()


@pytest.mark.parametrize("way", ["http", "https", "https1"])
def test_a_body_cut_short_does_not_look_complete(
    curl: Curl, origin: BackgroundOrigin, way: str
) -> None:
    port = getattr(origin, way)
    url = f"http://127.0.0.1:{port}" if way == "http" else f"https://localhost:{port}"
    for flag in ("--http1.1", "--http2"):
        answer = curl(url + "/cut", flag)
        assert answer.status == 200
        assert answer.code in (18, 56, 92)  # partial file, receive error, HTTP/2 stream error


@pytest.fixture
def rude_server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        b"",
    ],
    ids=["another protocol", "two lengths", "both lengths", "bare CR", "unasked 101", "nothing"],
)
def test_an_answer_that_is_none_is_a_502_with_the_reason(
    proxy: ProxyProcess, rude_server: socket.socket, nonsense: bytes
) -> None:
    port = rude_server.getsockname()[1]
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
        url = b"http://127.0.0.1:%d/" % port
        host = b"Host: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % port
        client.sendall(b"GET " + url + b" HTTP/1.1\r\n" + host)
        connection, _ = rude_server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(nonsense)
        with client.makefile("rb") as stream:
            answer = stream.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502"), answer
    assert body.strip()


def test_an_origin_that_stalls_is_a_504_with_the_reason(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    config = tmp_path / "int3rceptor.toml"
    config.write_text("[limits]\nresponse_timeout = 0.5\n", encoding="ascii")
    proxy = start_proxy("--config", str(config), "--insecure")
    curl = Curl(proxy, tmp_path)
    for url in (f"http://127.0.0.1:{origin.http}", f"https://localhost:{origin.https}"):
        answer = curl(url + "/stall")
        assert answer.status == 504
        assert answer.body.decode().strip()


def test_an_unknown_certificate_is_refused_and_the_answer_says_why(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    curl = Curl(start_proxy(), tmp_path)
    before = len(origin.recording.requests)
    for flag in ("--http1.1", "--http2"):
        answer = curl(f"https://localhost:{origin.https}/", flag)
        assert answer.status == 502
        reason = answer.body.decode()
        assert "certificate" in reason
        assert "--upstream-ca" in reason or "--insecure" in reason
    assert len(origin.recording.requests) == before


def test_an_unknown_certificate_passes_with_its_ca_or_without_verification(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    for arguments in (["--upstream-ca", str(origin.ca)], ["--insecure"]):
        curl = Curl(start_proxy(*arguments), tmp_path)
        assert curl(f"https://localhost:{origin.https}/").status == 200


def test_a_bad_request_gets_the_reason_and_its_connection_closed(proxy: ProxyProcess) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
        client.sendall(b"GET http://a/ HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n")
        with client.makefile("rb") as stream:
            answer = stream.read()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"Bad Header" in answer


def test_a_request_for_the_proxy_itself_is_not_sent_in_circles(
    proxy: ProxyProcess, curl: Curl
) -> None:
    answer = curl(f"http://127.0.0.1:{proxy.port}/")
    assert answer.code == 0
    assert 400 <= answer.status < 600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_requests_under_way(
    start_proxy: StartProxy, origin: BackgroundOrigin, number: signal.Signals
) -> None:
    proxy = start_proxy("--insecure")
    url = b"http://127.0.0.1:%d/slow?pieces=100&delay=0.1" % origin.http
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
        client.sendall(b"GET " + url + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        proxy.process.send_signal(number)
        assert proxy.process.wait(timeout=10) == 0
