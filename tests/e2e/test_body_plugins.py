"""Whole bodies that plugins read and write, seen by curl and by the origin: lengths, codings, ends.

One plugin puts brackets around every body that it gets, both ways, and says in two fields what
`host_get_body` and `host_set_body` answered: 0, or the digit of the error.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import brotli
import pytest
import zstandard

from int3rceptor_tui.demo import content
from int3rceptor_tui.demo.messages import RequestRecord
from tests.e2e.harness import BackgroundOrigin, Curl, ProxyProcess
from tests.e2e.plugged import put_module
from tests.e2e.test_curl import over_all, site
from tests.e2e.wires import Wires
from tests.plugin_host.guests import importing, wasm

pytestmark = pytest.mark.tools("curl")

BODY_BUFFER = 8 * 1024 * 1024  # the default
BRACKETS = wasm(
    f"""(module {importing("host_get_body", 3)} {importing("host_set_body", 2)}
    {importing("host_set_header", 4)}
  (memory (export "memory") 140)
  (data (i32.const 0) "x-gotx-set")
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func $tell (param $name i32) (param $code i32)
    (i32.store8 (i32.const 32) (i32.sub (i32.const {ord("0")})
      (select (local.get $code) (i32.const 0) (i32.lt_s (local.get $code) (i32.const 0)))))
    (drop (call $set_header (local.get $name) (i32.const 5) (i32.const 32) (i32.const 1))))
  (func $wrap (result i32) (local $n i32)
    (local.set $n (call $get_body (i32.const 0) (i32.const 65537) (i32.const 9000000)))
    (call $tell (i32.const 0) (local.get $n))
    (if (i32.lt_s (local.get $n) (i32.const 0)) (then (local.set $n (i32.const 0))))
    (i32.store8 (i32.const 65536) (i32.const {ord("[")}))
    (i32.store8 (i32.add (i32.const 65537) (local.get $n)) (i32.const {ord("]")}))
    (call $tell (i32.const 5)
      (call $set_body (i32.const 65536) (i32.add (local.get $n) (i32.const 2))))
    i32.const 0)
  (export "on_request" (func $wrap))
  (export "on_response" (func $wrap)))"""
)
MANIFEST = """
filter = '~m POST | ~s'
[limits]
memory_mb = 20
"""
"""Requests are edited where they have a body: those of POST."""

UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: zlib.decompress(data, 31),
    "br": brotli.decompress,
    "zstd": lambda data: bytes(zstandard.ZstdDecompressor().decompress(data)),
    "deflate": zlib.decompress,
}


@pytest.fixture(scope="module")
def proxy(
    origin: BackgroundOrigin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyProcess]:
    """A proxy with the plugin."""
    directory = tmp_path_factory.mktemp("brackets")
    put_module(directory / "plugins", "brackets", BRACKETS, MANIFEST)
    arguments = ("--upstream-ca", str(origin.ca), "--plugins", str(directory / "plugins"))
    with ProxyProcess.running(directory, *arguments) as running:
        yield running


def newest(origin: BackgroundOrigin, path: str) -> RequestRecord:
    return origin.recording.of(path)[-1]


@over_all
@pytest.mark.parametrize("coding", UNPACK)
def test_a_coded_response_is_decoded_for_the_plugin_and_coded_again(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str, coding: str
) -> None:
    answer = curl(site(origin, way) + f"/pages/{coding}", flag)
    assert answer.values("x-got") == answer.values("x-set") == ["0"]
    assert answer.values("content-encoding") == [coding]
    assert answer.values("content-length") == [str(len(answer.body))]
    assert UNPACK[coding](answer.body) == b"[" + content.PAGE.encode() + b"]"


@over_all
def test_curl_reads_what_was_coded_again(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    url = site(origin, way) + "/pages/gzip"
    answer = curl(url, flag, "--compressed", url)  # twice on one connection
    assert (answer.code, answer.body) == (0, (b"[" + content.PAGE.encode() + b"]") * 2)


@over_all
def test_the_answer_to_head_gets_no_body_and_keeps_its_length(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    url = site(origin, way) + "/bytes/12345"
    answer = curl(url, flag, "--head", url)
    assert (answer.code, answer.status) == (0, 200)
    assert (answer.values("x-got"), answer.values("x-set")) == (["0"] * 2, ["2"] * 2)
    assert answer.values("content-length") == ["12345"] * 2


@over_all
@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_gets_none(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str, status: int
) -> None:
    url = site(origin, way) + f"/status/{status}"
    answer = curl(url, flag, url)
    assert (answer.code, answer.status, answer.body) == (0, status, b"")
    assert (answer.values("x-got"), answer.values("x-set")) == (["0"] * 2, ["2"] * 2)
    assert answer.values("content-length") == answer.values("transfer-encoding") == []


@over_all
def test_an_empty_body_gets_one(curl: Curl, origin: BackgroundOrigin, flag: str, way: str) -> None:
    url = site(origin, way) + "/bytes/0"
    answer = curl(url, flag, url)
    assert (answer.body, answer.values("content-length")) == (b"[][]", ["2"] * 2)


@over_all
def test_the_origin_gets_an_edited_request_with_its_length(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    url = site(origin, way) + "/echo"
    answer = curl(url, flag, "-d", "abc", url)
    assert answer.body == b"[[abc]]" * 2
    assert answer.values("content-length") == ["7"] * 2
    seen = newest(origin, "/echo")
    assert (seen.size, seen.values(b"content-length")) == (5, [b"5"])
    assert seen.values(b"x-got") == seen.values(b"x-set") == [b"0"]


@over_all
def test_an_upload_of_unknown_length_goes_on_with_the_length_it_has(
    curl: Curl, origin: BackgroundOrigin, tmp_path: Path, flag: str, way: str
) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(b"0123456789" * 50_000)
    chunked = ("-X", "POST", "-T", str(sent), "-H", "Transfer-Encoding: chunked")
    answer = curl(site(origin, way) + "/echo", flag, *chunked)
    assert answer.body == b"[[" + sent.read_bytes() + b"]]"
    seen = newest(origin, "/echo")
    assert seen.values(b"content-length") == [b"500002"]
    assert seen.values(b"transfer-encoding") == []


@over_all
def test_who_waits_to_be_told_to_continue_is_told(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    expecting = ("-d", "x" * 2000, "-H", "Expect: 100-continue", "--expect100-timeout", "100")
    answer = curl(site(origin, way) + "/upload", flag, *expecting)
    assert json.loads(answer.body.strip(b"[]"))["size"] == 2002
    assert newest(origin, "/upload").values(b"expect") == []


@over_all
def test_a_body_as_large_as_may_be_is_edited_and_a_larger_one_passes(
    curl: Curl, origin: BackgroundOrigin, tmp_path: Path, flag: str, way: str
) -> None:
    largest = curl(site(origin, way) + f"/bytes/{BODY_BUFFER}", flag)
    assert largest.values("content-length") == [str(BODY_BUFFER + 2)]
    assert largest.body == b"[" + b"".join(content.pattern(BODY_BUFFER)) + b"]"
    larger = curl(site(origin, way) + f"/bytes/{BODY_BUFFER + 1}", flag)
    assert (larger.values("x-got"), larger.values("x-set")) == (["5"], ["5"])
    assert larger.values("content-length") == [str(BODY_BUFFER + 1)]
    assert larger.body == b"".join(content.pattern(BODY_BUFFER + 1))
    sent = tmp_path / "sent"
    sent.write_bytes(larger.body)
    answer = curl(site(origin, way) + "/upload", flag, "--data-binary", f"@{sent}")
    seen = newest(origin, "/upload")
    assert (seen.values(b"x-got"), seen.values(b"x-set")) == ([b"5"], [b"5"])
    assert json.loads(answer.body.strip(b"[]")) == {
        "size": BODY_BUFFER + 1,
        "sha256": content.pattern_sha256(BODY_BUFFER + 1),
    }


@over_all
def test_what_streams_without_end_is_not_waited_for(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    answer = curl(site(origin, way) + "/events?count=2&delay=0", flag)
    assert (answer.values("x-got"), answer.values("x-set")) == (["5"], ["5"])
    assert answer.body.startswith(b"id: 0\n")


@over_all
def test_trailers_stay_behind_an_edited_response(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    url = site(origin, way) + "/trailers"
    answer = curl(url, flag, "-H", "TE: trailers", url)
    assert answer.body == b"[line 0\nline 1\nline 2\n]" * 2
    assert answer.values("x-checksum") == ["5f70bf18"] * 2


def test_a_client_of_http_1_0_reads_to_the_end(curl: Curl, origin: BackgroundOrigin) -> None:
    answer = curl(site(origin, "http") + "/trailers", "--http1.0")
    assert (answer.code, answer.body) == (0, b"[line 0\nline 1\nline 2\n]")
    assert answer.values("transfer-encoding") == []


async def test_trailers_stay_behind_an_edited_request(
    wires: Wires, origin: BackgroundOrigin
) -> None:
    reader, writer = await wires.open()
    url = f"http://127.0.0.1:{origin.http}/echo?with-trailers"
    writer.write(
        f"POST {url} HTTP/1.1\r\nHost: 127.0.0.1:{origin.http}\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\nTE: trailers\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 294\r\n\r\n".encode()
    )
    assert b"[[abc]]" in await reader.read()
    (seen,) = (r for r in list(origin.recording.requests) if r.target.endswith(b"?with-trailers"))
    assert seen.size == 5
    assert (seen.values(b"transfer-encoding"), seen.values(b"content-length")) == ([b"chunked"], [])
    assert [(name.lower(), value) for name, value in seen.trailers] == [(b"x-sum", b"294")]
