#!/usr/bin/env python3
"""Measure what an idle client connection costs in memory, and how soon a new one is served.

Each connection asks the proxy for its own page once (all but the silent ones), so that no origin
has a part in it, and stays. `bare TLS` is the floor: OpenSSL's state of as many server sides, on
memory BIOs, in this process.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import resource
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import rig
from rig import BenchError, Peer

from proxy_core.ca.authority import Authority
from proxy_core.ca.contexts import ServerContexts

WARM = 200
HOST = "int3rceptor.internal"
CONNECT = f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode()


def silent(port: int) -> socket.socket:
    """Connect and say nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def kept_alive(port: int) -> socket.socket:
    """Ask once over HTTP/1 and stay."""
    client = silent(port)
    ask_http1(client, f"GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
    return client


def http2(port: int) -> socket.socket:
    """Ask once over HTTP/2 and stay."""
    client = silent(port)
    ask_http2(client, "http")
    return client


def tls(port: int) -> socket.socket:
    """Ask once over HTTP/1 in TLS, through a tunnel, and stay."""
    client = in_tls(port, "http/1.1")
    ask_http1(client, f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
    return client


def http2_tls(port: int) -> socket.socket:
    """Ask once over HTTP/2 in TLS, through a tunnel, and stay."""
    client = in_tls(port, "h2")
    ask_http2(client, "https")
    return client


KINDS = {
    "silent": silent,
    "HTTP/1": kept_alive,
    "HTTP/2": http2,
    "HTTP/1 in TLS": tls,
    "HTTP/2 in TLS": http2_tls,
}


def in_tls(port: int, protocol: str) -> ssl.SSLSocket:
    client = silent(port)
    client.sendall(CONNECT)
    answer = client.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise BenchError(f"no tunnel: {answer[:60]!r}")
    return trusting(protocol).wrap_socket(client, server_hostname=HOST)


def trusting(protocol: str) -> ssl.SSLContext:
    """A client's context; who answers is no question here."""
    context = CONTEXTS.get(protocol)
    if context is None:
        context = CONTEXTS[protocol] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
    return context


CONTEXTS: dict[str, ssl.SSLContext] = {}


def ask_http1(client: socket.socket, request: str) -> None:
    client.sendall(request.encode())
    head, _, body = client.recv(65536).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchError(f"no good answer: {head[:60]!r}")
    (length,) = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    while len(body) < length:
        body += client.recv(65536)


def ask_http2(client: socket.socket, scheme: str) -> None:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="ascii"))
    connection.initiate_connection()
    fields = [(":method", "GET"), (":scheme", scheme), (":authority", HOST), (":path", "/")]
    connection.send_headers(1, fields, end_stream=True)
    client.sendall(connection.data_to_send())
    while True:
        data = client.recv(65536)
        if not data:
            raise BenchError("the proxy ended the HTTP/2 connection")
        events = connection.receive_data(data)
        client.sendall(connection.data_to_send())
        for event in events:
            if isinstance(event, h2.events.ResponseReceived):
                if (":status", "200") not in (event.headers or ()):
                    raise BenchError(f"no good answer: {event.headers}")
            elif isinstance(event, h2.events.StreamEnded):
                return


def measure(peer: Peer, count: int, connect: Callable[[int], socket.socket]) -> dict[str, float]:
    with rig.running_peer(peer, "explicit") as (process, port):
        clients = [connect(port) for _ in range(WARM)]
        time.sleep(1)
        before = rig.rss_bytes(process.pid)
        clients += [connect(port) for _ in range(count)]
        time.sleep(4)  # idle for long enough that it is noticed
        after = rig.rss_bytes(process.pid)
        started = time.perf_counter()
        clients.append(kept_alive(port))
        served = time.perf_counter() - started
        for client in clients:
            client.close()
    return {
        "connections": count,
        "bytes_each": round((after - before) / count),
        "new_request_ms": round(served * 1000, 1),
    }


def measure_bare(count: int) -> dict[str, float]:
    """What OpenSSL itself keeps of an established server side: nothing was sent through it."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority.load_or_create(Path(folder) / "ca")
        server, client = ServerContexts(authority).for_host(HOST), trusting("http/1.1")
        kept = [handshake(server, client) for _ in range(WARM)]
        before = settled_rss()
        kept += [handshake(server, client) for _ in range(count)]
        after = settled_rss()
    return {"connections": len(kept) - WARM, "bytes_each": round((after - before) / count)}


def handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> ssl.SSLObject:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=HOST)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    to_client.read()
    return server


def settled_rss() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return rig.rss_bytes(os.getpid())


def main() -> int:
    parser = argparse.ArgumentParser(description="RSS per idle connection of this checkout.")
    parser.add_argument("-n", "--connections", type=int, default=10000)
    parser.add_argument("-k", "--kind", action="append", choices=KINDS, help="repeatable")
    options = parser.parse_args()
    wanted = options.connections + WARM + 100
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, 1024), max(wanted, hard)))
        results = {"bare TLS": measure_bare(options.connections)}
        # What is captured of the one exchange is another matter (`memflow`).
        peer = Peer(rig.OWN, rig.own_commands(), {"INT3_LIMITS_CAPTURED_TOTAL": "1"})
        for kind in options.kind or KINDS:
            results[kind] = measure(peer, options.connections, KINDS[kind])
    except (BenchError, OSError, ValueError) as error:
        print(f"bench idle: {error}", file=sys.stderr)
        return 2
    print(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
