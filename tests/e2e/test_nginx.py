"""Through the proxy to nginx, by curl and by h2load."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from int3rceptor_tui.demo import content
from tests.e2e.harness import Curl, Nginx, ProxyProcess

pytestmark = pytest.mark.tools("curl", "nginx")

SIZE = 50_000_000

both_ways = pytest.mark.parametrize(
    ("flag", "secure"), [("--http1.1", False), ("--http1.1", True), ("--http2", True)]
)


def site(nginx: Nginx, secure: bool) -> str:
    return f"https://localhost:{nginx.https}" if secure else f"http://127.0.0.1:{nginx.http}"


@pytest.fixture(scope="module")
def big(nginx: Nginx) -> Path:
    path = nginx.root / "big"
    with path.open("wb") as file:
        file.writelines(content.pattern(SIZE))
    return path


@pytest.mark.parametrize(("flag", "secure"), [("--http1.1", False), ("--http2", True)])
def test_50_megabytes_arrive_byte_for_byte_both_ways(
    curl: Curl, nginx: Nginx, big: Path, flag: str, secure: bool
) -> None:
    stored = nginx.root / "up" / "stored"
    stored.unlink(missing_ok=True)
    put = curl(site(nginx, secure) + "/up/stored", flag, "-T", str(big))
    assert put.status == 201, put.problem
    with stored.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == content.pattern_sha256(SIZE)
    got = curl(site(nginx, secure) + "/big", flag)
    assert hashlib.sha256(got.body).hexdigest() == content.pattern_sha256(SIZE), got.problem


@both_ways
def test_200_parallel_requests_are_all_answered_right(
    proxy: ProxyProcess, nginx: Nginx, tmp_path: Path, flag: str, secure: bool
) -> None:
    for number in range(200):
        (nginx.root / f"page-{number}").write_bytes(b"page %d\n" % number * 50)
    command = ["curl", "-sS", "--max-time", "15", "-x", proxy.url, "--cacert", str(proxy.ca), flag]
    command += ["--parallel", "--parallel-immediate", "--parallel-max", "200"]
    command += ["-o", str(tmp_path / "got-#1"), site(nginx, secure) + "/page-[0-199]"]
    done = subprocess.run(
        command,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for number in range(200):
        assert (tmp_path / f"got-{number}").read_bytes() == b"page %d\n" % number * 50


def test_upstream_connections_are_reused(curl: Curl, nginx: Nginx) -> None:
    for secure in (False, True):
        url = site(nginx, secure) + "/connection"
        # Each curl is a new client connection; only the proxy can have kept the one upstream.
        numbers = [curl(url, "--http1.1").body.split()[0] for _ in range(4)]
        assert len(set(numbers)) == 1, numbers


def test_the_origin_is_spoken_to_in_http_2_where_it_can(curl: Curl, nginx: Nginx) -> None:
    answer = curl(site(nginx, secure=True) + "/connection", "--http1.1")
    assert answer.body.endswith(b" HTTP/2.0\n")


@pytest.mark.tools("h2load")
def test_multiplexed_streams_of_h2load_all_succeed(nginx: Nginx, reverse_url: str) -> None:
    (nginx.root / "small").write_bytes(b"x" * 1000)
    done = subprocess.run(
        ["h2load", "-n", "2000", "-c", "4", "-m", "32", reverse_url + "/small"],
        capture_output=True,
        check=False,
        text=True,
    )
    counts = re.search(r"requests: (.*)", done.stdout)
    assert counts is not None, done.stderr
    assert counts[1].startswith("2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed")
    assert re.search(r"status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx", done.stdout)


@pytest.mark.tools("nghttp")
def test_nghttp_reads_a_page_of_many_parts(nginx: Nginx, reverse_url: str) -> None:
    for number in range(40):
        (nginx.root / f"part-{number}").write_bytes(b"x" * (number * 1000))
    urls = [f"{reverse_url}/part-{number}" for number in range(40)]
    done = subprocess.run(
        ["nghttp", "--no-verify-peer", "--null-out", "--stat", *urls],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    statuses = re.findall(r"^ *\d+ .* (\d{3}) +\S+ /part-\d+$", done.stdout, re.MULTILINE)
    assert statuses == ["200"] * 40, done.stdout


@pytest.fixture(scope="module")
def reverse_url(nginx: Nginx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a reverse proxy before nginx."""
    directory = tmp_path_factory.mktemp("reverse")
    mode = f"reverse:https://localhost:{nginx.https}"
    with ProxyProcess.running(directory, "--mode", mode, "--insecure") as running:
        yield f"https://127.0.0.1:{running.port}"
