"""The SDKs: one plugin in each language that uses nearly all of the ABI, run over one flow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from int3rceptor_tui.plugin_tools.languages import LANGUAGES, read_sdk
from proxy_core.plugin_host.host_functions import HOST_FUNCTIONS
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
    if read_file(b"list", 0, &mut all) != -2 { abort(b"a file"); }
    respond(418, b"short and stout");
    RESPOND
}
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
    int3_respond(418, "short and stout");
    return INT3_RESPOND;
}
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
    _ = int3.respond(418, "short and stout");
    return int3.answer;
}
""",
    "assemblyscript": """
import {
  CONTINUE, RESPOND, Field, Level, abort, add, addHeader, annotate, count, field, get, header, log,
  now, random, readFile, removeHeader, respond, set, setField, setHeader,
} from "./int3";
export function int3_abi_version(): i32 { return 1; }
export function on_request(): i32 {
  const value = header("X-In");
  setHeader("X-Out", value === null ? "none" : value);
  addHeader("X-Added", "1");
  removeHeader("X-Gone");
  setField(Field.METHOD, "POST");
  annotate("tag", "seen");
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
  respond(418, "short and stout");
  return RESPOND;
}
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


_DECLARED = {
    "rust": re.compile(r"fn (host_\w+)\(([^)]*)\)"),
    "c": re.compile(r"\s(host_\w+)\(([^)]*)\);"),
    "zig": re.compile(r'extern "env" fn (host_\w+)\(([^)]*)\)'),
    "assemblyscript": re.compile(r"declare function (host_\w+)\(([^)]*)\)"),
}


@pytest.mark.parametrize("language", list(_DECLARED))
def test_an_sdk_declares_what_the_host_has(language: str) -> None:
    declared = dict(_DECLARED[language].findall(read_sdk(LANGUAGES[language])))
    assert len(declared) >= 12
    for name, parameters in declared.items():
        count = 0 if parameters in ("", "void") else parameters.count(",") + 1
        assert count == len(HOST_FUNCTIONS[name].params), name
