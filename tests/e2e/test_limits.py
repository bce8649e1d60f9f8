"""What is limited holds, and beyond the limit the proxy keeps what it has."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from h2.connection import H2Connection
from h2.events import Event, StreamEnded

from tests.e2e.conftest import StartProxy
from tests.e2e.harness import BackgroundOrigin, ProxyProcess

DESCRIPTORS = 96


def read_answer(client: socket.socket) -> bytes:
    """Read a head and the body that its Content-Length announces."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    length = int(lines[0].partition(b":")[2])
    while len(body) < length:
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


def ask(client: socket.socket, port: int, path: str = "/hello") -> None:
    where = f"127.0.0.1:{port}"
    client.sendall(f"GET http://{where}{path} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())


class Clients:
    """Connections to one proxy, closed together."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._port = proxy.port
        self.open: list[socket.socket] = []

    def add(self, count: int = 1) -> list[socket.socket]:
        new = [
            socket.create_connection(("127.0.0.1", self._port), timeout=10) for _ in range(count)
        ]
        self.open += new
        return new

    def close(self) -> None:
        for client in self.open:
            client.close()
        self.open.clear()

    def reset_all_but(self, kept: socket.socket) -> None:
        for client in self.open:
            if client is not kept:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
        self.open = [kept]

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def turned_away(clients: list[socket.socket]) -> list[socket.socket]:
    """Return those that the proxy has closed, with a word or without."""
    waiting = select.poll()  # select() knows no descriptor above 1023
    for client in clients:
        waiting.register(client, select.POLLIN)
    ready = {number for number, _ in waiting.poll(0)}
    gone = []
    for client in clients:
        if client.fileno() in ready:
            try:
                ended = client.recv(12, socket.MSG_PEEK) in (b"", b"HTTP/1.1 503")
            except ConnectionResetError:
                ended = True
            if ended:
                gone.append(client)
    return gone


def cpu_seconds(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


StartLimited = Callable[[str], tuple[ProxyProcess, Path]]


@pytest.fixture
def start_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartLimited]:
    """Starts a proxy on an event loop, with DESCRIPTORS descriptors; also gives its log."""
    with ExitStack() as stack:

        def start(loop: str) -> tuple[ProxyProcess, Path]:
            python = tmp_path / "python"
            python.write_text(
                f'#!/bin/sh\nulimit -n {DESCRIPTORS}\nexec "{sys.executable}" "$@"\n',
                encoding="utf-8",
            )
            python.chmod(0o755)
            if loop == "asyncio":
                (tmp_path / "without").mkdir()
                stub = tmp_path / "without" / "uvloop.py"
                stub.write_text("raise ImportError('not for this test')\n", encoding="utf-8")
                monkeypatch.setenv("PYTHONPATH", str(stub.parent))
            else:
                pytest.importorskip("uvloop")
            monkeypatch.setattr(sys, "executable", str(python))
            proxy = stack.enter_context(ProxyProcess.running(tmp_path, "--insecure"))
            return proxy, tmp_path / "serve.log"

        yield start


IDLE = 2000
IN_TLS = 150
OWN_NAME = "int3rceptor.internal"
OWN_PAGE = f"GET http://{OWN_NAME}/ HTTP/1.1\r\nHost: {OWN_NAME}\r\n\r\n".encode()
AT_REST = 2.5
"""Seconds after which a client on which nothing happens costs no more than it has to."""


def need_descriptors(count: int) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < count + 500:
        pytest.skip("too few file descriptors are allowed here; raise ulimit -n")


@pytest.mark.parametrize("kept", [False, True], ids=["silent", "kept alive"])
def test_idle_connections_take_little_memory_and_leave_room_for_more(
    start_proxy: StartProxy, kept: bool
) -> None:
    need_descriptors(IDLE)

    def use(clients: list[socket.socket]) -> None:
        for client in clients if kept else []:
            client.sendall(OWN_PAGE)
            assert read_answer(client).startswith(b"HTTP/1.1 200")

    proxy = start_proxy()
    with Clients(proxy) as clients:
        use(clients.add(200))
        before = proxy.memory()
        use(clients.add(IDLE))
        (late,) = clients.add()
        late.sendall(OWN_PAGE)  # behind all others: they have been accepted when it is answered
        assert read_answer(late).startswith(b"HTTP/1.1 200")
        assert not turned_away(clients.open)
        assert (proxy.memory() - before) / IDLE < 20_000


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_idle_connections_in_tls_take_little_memory_and_are_served_again(
    start_proxy: StartProxy, tmp_path: Path, alpn: str
) -> None:
    need_descriptors(3 * IN_TLS)
    config = tmp_path / "int3rceptor.toml"
    config.write_text("[limits]\ncaptured_total = 1\n", encoding="ascii")  # flows are no clients
    proxy = start_proxy("--config", str(config))
    context = proxy.context(alpn)
    opened: list[InTls] = []

    with ExitStack() as stack:

        def open_more() -> None:
            for _ in range(IN_TLS):
                client = InTls(proxy.port, context)
                opened.append(stack.enter_context(contextlib.closing(client)))

        open_more()
        time.sleep(AT_REST)
        before = proxy.memory()
        open_more()
        time.sleep(AT_REST)
        open_more()  # in the room that those before have left
        assert (proxy.memory() - before) / (2 * IN_TLS) < 20_000
        for client in opened[::50]:
            client.ask()


class InTls:
    """A client that has asked the proxy for its own page, in TLS and a tunnel, and stays."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        plain.sendall(f"CONNECT {OWN_NAME}:443 HTTP/1.1\r\nHost: {OWN_NAME}\r\n\r\n".encode())
        assert plain.recv(65536).startswith(b"HTTP/1.1 200")
        self._sock = context.wrap_socket(plain, server_hostname=OWN_NAME)
        self._h2: H2Connection | None = None
        if self._sock.selected_alpn_protocol() == "h2":
            self._h2 = H2Connection()
            self._h2.initiate_connection()
        self.ask()

    def ask(self) -> None:
        if self._h2 is None:
            self._sock.sendall(f"GET / HTTP/1.1\r\nHost: {OWN_NAME}\r\n\r\n".encode())
            assert read_answer(self._sock).startswith(b"HTTP/1.1 200")
            return
        number = self._h2.get_next_available_stream_id()
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", OWN_NAME)]
        self._h2.send_headers(number, [*fields, (":path", "/")], end_stream=True)
        seen: set[type[Event]] = set()
        while StreamEnded not in seen:
            self._sock.sendall(self._h2.data_to_send())
            seen |= {type(event) for event in self._h2.receive_data(self._sock.recv(65536))}
        self._sock.sendall(self._h2.data_to_send())

    def close(self) -> None:
        self._sock.close()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_out_of_descriptors_it_keeps_what_it_has_refuses_the_rest_and_recovers(
    start_limited: StartLimited, origin: BackgroundOrigin, loop: str
) -> None:
    proxy, log = start_limited(loop)
    with Clients(proxy) as clients:
        (kept,) = clients.add()
        ask(kept, origin.http)
        assert read_answer(kept).startswith(b"HTTP/1.1 404")

        began = time.monotonic()
        crowd = clients.add(2 * DESCRIPTORS)
        refused: list[socket.socket] = []
        while len(refused) <= DESCRIPTORS:
            refused = turned_away(crowd)
        assert len(refused) < len(crowd)
        ask(kept, origin.http)  # there is still room for a connection to the origin
        assert read_answer(kept).startswith(b"HTTP/1.1 404")
        before = cpu_seconds(proxy.process.pid)
        time.sleep(1.0)
        assert cpu_seconds(proxy.process.pid) - before < 0.3  # it does not spin
        lines = log.read_text(encoding="utf-8").splitlines()
        assert any("out of file descriptors (96 are allowed)" in line for line in lines)
        # However many are refused: two sources, of 5 and 10 lines a second, each with a burst.
        assert len(lines) < 30 + 20 * (time.monotonic() - began)

        clients.close()
        answer = b""
        while not answer or answer.startswith(b"HTTP/1.1 503"):  # it takes a moment to see them go
            (late,) = clients.add()
            with contextlib.suppress(ConnectionError):
                ask(late, origin.http)
                answer = read_answer(late)
        assert answer.startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_without_a_descriptor_for_the_origin_a_request_is_a_503(
    start_limited: StartLimited, origin: BackgroundOrigin, loop: str
) -> None:
    proxy, _ = start_limited(loop)
    with Clients(proxy) as clients:
        used = len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))
        crowd = clients.add((DESCRIPTORS - used) // 2)  # twice as many would leave none
        for client in crowd:
            ask(client, 1)  # where nobody listens: from here on they are all accepted
            assert read_answer(client).startswith(b"HTTP/1.1 502")
        for client in crowd:
            ask(client, origin.http, "/stall")
        answered, _, _ = select.select(crowd, [], [], 10)
        assert answered
        answer = read_answer(answered[0])
        assert answer.startswith(b"HTTP/1.1 503"), answer
        assert b"out of file descriptors" in answer
        assert len(select.select(crowd, [], [], 0)[0]) < len(crowd)  # the others go on
        (client, *_) = answered
        clients.reset_all_but(client)
        status = b"HTTP/1.1 503"
        while status == b"HTTP/1.1 503":
            ask(client, origin.http)
            status = read_answer(client)[:12]
        assert status == b"HTTP/1.1 404"
