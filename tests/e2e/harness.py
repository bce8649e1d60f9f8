"""The parts of an end-to-end test: a proxy in a process of its own, origins, and curl."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from int3rceptor_tui.demo.certificate import OriginCertificate
from int3rceptor_tui.demo.client import ProxyClient
from int3rceptor_tui.demo.listener import Listener
from int3rceptor_tui.demo.messages import Recording
from int3rceptor_tui.demo.origin import DemoOrigin
from tests.tools import find_tool

T = TypeVar("T")


class ProxyProcess:
    """`int3rceptor-tui serve` on a free port; use `running`."""

    def __init__(self, process: subprocess.Popen[str], port: int, data_dir: Path) -> None:
        self.process = process
        self.port = port
        self.ca = data_dir / "ca" / "int3rceptor-ca.pem"
        self.data_dir = data_dir

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read_api_url(self) -> str:
        """Where its API is: the second line it says, where it was started with one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("API at "), line
        return line.removeprefix("API at ").strip()

    def client(self, *alpn: str) -> ProxyClient:
        return ProxyClient("127.0.0.1", self.port, self.ca, alpn or ("h2", "http/1.1"))

    def context(self, *alpn: str) -> ssl.SSLContext:
        """A client's TLS context that trusts the proxy's CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        context.set_alpn_protocols(list(alpn) or ["http/1.1"])
        return context

    def memory(self) -> int:
        """Resident bytes (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024

    @classmethod
    @contextlib.contextmanager
    def running(cls, directory: Path, *arguments: str) -> Iterator[ProxyProcess]:
        """Start with `arguments` and stop by SIGTERM; what it logged as faults fails the test."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("INT3_")}
        homes = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        data_dir = directory / "data"
        log = directory / "serve.log"
        command = [sys.executable, "-m", "int3rceptor_tui.cli", "serve", "--listen", "127.0.0.1:0"]
        command += ["--data-dir", str(data_dir), *arguments]
        with log.open("w", encoding="utf-8") as stderr:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=kept | {name: str(directory) for name in homes},
            )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on "), log.read_text(encoding="utf-8")
            yield cls(process, int(line.rpartition(":")[2]), data_dir)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=10)
            finally:
                process.kill()
        told = log.read_text(encoding="utf-8")
        assert process.returncode == 0, told
        assert "Traceback" not in told, told


class BackgroundOrigin:
    """The demo origin on a loop in a thread, for tests that wait for other processes."""

    def __init__(self, certificate: OriginCertificate) -> None:
        self.ca = certificate.ca_file
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="origin")
        self._thread.start()
        self._origin = DemoOrigin(certificate)
        self._echo = Listener(_echo)
        self.call(self._origin.__aenter__)
        self.http, self.https, self.https1 = (
            self._origin.http,
            self._origin.https,
            self._origin.https1,
        )
        self.echo = self._loop_call(self._echo.open)
        """A TCP server that speaks first and then echoes: neither HTTP nor TLS."""

    @property
    def recording(self) -> Recording:
        return self._origin.recording

    def call(self, function: Callable[[], object]) -> None:
        async def there() -> None:
            result = function()
            if asyncio.iscoroutine(result):
                await result

        asyncio.run_coroutine_threadsafe(there(), self._loop).result()

    def _loop_call(self, function: Callable[[], T]) -> T:
        async def there() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result()

    def close(self) -> None:
        self.call(self._echo.close)
        self.call(self._origin.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 speak, friend\r\n")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@dataclass
class Nginx:
    """A running nginx: `http` cleartext, `https` h2 and http/1.1; PUT to /up/ stores a file."""

    root: Path
    http: int
    https: int


_NGINX_CONF = """
daemon off;
master_process off;
pid {root}/nginx.pid;
error_log {root}/error.log warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    default_type application/octet-stream;
    types {{ text/html html; text/css css; application/json json; }}
    client_max_body_size 0;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    keepalive_requests 100000;
    ssl_certificate {certificate};
    ssl_certificate_key {certificate};
    server {{
        listen 127.0.0.1:{http} backlog=1024;
        listen 127.0.0.1:{https} ssl http2 backlog=1024;
        root {root}/www;
        location = /connection {{ return 200 "$connection $server_protocol\\n"; }}
        location /up/ {{ dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""


@contextlib.contextmanager
def running_nginx(root: Path, certificate: Path) -> Iterator[Nginx]:
    """Run nginx over an empty `root`; `certificate` holds chain and key."""
    (root / "www" / "up").mkdir(parents=True)
    http, https = free_ports(2)
    configuration = root / "nginx.conf"
    configuration.write_text(
        _NGINX_CONF.format(root=root, certificate=certificate, http=http, https=https),
        encoding="ascii",
    )
    program = find_tool("nginx")
    assert program is not None
    with (root / "start.log").open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [program, "-p", str(root), "-c", str(configuration), "-e", str(root / "error.log")],
            stdout=output,
            stderr=output,
        )
    try:
        _await_port(http, process)
        yield Nginx(root / "www", http, https)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    pause = threading.Event()
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        pause.wait(0.02)
    raise AssertionError(f"nginx ended with {process.returncode} before it listened")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


@dataclass
class Answer:
    """What curl got; `head` is the last one, lines without line ends."""

    code: int
    status: int
    version: str
    body: bytes
    head: list[str] = field(default_factory=list)
    problem: str = ""
    connect: int = 0
    """The status of the answer to CONNECT; 0 where there was none."""

    def values(self, name: str) -> list[str]:
        lines = [line.partition(":") for line in self.head]
        return [value.strip() for key, _, value in lines if key.lower() == name]


class Curl:
    """curl behind a proxy, with its CA trusted."""

    def __init__(self, proxy: ProxyProcess | None, directory: Path) -> None:
        self._proxy = proxy
        self._directory = directory
        self._runs = 0

    def __call__(self, url: str, *arguments: str, limit: int = 15) -> Answer:
        """Run curl; `limit` is its own time limit in seconds."""
        self._runs += 1
        head = self._directory / f"head-{self._runs}"
        command = ["curl", "-sS", "--max-time", str(limit), "-D", str(head)]
        command += ["-w", "%{stderr}\n%{http_code} %{http_version} %{http_connect}"]
        if self._proxy is not None:
            command += ["-x", self._proxy.url, "--cacert", str(self._proxy.ca)]
        done = subprocess.run(
            [*command, *arguments, url],
            capture_output=True,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(self._directory)},
        )
        problem, _, written = done.stderr.decode().rpartition("\n")
        status, version, connect = written.split()
        heads = head.read_text(encoding="latin-1").split("\n\n") if head.exists() else [""]
        blocks = [block for block in "\n\n".join(heads).split("\r\n\r\n") if block.strip()]
        lines = blocks[-1].strip().splitlines() if blocks else []
        return Answer(
            done.returncode, int(status), version, done.stdout, lines, problem, int(connect)
        )
