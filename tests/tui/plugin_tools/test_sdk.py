"""The SDKs: one plugin in each language that uses all of the ABI, run over flows and streams."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from int3rceptor_tui.plugin_tools.languages import LANGUAGES, read_sdk
from proxy_core.model.edits import WholeBody
from proxy_core.model.verdict import CONTINUE, Block
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.codes import FieldId, Hook
from proxy_core.plugin_host.functions.host_functions import HOST_FUNCTIONS
from tests.plugin_host.guests import Host, make_flow, respond_with
from tests.tui.plugin_tools.conftest import Tool, archive, entry
from tests.tui.plugin_tools.test_building import tools_for

SOURCES: Mapping[str, str] = {
    "rust": """
#![no_std]
mod int3;
use int3::*;
#[no_mangle] extern "C" fn int3_abi_version() -> i32 { 1 }
#[no_mangle] extern "C" fn on_request() -> i32 {
    let mut room = [0u8; 64];
    let length = header(b"X-In", &mut room) as usize;
    set_header(b"X-Out", &room[..length]);
    add_header(b"X-Added", b"1");
    remove_header(b"X-Gone");
    set_field(METHOD, b"POST");
    annotate(b"tag", b"seen");
    if body(1, &mut room) == 4 && &room[..3] == b"ent" { set_body(b"SENT"); }
    if delay(5) != 0 || delay(60_001) != OVER_LIMIT { abort(b"no delay"); }
    if is_last_piece() || is_text() { abort(b"what is not"); }
    let mut chance = [0u8; 4];
    random(&mut chance);
    let length = field(HOST, &mut room) as usize;
    let fine = now() == 1715680800000000000 && chance != [0; 4];
    log(if fine { WARN } else { ERROR }, &room[..length]);
    CONTINUE
}
#[no_mangle] extern "C" fn on_response() -> i32 {
    if header(b"X-None", &mut []) != -1 { abort(b"there is one"); }
    let mut all = [0u8; 64];
    if headers(&mut all) < 0 { abort(b"no headers"); }
    if set(b"k", b"v") != 0 || get(b"k", &mut all) != 1 || all[0] != b'v' { abort(b"no state"); }
    if add(b"n", -7) != -7 || add(b"n", 7) != 0 { abort(b"no sum"); }
    if count(b"answers", 1) != 0 { abort(b"no count"); }
    if read_file(b"list", 0, &mut all) != NOT_PERMITTED { abort(b"a file"); }
    if http_request(b"GET http://h/", &mut all) != NOT_PERMITTED { abort(b"an answer"); }
    if set_field(MESSAGE, b"request") != 0 || header(b"X-Out", &mut all) != 7 { abort(b"turned"); }
    if memory_size() < 1 { abort(b"no memory"); }
    let tea = b"\\x01\\0\\0\\0\\x05\\0\\0\\0\\x05\\0\\0\\0X-Tea\\0green\\0";
    respond_with(418, tea, b"short and stout");
    RESPOND
}
#[no_mangle] extern "C" fn on_response_chunk() -> i32 {
    let mut piece = [0u8; 64];
    let length = body(0, &mut piece) as usize;
    piece[..length].make_ascii_uppercase();
    if is_last_piece() { set_body(b"END"); } else { set_body(&piece[..length]); }
    CONTINUE
}
#[no_mangle] extern "C" fn on_websocket_message() -> i32 {
    if is_from_client() && is_text() { BLOCK } else { CONTINUE }
}
#[no_mangle] extern "C" fn on_tick() -> i32 { CONTINUE }
""",
    "c": """
