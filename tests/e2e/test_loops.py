"""Proxies that lead back to each other: the request ends where it comes round."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import StartProxy
from tests.e2e.harness import BackgroundOrigin, Curl, ProxyProcess, free_ports

pytestmark = pytest.mark.tools("curl")


def start_ring(start_proxy: StartProxy, count: int, *arguments: str) -> ProxyProcess:
    """Start proxies that each go on through the next, the last through the first."""
    ports = free_ports(count)
    following = [*ports[1:], ports[0]]
    ring = [
        start_proxy("--mode", f"upstream:http://127.0.0.1:{after}@127.0.0.1:{port}", *arguments)
        for port, after in zip(ports, following, strict=True)
    ]
    return ring[0]


def test_request_that_comes_back_is_answered(start_proxy: StartProxy, tmp_path: Path) -> None:
    curl = Curl(start_ring(start_proxy, 3, "--insecure"), tmp_path)
    for url in ("http://origin.example/", "http://origin.example:81/", "https://origin.example/"):
        answer = curl(url)
        assert answer.status == 508, answer.problem
        assert b"came through this proxy before" in answer.body or b": 508 " in answer.body


def test_tunnel_that_comes_back_is_refused(start_proxy: StartProxy, tmp_path: Path) -> None:
    curl = Curl(start_ring(start_proxy, 2, "--ignore-hosts", "origin"), tmp_path)
    assert curl("https://origin.example/").connect == 508


def test_only_another_proxy_is_told_of_this_one(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{origin.http}/headers"
    alone = start_proxy()
    assert b"via" not in Curl(alone, tmp_path)(url).body.lower()
    child = start_proxy("--mode", f"upstream:http://127.0.0.1:{alone.port}")
    seen = Curl(child, tmp_path)(url, "-H", "Via: 1.0 before").body.decode()
    assert seen.index("1.0 before") < seen.index('"1.1 ')


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_request_that_reverse_proxies_send_round_is_answered(
    start_proxy: StartProxy, tmp_path: Path, scheme: str
) -> None:
    first, second = free_ports(2)
    for here, there in ((first, second), (second, first)):
        start_proxy(
            "--insecure", "--mode", f"reverse:{scheme}://127.0.0.1:{there}@127.0.0.1:{here}"
        )
    answer = Curl(None, tmp_path)(f"http://127.0.0.1:{first}/")
    assert answer.status == 508, answer.problem
    assert b"came through this proxy before" in answer.body


def test_origin_of_a_reverse_mode_is_told_nothing_of_the_proxy(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    proxy = start_proxy("--mode", f"reverse:http://127.0.0.1:{origin.http}")
    seen = Curl(None, tmp_path)(f"http://127.0.0.1:{proxy.port}/headers").body.lower()
    assert b"user-agent" in seen
    assert b"via" not in seen
    assert b"loop" not in seen
