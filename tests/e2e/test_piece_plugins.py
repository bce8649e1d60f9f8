"""Bodies that stream through plugins, piece by piece: see `dialogue`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from proxy_core.model.flow import FlowState
from proxy_core.model.log_line import LogLevel
from tests.e2e.dialogue import Talk, each_way, talking
from tests.e2e.plugged import put_module
from tests.plugin_host.guests import importing, wasm

pytestmark = pytest.mark.tools("curl")


def _on(first: str, code: str) -> str:
    """Run `code` where the piece begins with this character."""
    return f"(if (i32.eq (i32.load8_u (i32.const 1025)) (i32.const {ord(first)})) (then {code}))"


EDGES = wasm(
    f"""(module {importing("host_get_body", 3)} {importing("host_set_body", 2)}
    {importing("host_get_field", 3)} {importing("host_respond", 5)}
  (memory (export "memory") 4)
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func $edit (result i32) (local $n i32)
    (i32.store (i32.const 1024) (i32.const {ord("<")}))
    (local.set $n (call $get_body (i32.const 0) (i32.const 1025) (i32.const 200000)))
    {_on("!", "(drop (call $set_body (i32.const 0) (i32.const 0))) (return (i32.const 0))")}
    {_on("#", "(return (i32.const 1))")}
    {_on("*", "unreachable")}
    {
        _on(
            "?",
            "(drop (call $respond (i32.const 413) (i32.const 0) (i32.const 0)"
            "(i32.const 1025) (local.get $n))) (return (i32.const 3))",
        )
    }
    (drop (call $get_field (i32.const 17) (i32.const 0) (i32.const 1)))
    (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const {ord("1")})) (then
      (i32.store8 (i32.const 1024) (i32.const {ord("$")}))
      (drop (call $set_body (i32.const 1024) (i32.const 1)))
      (return (i32.const 0))))
    (i32.store8 (i32.add (i32.const 1025) (local.get $n)) (i32.const {ord(">")}))
    (drop (call $set_body (i32.const 1024) (i32.add (local.get $n) (i32.const 2))))
    i32.const 0)
  (export "on_request_chunk" (func $edit))
  (export "on_response_chunk" (func $edit)))"""
)
"""Puts < and > around each piece and $ behind the last. By its first character a piece is taken
out (!), ends the flow (#), makes the plugin trap (*) or is answered (?)."""

WHOLE = wasm(
    f"""(module {importing("host_set_body", 2)} (memory (export "memory") 1)
  (data (i32.const 0) "whole")
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func (export "on_response") (result i32)
    (drop (call $set_body (i32.const 0) (i32.const 5))) i32.const 0))"""
)


@pytest.fixture
async def talk(
    certificate: OriginCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Talk]:
    monkeypatch.setenv("HOME", str(tmp_path))
    put_module(tmp_path / "plugins", "edges", EDGES)
    async with talking(tmp_path, certificate) as made:
        yield made


@each_way
@pytest.mark.parametrize("fields", [[], [(b"content-length", b"9")]], ids=["open", "counted"])
async def test_a_response_reaches_the_client_piece_by_piece(
    talk: Talk, flag: str, way: str, fields: list[tuple[bytes, bytes]]
) -> None:
    talk.site.fields = fields
    async with talk.curl(flag, way) as curl:
        for piece in (b"one", b"!x", b"two"):
            talk.site.says.put_nowait(piece)
            if piece == b"!x":
                await talk.called(2)
            else:
                assert await curl.out.readexactly(5) == b"<" + piece + b">"
        talk.site.says.put_nowait(b"3")
        assert await curl.out.readexactly(3) == b"<3>"
        talk.site.says.put_nowait(None)
        assert await curl.rest() == (b"$", 0)
    flow = await talk.flow()
    assert (flow.summary.state, flow.summary.error) == (FlowState.DONE, None)
    assert flow.response is not None
    assert flow.response_body is not None
    assert "content-length" not in [name.lower() for name, _ in flow.response.fields]
    assert flow.response_body.kept == b"<one><two><3>$"
    assert flow.edited_by == ("plugin edges",)


@each_way
async def test_a_request_reaches_the_origin_piece_by_piece(talk: Talk, flag: str, way: str) -> None:
    async with talk.curl(flag, way, "-T", ".", "-X", "POST") as curl:
        for piece in (b"one", b"!x", b"two"):
            curl.feed.write(piece)
            if piece == b"!x":
                await talk.called(2)
            else:
                assert await talk.site.heard.get() == b"<" + piece + b">"
        curl.feed.write_eof()
        assert await talk.site.heard.get() == b"$"
        assert await curl.rest() == (b"<heard>$", 0)
    flow = await talk.flow()
    assert flow.summary.error is None
    assert flow.request_body.kept == b"<one><two>$"


@each_way
async def test_an_upload_whose_length_was_known_goes_on_without_it(
    talk: Talk, flag: str, way: str
) -> None:
    async with talk.curl(flag, way, "-d", "abc") as curl:
        assert await curl.rest() == (b"<heard>$", 0)
    heard = b"".join([talk.site.heard.get_nowait() for _ in range(talk.site.heard.qsize())])
    assert heard == b"<abc>$"
    (seen,) = talk.recording.requests
    assert seen.values(b"content-length") == []
    assert seen.values(b"transfer-encoding") == ([b"chunked"] if seen.version != "HTTP/2" else [])


@each_way
async def test_a_plugin_ends_a_response_in_its_middle(talk: Talk, flag: str, way: str) -> None:
    async with talk.curl(flag, way) as curl:
        talk.site.says.put_nowait(b"one")
        assert await curl.out.readexactly(5) == b"<one>"
        talk.site.says.put_nowait(b"#")
        rest, code = await curl.rest()
        assert rest == b""
        assert code != 0
    flow = await talk.flow()
    assert (flow.summary.state, flow.summary.error) == (
        FlowState.FAILED,
        "blocked by plugin edges",
    )


@each_way
@pytest.mark.parametrize(("mark", "status"), [(b"#", 403), (b"?", 413)])
async def test_a_plugin_answers_in_the_middle_of_an_upload(
    talk: Talk, flag: str, way: str, mark: bytes, status: int
) -> None:
    arguments = ("-T", ".", "-X", "POST", "-w", "%{http_code}")
    async with talk.curl(flag, way, *arguments) as curl:
        curl.feed.write(b"one")
        assert await talk.site.heard.get() == b"<one>"
        curl.feed.write(mark + b" too much")
        rest, _ = await curl.rest()
        assert rest.endswith(b"%d" % status)
        if mark == b"?":
            assert rest.startswith(b"? too much")
    assert (await talk.flow()).summary.status == status


@each_way
async def test_a_piece_over_which_the_plugin_traps_goes_on_as_it_is(
    talk: Talk, flag: str, way: str
) -> None:
    async with talk.curl(flag, way) as curl:
        for piece, comes in ((b"one", b"<one>"), (b"*trap", b"*trap"), (b"two", b"<two>")):
            talk.site.says.put_nowait(piece)
            assert await curl.out.readexactly(5) == comes
        talk.site.says.put_nowait(None)
        assert await curl.rest() == (b"$", 0)
    (line,) = [x for x in talk.core.plugins.logs.snapshot("edges") if x.level is LogLevel.ERROR]
    assert line.text.startswith("on_response_chunk trapped")


@each_way
async def test_an_answer_to_head_has_no_pieces(talk: Talk, flag: str, way: str) -> None:
    talk.site.fields = [(b"content-length", b"12")]
    async with talk.curl(flag, way, "--head") as curl:
        head, code = await curl.rest()
    assert code == 0
    assert b"content-length: 12\r\n" in head.lower()
    assert talk.core.plugins.statuses()[0].calls == 0


async def test_a_body_that_was_gathered_goes_through_in_pieces_too(
    talk: Talk, tmp_path: Path
) -> None:
    put_module(tmp_path / "plugins", "whole", WHOLE)
    assert "whole" in (await talk.core.plugins.discover()).added
    talk.site.says.put_nowait(b"one")
    talk.site.says.put_nowait(None)
    async with talk.curl("--http2", "https") as curl:
        assert await curl.rest() == (b"<whole>$", 0)