#include "int3.h"
INT3_ABI_V1
INT3_HOOK(on_request) {
    static char room[64];
    room[int3_header("X-In", room, 63)] = 0;
    int3_set_header("X-Out", room);
    int3_add_header("X-Added", "1");
    int3_remove_header("X-Gone");
    int3_set_field(INT3_METHOD, "POST");
    int3_annotate("tag", "seen");
    if (host_get_body(1, room, sizeof room) == 4 && room[2] == 't') int3_set_body("SENT");
    if (host_delay(5) || host_delay(60001) != INT3_OVER_LIMIT) int3_abort("no delay");
    if (int3_is_last_piece() || int3_is_text()) int3_abort("what is not");
    uint32_t chance = 0;
    host_random(&chance, sizeof chance);
    int32_t length = host_get_field(INT3_HOST, room, sizeof room);
    int fine = host_now_ns() == 1715680800000000000 && chance != 0;
    host_log(fine ? INT3_WARN : INT3_ERROR, room, length);
    return INT3_CONTINUE;
}
INT3_HOOK(on_response) {
    static char all[64];
    if (int3_header("X-None", all, 0) != INT3_ABSENT) int3_abort("there is one");
    if (host_get_headers(all, sizeof all) < 0) int3_abort("no headers");
    if (int3_set("k", "v") || int3_get("k", all, 1) != 1 || *all != 'v') int3_abort("no state");
    if (int3_add("n", -7) != -7 || int3_add("n", 7) != 0) int3_abort("no sum");
    if (int3_count("answers", 1)) int3_abort("no count");
    if (int3_read_file("list", 0, all, 1) != INT3_NOT_PERMITTED) int3_abort("a file");
    if (int3_http_request("GET http://h/", all, 1) != INT3_NOT_PERMITTED) int3_abort("an answer");
    int turned = int3_set_field(INT3_MESSAGE, "request") == 0;
    if (!turned || int3_header("X-Out", all, 8) != 7) int3_abort("not turned");
    if (host_get_memory_size() < 1) int3_abort("no memory");
    int3_respond(418, "short and stout"); /* the next takes its place */
    const char *tea = "\\1\\0\\0\\0\\5\\0\\0\\0\\5\\0\\0\\0X-Tea\\0green";
    host_respond(418, tea, 24, "short and stout", 15);
    return INT3_RESPOND;
}
INT3_HOOK(on_response_chunk) {
    static char piece[64];
    int32_t length = host_get_body(0, piece, sizeof piece);
    for (int32_t index = 0; index < length; index++) piece[index] -= 32;
    if (int3_is_last_piece()) int3_set_body("END");
    else host_set_body(piece, length);
    return INT3_CONTINUE;
}
INT3_HOOK(on_websocket_message) {
    return int3_is_from_client() && int3_is_text() ? INT3_BLOCK : INT3_CONTINUE;
}
INT3_HOOK(on_tick) { return INT3_CONTINUE; }
""",
    "zig": """
const int3 = @import("int3.zig");
export fn int3_abi_version() i32 {
    return 1;
}
export fn on_request() i32 {
    var room: [64]u8 = undefined;
    _ = int3.setHeader("X-Out", int3.header("X-In", &room) orelse "none");
    _ = int3.addHeader("X-Added", "1");
    _ = int3.removeHeader("X-Gone");
    _ = int3.setField(.method, "POST");
    _ = int3.annotate("tag", "seen");
    if (int3.bodyLength() == 4) {
        const piece = int3.body(1, &room).?;
        if (int3.body(9, room[40..]).?.len == 0 and piece.len == 3 and piece[2] == 't') {
            _ = int3.setBody("SENT");
        }
    }
    if (int3.delay(5) != 0 or int3.delay(60_001) != int3.over_limit) int3.abort("too long a delay");
    if (int3.isLastPiece() or int3.isText()) int3.abort("what is not");
    var chance = [_]u8{ 0, 0, 0, 0 };
    int3.random(&chance);
    const sum = @as(u32, chance[0]) + chance[1] + chance[2] + chance[3];
    const fine = int3.now() == 1715680800000000000 and sum != 0;
    int3.log(if (fine) .warn else .err, int3.field(.host, &room) orelse "none");
    return int3.proceed;
}
export fn on_response() i32 {
    var all: [512]u8 = undefined;
    if (int3.header("X-None", &all) != null) int3.abort("there is one");
    if (int3.headers(&all) == null) int3.abort("no headers");
    if (int3.set("k", "v") != 0 or int3.get("k", &all).?[0] != 'v') int3.abort("no state");
    if (int3.add("n", -7) != -7 or int3.add("n", 7) != 0) int3.abort("no sum");
    if (int3.count("answers", 1) != 0) int3.abort("no count");
    if (int3.readFile("list", 0, &all) != null) int3.abort("a file");
    if (int3.httpRequest("GET http://h/", &all) != null) int3.abort("an answer");
    const turned = int3.setField(.message, "request") == 0;
    if (!turned or int3.header("X-Out", &all).?.len != 7) int3.abort("not turned");
    if (int3.memorySize() < 1) int3.abort("no memory");
    const tea = "\\x01\\x00\\x00\\x00\\x05\\x00\\x00\\x00\\x05\\x00\\x00\\x00X-Tea\\x00green\\x00";
    _ = int3.respondWith(418, tea, "short and stout");
    return int3.answer;
}
export fn on_response_chunk() i32 {
    var room: [64]u8 = undefined;
    const piece = int3.body(0, &room).?;
    for (piece) |*byte| byte.* -= 32;
    _ = int3.setBody(if (int3.isLastPiece()) "END" else piece);
    return int3.proceed;
}
export fn on_websocket_message() i32 {
    return if (int3.isFromClient() and int3.isText()) int3.block else int3.proceed;
}
export fn on_tick() i32 {
    return int3.proceed;
}
""",
    "assemblyscript": """
