"""curl through the proxy to the demo origin: every way in, every way out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from int3rceptor_tui.demo import content
from tests.e2e.harness import BackgroundOrigin, Curl, ProxyProcess

pytestmark = pytest.mark.tools("curl")

MEGABYTES_50 = 50_000_000


def site(origin: BackgroundOrigin, way: str) -> str:
    port: int = getattr(origin, way)
    return f"http://127.0.0.1:{port}" if way == "http" else f"https://localhost:{port}"


# (flag of curl, listener of the origin, version the client sees, version the origin sees)
WAYS = [
    ("--http1.1", "http", "1.1", "HTTP/1.1"),
    ("--http1.0", "http", "1.1", "HTTP/1.1"),
    ("--http1.1", "https", "1.1", "HTTP/2"),
    ("--http1.1", "https1", "1.1", "HTTP/1.1"),
    ("--http2", "https", "2", "HTTP/2"),
    ("--http2", "https1", "2", "HTTP/1.1"),
]
each_way = pytest.mark.parametrize(
    ("flag", "way", "client_version", "origin_version"),
    WAYS,
    ids=[f"{flag.strip('-')}-{way}" for flag, way, *_ in WAYS],
)
over_all = pytest.mark.parametrize(
    ("flag", "way"), [pair[:2] for pair in WAYS if "0" not in pair[0]]
)


@each_way
def test_get_translates_between_the_versions(
    curl: Curl,
    origin: BackgroundOrigin,
    flag: str,
    way: str,
    client_version: str,
    origin_version: str,
) -> None:
    answer = curl(site(origin, way) + "/headers?a=b%20c", flag, "-H", "X-Mine: yes")
    assert (answer.code, answer.status, answer.version) == (0, 200, client_version)
    told = json.loads(answer.body)
    assert told["target"] == "/headers?a=b%20c"
    assert ["x-mine", "yes"] in [[name.lower(), value] for name, value in told["fields"]]
    assert told["version"] == origin_version


@over_all
def test_an_upload_of_50_megabytes_arrives_byte_for_byte(
    curl: Curl, origin: BackgroundOrigin, upload: Path, flag: str, way: str
) -> None:
    answer = curl(site(origin, way) + "/upload", flag, "--data-binary", f"@{upload}")
    assert answer.status == 200, answer.problem
    expected = content.pattern_sha256(MEGABYTES_50)
    assert json.loads(answer.body) == {"size": MEGABYTES_50, "sha256": expected}


@over_all
def test_a_download_of_50_megabytes_arrives_byte_for_byte(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    answer = curl(site(origin, way) + f"/bytes/{MEGABYTES_50}", flag)
    assert answer.status == 200, answer.problem
    assert len(answer.body) == MEGABYTES_50
    assert hashlib.sha256(answer.body).hexdigest() == content.pattern_sha256(MEGABYTES_50)


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "pattern"
    with path.open("wb") as file:
        file.writelines(content.pattern(MEGABYTES_50))
    return path


@pytest.fixture(scope="module")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "pattern"
    path.write_bytes(b"".join(content.pattern(8_000_000)))
    return path


@over_all
def test_bodies_of_unknown_length_go_both_ways_at_once(
    curl: Curl, origin: BackgroundOrigin, smaller: Path, flag: str, way: str
) -> None:
    chunked = ("-H", "Transfer-Encoding: chunked") if flag == "--http1.1" else ()
    answer = curl(site(origin, way) + "/echo", flag, "-X", "POST", "-T", str(smaller), *chunked)
    assert answer.status == 200, answer.problem
    assert answer.body == smaller.read_bytes()


@over_all
@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_content_encodings_pass_untouched(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str, encoding: str
) -> None:
    answer = curl(site(origin, way) + f"/pages/{encoding}", flag)
    assert answer.values("content-encoding") == [encoding]
    assert answer.body == content.ENCODERS[encoding](content.PAGE.encode())


@over_all
@pytest.mark.parametrize(
    ("path", "status"), [("/status/204", 204), ("/status/304", 304), ("/status/500", 500)]
)
def test_statuses_pass(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str, path: str, status: int
) -> None:
    # Twice on one connection: a body that is read wrongly would spoil the second answer.
    url = site(origin, way) + path
    assert curl(url, flag, url, "-o", "/dev/null").status == status


@over_all
def test_the_answer_to_head_has_a_length_and_no_body(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    answer = curl(site(origin, way) + "/bytes/12345", flag, "--head")
    assert (answer.code, answer.status) == (0, 200)
    assert answer.values("content-length") == ["12345"]


@over_all
def test_redirects_and_cookies_work(
    curl: Curl, origin: BackgroundOrigin, tmp_path: Path, flag: str, way: str
) -> None:
    answer = curl(site(origin, way) + "/redirect/3", flag, "--location")
    assert (answer.status, answer.body) == (200, content.PAGE.encode())
    jar = str(tmp_path / "jar")
    first = curl(site(origin, way) + "/cookies", flag, "-c", jar)
    assert len(first.values("set-cookie")) == 2
    second = curl(site(origin, way) + "/cookies", flag, "-b", jar)
    (cookies,) = json.loads(second.body)["cookies"]
    assert sorted(cookies.split("; ")) == ["session=0c9a5d", "theme=dark"]


@over_all
def test_trailers_of_a_response_arrive(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    answer = curl(site(origin, way) + "/trailers", flag, "-H", "TE: trailers")
    assert answer.body == b"line 0\nline 1\nline 2\n"
    assert answer.values("x-checksum") == ["5f70bf18"]


@over_all
def test_early_hints_come_before_the_answer(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    answer = curl(site(origin, way) + "/hints", flag, "-i")
    assert answer.status == 200
    assert answer.body.count(b"HTTP/") >= 2
    assert b" 103" in answer.body
    assert b"</assets/style.css>" in answer.body


def test_100_continue_comes_from_the_origin_before_the_body(
    curl: Curl, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"x" * 2000)
    answer = curl(
        site(origin, "http") + "/upload", "-H", "Expect: 100-continue", "-v", "-T", str(body),
        "--expect100-timeout", "10", limit=8,
    )  # fmt: skip
    assert answer.status == 200
    assert "HTTP/1.1 100 Continue" in answer.problem


def test_hop_by_hop_fields_do_not_get_past_the_proxy(curl: Curl, origin: BackgroundOrigin) -> None:
    answer = curl(
        site(origin, "http") + "/hop-by-hop",
        "-H", "Connection: X-Secret", "-H", "X-Secret: 1", "-H", "Keep-Alive: 5",
        "-H", "Proxy-Authorization: Basic eDp5", "-H", "TE: gzip", "-H", "X-Open: 2",
    )  # fmt: skip
    record = origin.recording.of("/hop-by-hop")[-1]
    sent = {name.lower() for name, _ in record.fields}
    assert b"x-open" in sent
    private = {b"connection", b"x-secret", b"keep-alive", b"proxy-authorization", b"te"}
    assert not sent & (private | {b"proxy-connection"})
    assert answer.values("x-public") == ["for the client"]
    for name in ("x-private", "keep-alive", "proxy-authenticate"):
        assert answer.values(name) == []


@pytest.mark.parametrize("flag", ["--http1.1", "--http2"])
def test_a_connection_that_rested_for_seconds_carries_the_next_request(
    curl: Curl, origin: BackgroundOrigin, flag: str
) -> None:
    url = site(origin, "https") + "/headers?rested"
    every_2_5_seconds = ("--rate", "24/m")
    new_connections = ("-w", "%{stderr}\n%{http_code} %{http_version} %{num_connects}")
    answer = curl(url, flag, *every_2_5_seconds, *new_connections, url)
    assert (answer.code, answer.status) == (0, 200), answer.problem
    assert answer.problem.split()[-1] == "1"  # made for the first of the two transfers
    assert answer.connect == 0  # for the second


def test_an_origin_sees_origin_form_and_its_own_host(curl: Curl, origin: BackgroundOrigin) -> None:
    curl(site(origin, "http") + "/headers?form", "-H", "Host: elsewhere.example")
    record = origin.recording.of("/headers")[-1]
    assert record.target == b"/headers?form"
    assert record.values(b"host") == [b"127.0.0.1:%d" % origin.http]


def test_the_spelling_of_fields_survives_http_1(curl: Curl, origin: BackgroundOrigin) -> None:
    curl(site(origin, "http") + "/headers?spelling", "-H", "x-OdD: 1", "-H", "X-odd: 2")
    record = origin.recording.of("/headers")[-1]
    odd = [field for field in record.fields if field[0].lower() == b"x-odd"]
    assert odd == [(b"x-OdD", b"1"), (b"X-odd", b"2")]


def test_the_certificate_shown_is_the_proxy_s_for_the_host_asked_for(
    proxy: ProxyProcess, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    stranger = Curl(None, tmp_path)
    url = site(origin, "https")
    refused = stranger(url, "-x", proxy.url, "--cacert", str(origin.ca))
    assert refused.code == 60
    trusted = stranger(url, "-x", proxy.url, "--cacert", str(proxy.ca))
    assert trusted.status == 200
    by_address = stranger(
        url.replace("localhost", "127.0.0.1"), "-x", proxy.url, "--cacert", str(proxy.ca)
    )
    assert by_address.status == 200
