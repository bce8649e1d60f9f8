#!/usr/bin/env python3
"""Measure what an idle client connection costs in memory, and how soon a new one is served."""

from __future__ import annotations

import argparse
import json
import resource
import socket
import sys
import time

import rig
from rig import BenchError, Peer

WARM = 200
REQUEST = b"GET http://int3rceptor.internal/ HTTP/1.1\r\nHost: int3rceptor.internal\r\n\r\n"


def connect(port: int, asked: bool) -> socket.socket:
    """Open a connection, and have it carry a request if `asked`."""
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    if asked:
        client.sendall(REQUEST)
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
    return client


def measure(peer: Peer, count: int, asked: bool) -> dict[str, float]:
    with rig.running_peer(peer, "explicit") as (process, port):
        clients = [connect(port, asked) for _ in range(WARM)]
        time.sleep(1)
        before = rig.rss_bytes(process.pid)
        clients += [connect(port, asked) for _ in range(count)]
        time.sleep(2)
        after = rig.rss_bytes(process.pid)
        started = time.perf_counter()
        clients.append(connect(port, asked=True))
        served = time.perf_counter() - started
        for client in clients:
            client.close()
    return {
        "connections": count,
        "bytes_each": round((after - before) / count),
        "new_request_ms": round(served * 1000, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="RSS per idle connection of this checkout.")
    parser.add_argument("-n", "--connections", type=int, default=10000)
    options = parser.parse_args()
    wanted = options.connections + WARM + 100
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, 1024), max(wanted, hard)))
        peer = Peer(rig.OWN, rig.own_commands())
        results = {
            "silent": measure(peer, options.connections, asked=False),
            "kept alive": measure(peer, options.connections, asked=True),
        }
    except (BenchError, OSError, ValueError) as error:
        print(f"bench idle: {error}", file=sys.stderr)
        return 2
    print(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