import {
  BLOCK, CONTINUE, OVER_LIMIT, RESPOND, Field, Level, abort, add, addHeader, annotate, body,
  bodyText, count, delay, field, get, header, headers, httpRequest, isFromClient, isLastPiece,
  isText, log, memorySize, now, random, readFile, removeHeader, respondWith, set, setBody,
  setBodyText, setField, setHeader,
} from "./int3";
export function int3_abi_version(): i32 { return 1; }
export function on_request(): i32 {
  const value = header("X-In");
  setHeader("X-Out", value === null ? "none" : value);
  addHeader("X-Added", "1");
  removeHeader("X-Gone");
  setField(Field.METHOD, "POST");
  annotate("tag", "seen");
  const sent = body();
  if (sent !== null && sent.byteLength == 4 && body(3) === null) {
    store<u8>(changetype<usize>(sent), 0x53);
    setBody(sent);
    if (bodyText() == "Sent") setBodyText("SENT");
  }
  if (delay(5) != 0 || delay(60001) != OVER_LIMIT) abort("no delay");
  if (isLastPiece() || isText()) abort("what is not");
  const chance = new ArrayBuffer(8);
  random(changetype<usize>(chance), 8);
  const fine = now() == 1715680800000000000 && load<u64>(changetype<usize>(chance)) != 0;
  const host = field(Field.HOST);
  log(fine ? Level.WARN : Level.ERROR, host === null ? "none" : host);
  return CONTINUE;
}
export function on_response(): i32 {
  if (header("X-None") !== null) abort("there is one");
  const value = set("k", "v") == 0 ? get("k") : null;
  if (value === null || value != "v") abort("no state");
  if (add("n", -7) != -7 || add("n", 7) != 0) abort("no sum");
  if (count("answers", 1) != 0) abort("no count");
  if (readFile("list", 0) !== null) abort("a file");
  if (httpRequest("GET http://h/") !== null) abort("an answer");
  if (setField(Field.MESSAGE, "request") != 0 || header("X-Out") != "carried") abort("not turned");
  const all = headers();
  if (all === null || all[1][0] != "X-Out" || all[1][1] != "carried") abort("no headers");
  if (memorySize() < 1) abort("no memory");
  respondWith(418, [["X-Tea", "green"]], "short and stout");
  return RESPOND;
}
export function on_response_chunk(): i32 {
  const piece = bodyText();
  if (isLastPiece()) setBodyText("END");
  else if (piece !== null) setBodyText(piece.toUpperCase());
  return CONTINUE;
}
export function on_websocket_message(): i32 {
  return isFromClient() && isText() ? BLOCK : CONTINUE;
}
export function on_tick(): i32 { return CONTINUE; }
""",
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("language", list(SOURCES))
def test_an_sdk_gives_all_of_the_abi(
    tool: Tool, tmp_path: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools_for(language, monkeypatch, tmp_path)
    tool("new", "whole", "--lang", language, "--in", tmp_path)
    place = tmp_path / "whole"
    (place / LANGUAGES[language].source).write_text(SOURCES[language])
    manifest = place / "plugin.toml"
    manifest.write_text(manifest.read_text().replace("= false", "= true"))
    built = tool("build", place)
    assert built.code == 0, built.err
    headers = [{"name": "X-In", "value": "carried"}, {"name": "X-Gone", "value": "?"}]
    # Often enough for a guest that leaks to run out of its memory.
    flows = [entry("http://o.example/", request={"headers": headers})] * 2000
    (tmp_path / "x.har").write_bytes(archive(flows))
    document = tool("test", place, "--flows", tmp_path / "x.har", "--json").document
    assert (document["failed"], document["changed"]) == (0, 2000)
    for result in (document["results"][0], document["results"][-1]):
        assert result["annotations"] == {"tag": "seen"}
        request, response = result["hooks"]
        assert set(request["diff"]) == {
            "- GET http://o.example/ HTTP/1.1",
            "- X-Gone: ?",
            "+ POST http://o.example/ HTTP/1.1",
            "+ X-Out: carried",
            "+ X-Added: 1",
        }
        assert request["log"] == ["WARN o.example"]
        assert response["outcome"] == "respond with 418"
        assert response["diff"][-1] == "+ short and stout"
        assert "+ X-Tea: green" in response["diff"]
    asyncio.run(show_bodies(place, tmp_path))


@pytest.mark.timeout(120)
def test_a_panic_in_rust_says_where(
    tool: Tool, tmp_path: Path, har: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools_for("rust", monkeypatch, tmp_path)
    tool("new", "oops", "--lang", "rust", "--in", tmp_path)
    source = tmp_path / "oops" / "src" / "lib.rs"
    lines = source.read_text().replace("    CONTINUE\n", '    header(b"none", &mut []).abs() / 0\n')
    source.write_text("#![allow(unconditional_panic)]\n" + lines)
    assert tool("build", tmp_path / "oops").code == 0
    (number,) = (n for n, line in enumerate(source.read_text().splitlines(), 1) if "/ 0" in line)
    document = tool("test", tmp_path / "oops", "--flows", har, "--json").document
    (hook,) = document["results"][0]["hooks"]
    assert f"ERROR on_response aborted: panicked at plugins/oops/src/lib.rs:{number}" in hook["log"]


async def show_bodies(place: Path, tmp_path: Path) -> None:
    """Show the plugin a whole body, pieces of one, and messages."""
    home = tmp_path / "host"
    home.mkdir()
    shutil.move(place, home)
    host = Host(home)
    await host.start()
    flow = make_flow(((b"X-In", b"carried"),), method=b"PUT")
    flow.whole = WholeBody(b"sent")
    assert await host.request(flow) is CONTINUE
    assert flow.whole.data == b"SENT"
    respond_with(flow)
    assert host.hooks.response_stream is not None
    through = host.hooks.response_stream(flow)
    assert through is not None
    assert [await through(b"abc", False), await through(b"xyz", True)] == [b"ABC", b"END"]
    hook = host.hooks.websocket_message
    assert hook is not None
    upgraded = respond_with(make_flow(), 101)
    verdicts = [
        await hook(upgraded, WebSocketMessage(from_client, opcode, 0.0, b"hello"))
        for from_client in (True, False)
        for opcode in (1, 2)
    ]
    assert verdicts == [Block("plugin whole", 403), CONTINUE, CONTINUE, CONTINUE]
    assert host.texts() == ["example.com"]
    await host.manager.stop()


_DECLARED = {
    "rust": re.compile(r"fn (host_\w+)\(([^)]*)\)"),
    "c": re.compile(r"\s(host_\w+)\(([^)]*)\);"),
    "zig": re.compile(r'extern "env" fn (host_\w+)\(([^)]*)\)'),
    "assemblyscript": re.compile(r"declare function (host_\w+)\(([^)]*)\)"),
}


_CONSTANTS = {
    "rust": re.compile(r"pub const (\w+): i32 = (-?\d+);"),
    "c": re.compile(r"INT3_(\w+) = (-?\d+),"),
    "zig": re.compile(r"(?:pub const )?(\w+)(?:: i32)? = (-?\d+)[,;]"),
    "assemblyscript": re.compile(r"export const (\w+): i32 = (-?\d+);"),
}
_HOOK = {
    "rust": r"//! +{} ",
    "c": r"int32_t {}\(void\);",
    "zig": r"//! +{} ",
    "assemblyscript": r"// +{} ",
}


@pytest.mark.parametrize("language", list(_CONSTANTS))
def test_an_sdk_names_every_field_answer_and_hook(language: str) -> None:
    text = read_sdk(LANGUAGES[language])
    constants = {(name.upper(), int(number)) for name, number in _CONSTANTS[language].findall(text)}
    fields = {(field.name, int(field)) for field in FieldId}
    answers = {
        (name, getattr(codes, name))
        for name in ("ABSENT", "NOT_PERMITTED", "BAD_POINTER", "OVER_LIMIT", "NOT_IN_HOOK")
    }
    assert fields | answers <= constants
    for hook in Hook:
        assert re.search(_HOOK[language].format(hook.export), text, re.MULTILINE), hook.export


@pytest.mark.parametrize("language", list(_DECLARED))
def test_an_sdk_declares_what_the_host_has(language: str) -> None:
    declared = dict(_DECLARED[language].findall(read_sdk(LANGUAGES[language])))
    assert set(declared) == set(HOST_FUNCTIONS)
    for name, parameters in declared.items():
        count = 0 if parameters in ("", "void") else parameters.count(",") + 1
        assert count == len(HOST_FUNCTIONS[name].params), name
