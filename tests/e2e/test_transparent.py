"""Transparent mode with a real firewall, in network namespaces of the test's own (root, Linux)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from tests.tools import find_tool

NFT = find_tool("nft") or ""
pytestmark = [
    pytest.mark.tools("ip", "nft", "curl"),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.timeout(60),
]

_RULES = """
table inet int3rceptor {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "gate" tcp dport { 80, 443, 2525 } redirect to :8080
  }
}
"""

_RULES_WITHOUT_EXCEPTION = """
table inet loop {
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr 10.77.1.1 tcp dport { 80, 443, 2525 } redirect to :8080
  }
}
"""

_ORIGIN = """
import http.server, socket, ssl, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{self.headers['Host']} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
plain = http.server.ThreadingHTTPServer(("10.77.1.1", 80), Handler)
secure = http.server.ThreadingHTTPServer(("10.77.1.1", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=secure.serve_forever, daemon=True).start()
greeter = socket.create_server(("10.77.1.1", 2525))
def greet():
    while True:
        connection, _ = greeter.accept()
        connection.sendall(b"220 hello\\r\\n")
        connection.close()
threading.Thread(target=greet, daemon=True).start()
print("ready", flush=True)
plain.serve_forever()
"""


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


class Network:
    """A client's namespace, and a gateway's with firewall, proxy (process `pid`) and origin."""

    def __init__(self, client: str, gateway: str, ca: Path, pid: int) -> None:
        self.pid = pid
        self.client = client
        self.gateway = gateway
        self.ca = ca

    def curl(self, *arguments: str) -> str:
        return run("ip", "netns", "exec", self.client, "curl", "-sS", "-m", "10", *arguments)


@contextmanager
def program(first_line: str, *command: str, log: Path) -> Iterator[int]:
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(first_line), log.read_text()
            yield process.pid
        finally:
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture(params=["0.0.0.0:8080", "[::]:8080"])
def network(
    request: pytest.FixtureRequest, tmp_path: Path, certificate: OriginCertificate
) -> Iterator[Network]:
    client, gateway = f"int3c{os.getpid()}", f"int3g{os.getpid()}"
    with ExitStack() as stack:
        for name in (client, gateway):
            if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
                pytest.skip("network namespaces are not to be had here")
            stack.callback(subprocess.run, ["ip", "netns", "delete", name], check=False)
            run("ip", "-n", name, "link", "set", "lo", "up")
        veth = ("link", "add", "wire", "netns", client, "type", "veth", "peer", "name", "gate")
        run("ip", *veth, "netns", gateway)
        run("ip", "-n", client, "address", "add", "10.77.0.2/24", "dev", "wire")
        run("ip", "-n", gateway, "address", "add", "10.77.0.1/24", "dev", "gate")
        run("ip", "-n", gateway, "address", "add", "10.77.1.1/32", "dev", "lo")
        run("ip", "-n", client, "link", "set", "wire", "up")
        run("ip", "-n", gateway, "link", "set", "gate", "up")
        run("ip", "-n", client, "route", "add", "default", "via", "10.77.0.1")
        inside = ("ip", "netns", "exec", gateway)
        run(*inside, NFT, "-f", "-", text=_RULES)
        origin = (*inside, sys.executable, "-c", _ORIGIN, str(certificate.chain_file))
        stack.enter_context(program("ready", *origin, log=tmp_path / "origin.log"))
        serve = (*inside, sys.executable, "-m", "int3rceptor_tui.cli", "serve")
        arguments = ["--mode", "transparent", "--listen", request.param]
        arguments += ["--data-dir", str(tmp_path / "data")]
        arguments += ["--upstream-ca", str(certificate.ca_file)]
        log = tmp_path / "serve.log"
        pid = stack.enter_context(program("listening on", *serve, *arguments, log=log))
        yield Network(client, gateway, tmp_path / "data" / "ca" / "int3rceptor-ca.pem", pid)


def test_connections_that_the_firewall_turns_here_are_served(network: Network) -> None:
    plain = network.curl("--resolve", "site.example:80:10.77.1.1", "http://site.example/a")
    assert plain == "site.example /a"
    resolve = ("--resolve", "localhost:443:10.77.1.1", "--cacert", str(network.ca))
    assert network.curl(*resolve, "https://localhost/b") == "localhost /b"
    assert network.curl("telnet://10.77.1.1:2525").strip() == "220 hello"


def test_a_connection_that_nothing_turned_here_is_closed(network: Network) -> None:
    command = ["ip", "netns", "exec", network.client, "curl", "-sS", "-m", "10"]
    done = subprocess.run([*command, "http://10.77.0.1:8080/"], capture_output=True, text=True)
    assert done.returncode in (52, 56), done  # an empty reply, or none as its request was not read


def test_rules_that_turn_the_proxys_own_connections_back_are_told(network: Network) -> None:
    run("ip", "netns", "exec", network.gateway, NFT, "-f", "-", text=_RULES_WITHOUT_EXCEPTION)
    told = network.curl("-w", "%{http_code}", "http://10.77.1.1/")
    assert "turns the proxy's own connections back to it; see docs/transparent.md" in told
    assert told.endswith("508")
    command = ["ip", "netns", "exec", network.client, "curl", "-sS", "-m", "10"]
    for url in ("https://10.77.1.1/", "telnet://10.77.1.1:2525"):
        done = subprocess.run([*command, "-k", url], capture_output=True, text=True)
        assert "220" not in done.stdout
    assert len(list(Path(f"/proc/{network.pid}/fd").iterdir())) < 100
