"""Reverse mode: clients take the proxy for the origin, over TLS or in cleartext on one port."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from tests.e2e.harness import BackgroundOrigin, Curl, ProxyProcess

pytestmark = pytest.mark.tools("curl")


@pytest.fixture(scope="module", params=["http", "https", "https1"])
def reverse(
    request: pytest.FixtureRequest,
    origin: BackgroundOrigin,
    certificate: OriginCertificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ProxyProcess, int, str]]:
    """A reverse proxy, the origin's port and its scheme."""
    port: int = getattr(origin, request.param)
    scheme = "http" if request.param == "http" else "https"
    directory = tmp_path_factory.mktemp("reverse")
    arguments = ["--mode", f"reverse:{scheme}://localhost:{port}"]
    arguments += ["--upstream-ca", str(certificate.ca_file)]
    with ProxyProcess.running(directory, *arguments) as running:
        yield running, port, scheme


@pytest.mark.tools("nghttp")
def test_trailers_of_nghttp_reach_the_origin(
    reverse: tuple[ProxyProcess, int, str], origin: BackgroundOrigin, tmp_path: Path
) -> None:
    """It says how long its body is, which leaves HTTP/1 no place for them."""
    proxy, port, _ = reverse
    (tmp_path / "body").write_bytes(b"up")
    target = f"/upload?trailers-for-{port}"
    command = ["nghttp", "-d", str(tmp_path / "body"), "--trailer", "x-sum: 1"]
    url = f"http://127.0.0.1:{proxy.port}{target}"
    done = subprocess.run([*command, url], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (record,) = [r for r in origin.recording.of("/upload") if r.target == target.encode()]
    assert record.trailers == [(b"x-sum", b"1")]


@pytest.mark.parametrize(
    ("scheme", "flags", "version"),
    [
        ("http", ["--http1.1"], "1.1"),
        ("https", ["--http1.1"], "1.1"),
        ("https", ["--http2"], "2"),
        ("http", ["--http2-prior-knowledge"], "2"),
    ],
    ids=["cleartext", "tls", "tls-h2", "cleartext-h2"],
)
def test_tls_and_cleartext_are_served_on_one_port(
    reverse: tuple[ProxyProcess, int, str],
    tmp_path: Path,
    scheme: str,
    flags: list[str],
    version: str,
) -> None:
    proxy, _, _ = reverse
    curl = Curl(None, tmp_path)
    url = f"{scheme}://localhost:{proxy.port}"
    answer = curl(f"{url}/headers", "--cacert", str(proxy.ca), *flags)
    assert (answer.status, answer.version) == (200, version), answer.problem
    assert json.loads(answer.body)["target"] == "/headers"
    body = "x" * 100_000
    echoed = curl(f"{url}/echo", "--cacert", str(proxy.ca), *flags, "-d", body)
    assert echoed.body == body.encode()


def test_the_origin_sees_its_own_name(
    reverse: tuple[ProxyProcess, int, str], origin: BackgroundOrigin, tmp_path: Path
) -> None:
    proxy, port, _ = reverse
    answer = Curl(None, tmp_path)(f"http://localhost:{proxy.port}/headers")
    fields = {name.lower(): value for name, value in json.loads(answer.body)["fields"]}
    assert fields.get("host") or fields.get(":authority") == f"localhost:{port}"


def test_a_host_field_cannot_send_the_proxy_elsewhere(
    reverse: tuple[ProxyProcess, int, str], origin: BackgroundOrigin, tmp_path: Path
) -> None:
    proxy, _, _ = reverse
    curl = Curl(None, tmp_path)
    host = f"Host: 127.0.0.1:{origin.echo}"
    answer = curl(f"http://localhost:{proxy.port}/api/users/3", "-H", host)
    assert (answer.status, json.loads(answer.body)["id"]) == (200, 3)
