"""A handler in C, built with clang as its author would: everything at once."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy_core.model.message import HTTP_11, RequestHead
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.codes import Hook
from tests.plugin_host.foreign.http_wasm.room import OneRoom
from tests.plugin_host.guests import make_flow, respond_with

pytestmark = pytest.mark.tools("clang", "wasm-ld")

SOURCE = Path(__file__).parent.parent / "handlers" / "mask.c"
WITH_TOKEN = ((b"Host", b"example.com"), (b"X-Token", b"t"))


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("handler") / "mask.wasm"
    flags = ["--target=wasm32", "-O2", "-nostdlib", "-fno-builtin", "-Wall", "-Wl,--no-entry"]
    subprocess.run(["clang", *flags, "-o", str(out), str(SOURCE)], check=True)
    return out.read_bytes()


@pytest.fixture
async def room(module: bytes) -> AsyncIterator[OneRoom]:
    opened = OneRoom(module)
    yield opened
    await opened.close()


async def test_it_starts_and_refuses_who_brings_no_token(room: OneRoom) -> None:
    assert room.texts == ["ready"]
    code, call = await room.call(Hook.REQUEST, make_flow())
    assert code == codes.RESPOND
    assert call.respond_head is not None
    assert call.respond_head.status == 401
    assert call.respond_head.headers.get(b"www-authenticate") == b"Token"
    assert call.respond_body == b"no token\n"


async def test_it_edits_heads_bodies_and_trailers_both_ways(room: OneRoom) -> None:
    for number in (b"1", b"2"):
        flow = make_flow(WITH_TOKEN, method=b"POST")
        old = flow.request
        flow.request = RequestHead(
            old.method, old.scheme, old.authority, b"/old?a=b", old.headers, HTTP_11
        )
        long = b"x" * 300
        await room.request(flow, long + b'say {"a":1} twice')  # the word is the configuration
        assert flow.request.path == b"/new?a=b"
        assert flow.request.headers.fields == [(b"Host", b"example.com")]
        assert flow.whole is not None
        assert flow.whole.data == long + b"say ******* twice"
        respond_with(flow, 500, [(b"Content-Type", b"text/plain")])
        await room.response(flow, b'[{"a":1},{"a":1}]')
        assert flow.response is not None
        assert flow.response.status == 503
        assert flow.response.headers.get(b"x-seen") == number
        assert flow.whole.data == b"[*******,*******]"
        assert flow.whole.trailers == [(b"x-masked", b"yes")]


async def test_a_body_without_the_word_is_left_alone(room: OneRoom) -> None:
    flow = make_flow(WITH_TOKEN, method=b"POST")
    await room.request(flow, b"nothing to see")
    assert flow.whole is not None
    assert not flow.whole.edited


async def test_it_is_told_of_a_flow_that_failed(room: OneRoom) -> None:
    flow = make_flow(WITH_TOKEN)
    await room.request(flow)
    flow.error = "gone"
    await room.call(Hook.CAPTURE, flow)
    assert room.texts == ["ready", "there was no response"]
