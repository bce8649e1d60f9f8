from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin_host.foreign.proxy_wasm.filters import CONTINUE, PAUSE, add, filter_of, on
from tests.plugin_host.guests import MEMORY, guest, importing, wasm
from tests.plugins.conftest import PLUGINS
from tests.tui.plugin_tools.conftest import Ran, Tool, archive, entry, put

VERSION = '(func (export "int3_abi_version") (result i32) i32.const 1)'
CHANCE = f"""(module
  {importing("host_random", 2)} {importing("host_now_ns", 0, "i64")} {importing("host_log", 3)}
  {importing("host_set_header", 4)} {MEMORY} {VERSION}
  (data (i32.const 0) "X-Chance")
  (func $hex (param $at i32) (local $i i32)
    (loop $more
      (i32.store8 (i32.add (local.get $at) (local.get $i))
        (i32.add (i32.const 97)
          (i32.and (i32.load8_u (i32.add (local.get $at) (local.get $i))) (i32.const 15))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 24)))))
  (func (export "on_response") (result i32)
    (drop (call $random (i32.const 64) (i32.const 16)))
    (i64.store (i32.const 80) (i64.shr_u (call $now_ns) (i64.const 8)))
    (call $hex (i32.const 64))
    (drop (call $log (i32.const 1) (i32.const 64) (i32.const 24)))
    (drop (call $set_header (i32.const 0) (i32.const 8) (i32.const 64) (i32.const 24)))
    i32.const 0))"""


def without_costs(text: str) -> list[str]:
    return [line.partition("  ")[0] if " fuel" in line else line for line in text.splitlines()]


def test_what_a_plugin_changes_is_shown(tool: Tool, har: Path) -> None:
    ran = tool("test", PLUGINS / "header-modifier", "--flows", har)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == "#1 GET http://example.com/a"
    assert lines[1].startswith("  on_request: continue  ")
    assert lines[1].endswith(" fuel")
    assert lines[2] == "    + X-Plugin-Modified: true"
    assert lines[-1] == "3 flows, 3 changed, 0 failed, 0 left out"


def test_what_a_plugin_logs_is_shown_with_the_hook_that_it_wrote_it_in(
    tool: Tool, har: Path
) -> None:
    document = tool("test", PLUGINS / "example-logger", "--flows", har, "--json").document
    assert document["log"][0] == "DEBUG this is how debug looks"
    plain, secure, again = document["results"]
    assert [(hook["hook"], hook["log"]) for hook in secure["hooks"]] == [
        ("on_connect", ["DEBUG connection from 192.0.2.1:50000"]),
        ("on_connect", ["DEBUG connection from 192.0.2.1:50000 to secure.example"]),
        ("on_request", ["INFO -> GET https://secure.example/b?c=d"]),
        ("on_response", ["INFO <- 200 https://secure.example/b?c=d"]),
        ("on_capture", ["DEBUG done https://secure.example/b?c=d"]),
    ]
    assert plain["hooks"][0]["hook"] == "on_connect"
    assert again["hooks"][0]["hook"] == "on_request", "the same connection"
    assert again["hooks"][1]["log"] == ["WARN <- 404 http://example.com/e"]


def test_chance_and_time_are_the_same_in_every_run(tool: Tool, tmp_path: Path, har: Path) -> None:
    place = put(tmp_path, "chance", wasm(CHANCE))
    runs = [
        subprocess.run(
            [
                *(sys.executable, "-m", "int3rceptor_tui.cli"),
                *("plugin", "test", str(place), "--flows", str(har)),
                *("--golden", str(tmp_path / f"golden{number}"), "--update"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        for number in range(2)
    ]
    first, second = (without_costs(run.stdout) for run in runs)
    assert first == second
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / f"golden{number}").iterdir()}
        for number in range(2)
    ]
    assert files[0] == files[1]
    headers = {line for line in first if "+ X-Chance" in line}
    assert len(headers) == 3, "each flow has bytes of its own"
    assert tool("test", place, "--flows", har, "--golden", tmp_path / "golden0").code == 0


def test_fuel_is_the_same_in_every_run(tool: Tool, tmp_path: Path, har: Path) -> None:
    place = put(tmp_path, "chance", wasm(CHANCE))
    fuel = [
        [
            hook["fuel"]
            for result in tool("test", place, "--flows", har, "--json").document["results"]
            for hook in result["hooks"]
        ]
        for _ in range(2)
    ]
    assert fuel[0] == fuel[1]
    assert all(fuel[0])


def test_golden_files_hold_a_plugin_to_what_it_did(tool: Tool, tmp_path: Path, har: Path) -> None:
    golden = tmp_path / "golden"
    arguments = ("--flows", har, "--golden", golden)
    missing = tool("test", PLUGINS / "header-modifier", *arguments)
    assert missing.code == 2
    assert "pass --update" in missing.err
    assert tool("test", PLUGINS / "header-modifier", *arguments, "--update").code == 0
    names = ["00001.txt", "00002.txt", "00003.txt", "plugin.txt"]
    assert sorted(path.name for path in golden.iterdir()) == names
    assert " us" not in (golden / "00001.txt").read_text()
    assert tool("test", PLUGINS / "header-modifier", *arguments).code == 0

    (golden / "00002.txt").write_text("something else\n")
    (golden / "00003.txt").unlink()
    (golden / "00009.txt").write_text("one too many\n")
    ran = tool("test", PLUGINS / "header-modifier", *arguments, "--json")
    assert ran.code == 1
    differing = [difference["file"] for difference in ran.document["differences"]]
    assert differing == ["00002.txt", "00003.txt", "00009.txt"]
    assert "-something else" in ran.document["differences"][0]["diff"]

    (golden / "README.md").write_text("kept")
    updated = tool("test", PLUGINS / "header-modifier", *arguments, "--update", "--json")
    assert updated.document["updated"] == differing
    assert sorted(path.name for path in golden.iterdir()) == sorted([*names, "README.md"])
    assert tool("test", PLUGINS / "header-modifier", *arguments).code == 0


def test_what_golden_files_hold_does_not_reach_the_terminal_raw(
    tool: Tool, tmp_path: Path, har: Path
) -> None:
    arguments = ("test", PLUGINS / "header-modifier", "--flows", har, "--golden", tmp_path)
    assert tool(*arguments, "--update").code == 0
    (tmp_path / "00002.txt").write_text("\x1b]0;owned\x07\n", encoding="ascii")
    ran = tool(*arguments)
    assert ran.code == 1
    assert "  -\\x1b]0;owned\\x07\n" in ran.out
    assert "\x1b" not in ran.out


def test_update_without_golden_is_asked_wrongly(tool: Tool, har: Path) -> None:
    assert tool("test", PLUGINS / "header-modifier", "--flows", har, "--update").code == 2


def outcome(tool: Tool, tmp_path: Path, module: bytes, manifest: str = "") -> tuple[Ran, list[str]]:
    """What the hooks of the first flow came to."""
    (tmp_path / "one.har").write_bytes(archive([entry(), entry()]))
    place = put(tmp_path, "it", module, manifest)
    ran = tool("test", place, "--flows", tmp_path / "one.har", "--json")
    results = ran.document["results"]
    hooks = results[0]["hooks"] if results else []
    return ran, [f"{hook['hook']}: {hook['outcome']}" for hook in hooks]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (1, ["on_request: block with 403"]),
        (2, ["on_request: hold"]),
        (4, []),
    ],
)
def test_verdicts_are_told(tool: Tool, tmp_path: Path, answer: int, told: list[str]) -> None:
    ran, outcomes = outcome(tool, tmp_path, guest(f"i32.const {answer}"))
    assert (ran.code, outcomes) == (0, told)


def test_a_response_of_the_plugin_s_own_is_shown_and_the_origin_not_asked(
    tool: Tool, tmp_path: Path
) -> None:
    module = wasm(
        f"""(module {importing("host_respond", 5)} {MEMORY} {VERSION}
          (data (i32.const 0) "one\\ntwo")
          (func (export "on_request") (result i32)
            (drop (call $respond (i32.const 418) (i32.const 0) (i32.const 0)
                                 (i32.const 0) (i32.const 7)))
            i32.const 3)
          (func (export "on_response") (result i32) i32.const 0))"""
    )
    ran, outcomes = outcome(tool, tmp_path, module)
    assert ran.code == 0
    assert outcomes == ["on_request: respond with 418"]
    assert ran.document["results"][0]["hooks"][0]["diff"] == [
        "+ HTTP/1.1 418 I'm a Teapot",
        "+ content-length: 7",
        "+",
        "+ one",
        "+ two",
    ]


@pytest.mark.parametrize(
    ("body", "manifest", "told", "said"),
    [
        ("unreachable", "", "failed, continue", "executed 'unreachable'"),
        ("unreachable", 'on_failure = "closed"\n', "failed, block with 502", "executed"),
        ("i32.const -5", "", "failed, continue", "failed with -5"),
        ("(loop br 0) i32.const 0", "[limits]\nfuel = 1000\n", "failed, continue", "fuel of 1000"),
    ],
)
def test_a_plugin_that_fails_is_not_fine_and_is_called_again(
    tool: Tool, tmp_path: Path, body: str, manifest: str, told: str, said: str
) -> None:
    ran, outcomes = outcome(tool, tmp_path, guest(body), manifest)
    assert ran.code == 1
    assert outcomes == [f"on_request: {told}"]
    assert ran.document["failed"] == 2
    for result in ran.document["results"]:
        assert said in result["hooks"][0]["log"][0]


def test_a_plugin_that_traps_every_time_is_called_for_every_flow(
    tool: Tool, tmp_path: Path
) -> None:
    flows = tmp_path / "many.har"
    flows.write_bytes(archive([entry()] * 60))
    place = put(tmp_path, "it", guest("unreachable"))
    document = tool("test", place, "--flows", flows, "--json").document
    assert document["failed"] == 60
    assert {result["hooks"][0]["outcome"] for result in document["results"]} == {"failed, continue"}


def test_a_plugin_that_does_not_start_is_not_fine(tool: Tool, tmp_path: Path, har: Path) -> None:
    module = wasm(
        f'(module {MEMORY} (func (export "on_request") (result i32) i32.const 0)'
        ' (func (export "plugin_init") (result i32) i32.const 3))'
    )
    ran = tool("test", put(tmp_path, "it", module), "--flows", har)
    assert ran.code == 1
    assert "plugin_init returned 3" in ran.err


def test_log_lines_are_all_kept_whatever_the_rate(tool: Tool, tmp_path: Path) -> None:
    body = """(local $i i32)
      (loop $more
        (drop (call $log (i32.const 1) (i32.const 0) (i32.const 1)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $i) (i32.const 900))))
      i32.const 0"""
    module = guest(body, imports=importing("host_log", 3))
    ran, _ = outcome(tool, tmp_path, module, "[limits]\nlog_lines_per_second = 1\n")
    assert [len(result["hooks"][0]["log"]) for result in ran.document["results"]] == [900, 900]


def test_control_characters_of_a_log_line_are_made_visible(tool: Tool, tmp_path: Path) -> None:
    module = wasm(
        f"""(module {importing("host_log", 3)} {MEMORY} {VERSION}
          (data (i32.const 0) "\\1b[2J")
          (func (export "on_request") (result i32)
            (call $log (i32.const 1) (i32.const 0) (i32.const 4))))"""
    )
    (tmp_path / "one.har").write_bytes(archive([entry()]))
    ran = tool("test", put(tmp_path, "it", module), "--flows", tmp_path / "one.har")
    assert "log INFO \\x1b[2J" in ran.out


def test_an_archive_that_is_none_is_asked_wrongly(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "x.har").write_text("no")
    ran = tool("test", PLUGINS / "header-modifier", "--flows", tmp_path / "x.har")
    assert ran.code == 2
    assert "x.har is not a HAR 1.2 archive" in ran.err


def test_bench_gives_time_and_fuel_of_each_hook(tool: Tool, har: Path) -> None:
    for flows in ([], ["--flows", har]):
        ran = tool("bench", PLUGINS / "header-modifier", "--calls", 20, "--json", *flows)
        assert ran.code == 0
        hooks = ran.document["hooks"]
        assert [hook["hook"] for hook in hooks] == ["on_request", "on_response"]
        for hook in hooks:
            assert (hook["calls"], hook["failures"]) == (20, 0)
            assert 0 < hook["microseconds"]["p50"] <= hook["microseconds"]["p99"]
            assert 0 < hook["fuel"]["p50"] <= hook["fuel"]["p99"]


def test_bench_for_people(tool: Tool) -> None:
    ran = tool("bench", PLUGINS / "example-logger", "--calls", 5)
    heading, *hooks = ran.out.splitlines()
    assert " ".join(heading.split()) == "hook calls us p50 us p99 fuel p50 fuel p99"
    names = [line.split()[0] for line in hooks]
    assert names == ["on_connect", "on_request", "on_response", "on_capture"]


def test_bench_of_a_plugin_that_fails_is_not_fine(tool: Tool, tmp_path: Path) -> None:
    place = put(tmp_path, "it", guest("i32.const -1"))
    ran = tool("bench", place, "--calls", 5)
    assert ran.code == 1
    assert "5 failed" in ran.out


def test_bench_without_flows_in_the_archive_is_asked_wrongly(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "none.har").write_bytes(archive([]))
    ran = tool("bench", PLUGINS / "header-modifier", "--flows", tmp_path / "none.har")
    assert ran.code == 2


def test_percentiles() -> None:
    from int3rceptor_tui.plugin_tools.bench import percentile

    values = list(range(1, 101))
    assert (percentile(values, 50), percentile(values, 99), percentile([], 50)) == (50, 99, 0)
    assert percentile([7], 99) == 7


# What hooks do beyond heads.

BODY = """(module
  {get} {set} {memory} {version}
  (data (i32.const 0) "lower")
  (func (export "{hook}") (result i32)
    (drop (call $get_body (i32.const 0) (i32.const 1024) (i32.const 4096)))
    (i32.store8 (i32.const 1024) (i32.const 74))
    (drop (call $set_body (i32.const 1024) (i32.const 5)))
    i32.const 0))"""


def writing(hook: str) -> bytes:
    """A module that keeps of a body five bytes, the first one a J."""
    text = BODY.format(
        get=importing("host_get_body", 3),
        set=importing("host_set_body", 2),
        memory=MEMORY,
        version=VERSION,
        hook=hook,
    )
    return wasm(text)


def asked(text: str, *headers: tuple[str, str]) -> dict[str, object]:
    """A request with a body."""
    fields = [{"name": name, "value": value} for name, value in headers]
    return {"method": "POST", "headers": fields, "postData": {"text": text}}


@pytest.mark.parametrize(
    ("hook", "lines"),
    [
        ("on_request", ["~ body  8 → 5", "- question", "+ Juest"]),
        ("on_request_chunk", ["~ body  8 → 5", "- question", "+ Juest"]),
        ("on_response", ["~ body  5 → 5", "- hello", "+ Jello"]),
        ("on_response_chunk", ["~ body  5 → 5", "- hello", "+ Jello"]),
    ],
)
def test_what_becomes_of_a_body_is_shown(
    tool: Tool, tmp_path: Path, hook: str, lines: list[str]
) -> None:
    (tmp_path / "one.har").write_bytes(archive([entry(request=asked("question"))]))
    place = put(tmp_path, "it", writing(hook))
    ran = tool("test", place, "--flows", tmp_path / "one.har", "--json")
    assert ran.code == 0
    (run,) = ran.document["results"][0]["hooks"]
    assert (run["hook"], run["outcome"]) == (hook, "continue")
    assert [line for line in run["diff"] if "content-length" not in line] == lines


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
def test_a_body_is_coded_as_its_head_says_and_archives_keep_it_plain(
    tool: Tool, tmp_path: Path, coding: str
) -> None:
    answer = {"headers": [{"name": "Content-Encoding", "value": coding}]}
    (tmp_path / "one.har").write_bytes(archive([entry(response=answer)]))
    place = put(tmp_path, "it", writing("on_response"))
    ran = tool("test", place, "--flows", tmp_path / "one.har", "--json")
    (run,) = ran.document["results"][0]["hooks"]
    assert run["diff"][-2:] == ["- hello", "+ Jello"]


def test_what_is_rewritten_of_the_capture_is_shown(tool: Tool, tmp_path: Path) -> None:
    module = wasm(
        f"""(module {importing("host_set_header", 4)} {MEMORY} {VERSION}
          (data (i32.const 0) "Server")
          (data (i32.const 8) "***")
          (func (export "on_capture") (result i32)
            (drop (call $set_header (i32.const 0) (i32.const 6) (i32.const 8) (i32.const 3)))
            i32.const 0))"""
    )
    ran, outcomes = outcome(tool, tmp_path, module)
    assert outcomes == ["on_capture: continue"]
    diff = ran.document["results"][0]["hooks"][0]["diff"]
    assert diff == ["- Server: nginx", "+ Server: ***"]


def test_what_is_delayed_is_told_and_not_waited_for(tool: Tool, tmp_path: Path) -> None:
    module = guest(
        "(drop (call $delay (i32.const 30000))) i32.const 0", imports=importing("host_delay", 1)
    )
    ran, outcomes = outcome(tool, tmp_path, module)
    assert ran.code == 0
    assert outcomes == ["on_request: continue, delayed by 30000 ms"]


def test_what_a_terminal_s_character_set_lacks_is_written_as_escapes(tmp_path: Path) -> None:
    (tmp_path / "one.har").write_bytes(archive([entry(request=asked("question"))]))
    place = put(tmp_path, "it", writing("on_request"))
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "int3rceptor_tui.cli", "plugin", "test", str(place)),
            *("--flows", str(tmp_path / "one.har")),
        ],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert b"~ body  8 \\u2192 5" in ran.stdout


def test_messages_of_a_websocket_are_shown(tool: Tool, tmp_path: Path) -> None:
    frames = [
        {"type": "send", "time": 1.5, "opcode": 1, "data": "hello"},
        {"type": "receive", "time": 2.5, "opcode": 2, "data": "AP8A/wA="},
        {"type": "receive", "time": 3.5, "opcode": 9, "data": ""},
    ]
    connection = entry(
        "wss://example.com/live",
        response={"status": 101, "statusText": "Switching Protocols", "content": {}},
        _webSocketMessages=frames,
    )
    (tmp_path / "one.har").write_bytes(archive([connection]))
    place = put(tmp_path, "it", writing("on_websocket_message"))
    ran = tool("test", place, "--flows", tmp_path / "one.har", "--json")
    text, binary = ran.document["results"][0]["hooks"]
    assert text["hook"] == binary["hook"] == "on_websocket_message"
    assert text["diff"] == ["~ body  5 → 5", "- hello", "+ Jello"]
    assert "first difference at byte 0 (0x0)" in binary["diff"][1]
    drop = put(tmp_path, "no", guest("i32.const 1", "on_websocket_message"))
    dropped = tool("test", drop, "--flows", tmp_path / "one.har", "--json").document
    assert {run["outcome"] for run in dropped["results"][0]["hooks"]} == {"drop"}


def test_captured_messages_that_a_plugin_rewrites_are_shown(tool: Tool, tmp_path: Path) -> None:
    frames = [
        {"type": "send", "time": 1.5, "opcode": 1, "data": "card 4111"},
        {"type": "receive", "time": 2.5, "opcode": 1, "data": "thanks"},
    ]
    connection = entry("ws://example.com/", response={"status": 101}, _webSocketMessages=frames)
    (tmp_path / "one.har").write_bytes(archive([connection]))
    body = (
        "(drop (call $set_field (i32.const 16) (i32.const 0) (i32.const 9)))"
        "(drop (call $set_body (i32.const 16) (i32.const 6))) i32.const 0"
    )
    imports = importing("host_set_field", 3) + importing("host_set_body", 2)
    data = '(data (i32.const 0) "message 0") (data (i32.const 16) "card *")'
    place = put(tmp_path, "it", guest(body, "on_capture", imports + data))
    ran = tool("test", place, "--flows", tmp_path / "one.har", "--json")
    (capture,) = ran.document["results"][0]["hooks"]
    assert capture["diff"] == ["~ body  9 → 6", "- card 4111", "+ card *"]


def test_message_rules_are_told_to_the_plugin_that_wants_to_hear_of_them(
    tool: Tool, tmp_path: Path
) -> None:
    frames = [
        {"type": "send", "time": 1.5, "opcode": 1, "data": "hello"},
        {"type": "send", "time": 2.5, "opcode": 1, "data": "farewell"},
    ]
    connection = entry("ws://example.com/", response={"status": 101}, _webSocketMessages=frames)
    (tmp_path / "one.har").write_bytes(archive([connection]))
    place = put(tmp_path, "it", writing("on_rule_match"))
    run = ("test", place, "--flows", tmp_path / "one.har")
    rules = ("--modify-messages", "/h/c", "--drop-messages", "~b farewell")
    first, second = tool(*run, *rules, "--json").document["results"][0]["hooks"]
    assert (first["hook"], first["rule"]) == ("on_rule_match", "modify-messages 1")
    assert first["diff"] == ["~ body  5 → 5", "- cello", "+ Jello"]
    assert (second["rule"], second["outcome"]) == ("drop-messages 1", "continue")
    told = tool(*run, *rules).out.splitlines()
    assert told[1].startswith("  on_rule_match of modify-messages 1: continue  ")
    assert tool(*run).out.splitlines() == ["1 flow, 0 changed, 0 failed, 0 left out"]
    wrong = tool(*run, "--drop-messages", "~b")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--drop-messages, the filter '~b': column 3" in wrong.err


def test_a_message_that_is_not_base64_is_asked_wrongly(tool: Tool, tmp_path: Path) -> None:
    frames = [{"type": "send", "time": 1.5, "opcode": 2, "data": "%%%"}]
    (tmp_path / "one.har").write_bytes(archive([entry(_webSocketMessages=frames)]))
    ran = tool("test", PLUGINS / "header-modifier", "--flows", tmp_path / "one.har")
    assert ran.code == 2
    assert "entry 1 cannot be run: a body is not base64" in ran.err


def test_a_filter_chooses_the_flows(tool: Tool, har: Path) -> None:
    plugin = PLUGINS / "header-modifier"
    ran = tool("test", plugin, "--flows", har, "--filter", "~c 404 | ~d secure", "--json")
    assert ran.code == 0
    assert [result["number"] for result in ran.document["results"]] == [2, 3]
    assert (ran.document["flows"], ran.document["filtered_out"]) == (2, 1)
    told = tool("test", plugin, "--flows", har, "--filter", "~c 404").out.splitlines()
    assert told[-1] == "1 flow, 1 changed, 0 failed, 0 left out, 2 not of '~c 404'"


def test_a_filter_that_is_none_is_asked_wrongly(tool: Tool, har: Path) -> None:
    ran = tool("test", PLUGINS / "header-modifier", "--flows", har, "--filter", "~c (")
    assert ran.code == 2
    assert "--filter: column 4: ~c: '' is not a number" in ran.err
    assert ran.out == ""


def test_bench_measures_bodies_and_messages_too(tool: Tool, tmp_path: Path) -> None:
    frames = [{"type": "send", "time": 1.5, "opcode": 1, "data": "hello"}]
    connection = entry("ws://example.com/", response={"status": 101}, _webSocketMessages=frames)
    flows = tmp_path / "two.har"
    flows.write_bytes(archive([entry(request=asked("question")), connection]))
    names = ["on_request_chunk", "on_response_chunk", "on_websocket_message"]
    exports = " ".join(f'(func (export "{name}") (result i32) i32.const 0)' for name in names)
    place = put(tmp_path, "it", wasm(f"(module {MEMORY} {VERSION} {exports})"))
    document = tool("bench", place, "--flows", flows, "--calls", 7, "--json").document
    assert [(hook["hook"], hook["calls"]) for hook in document["hooks"]] == [
        (name, 7) for name in names
    ]


def test_what_of_an_archive_is_left_out_is_told(tool: Tool, tmp_path: Path) -> None:
    flows = tmp_path / "flows.har"
    odd = [entry(response={"status": 999}) for _ in range(12)]
    flows.write_bytes(archive([entry(), entry("data:,x"), *odd]))
    arguments = ("test", PLUGINS / "header-modifier", "--flows", flows)
    ran = tool(*arguments)
    assert ran.code == 0
    assert ran.out.endswith("1 flow, 1 changed, 0 failed, 13 left out\n")
    lines = ran.err.splitlines()
    assert lines[0].endswith(
        "flows.har, entry 3 is left out: status 999 is none; it must be from 100 to 599"
    )
    assert lines[10:] == ["int3rceptor-tui: and 2 more"]
    document = tool(*arguments, "--json").document
    assert document["left_out"] == 13
    assert document["left_out_why"][0]["entry"] == 2
    assert "not for a proxy" in document["left_out_why"][0]["why"]


def test_a_filter_that_waits_for_a_body_of_unknown_length_is_shown_it(
    tool: Tool, tmp_path: Path
) -> None:
    mark = f"""(drop (call $set_buffer_bytes (i32.const 1) (i32.const 0) (i32.const 0)
        (i32.const 100) (i32.const 2))) {add(2, (100, 2), (100, 2))} {CONTINUE}"""
    module = filter_of(
        on("response_headers", 3, PAUSE), on("response_body", 3, mark), texts={100: b"it"}
    )
    har = tmp_path / "one.har"
    har.write_bytes(archive([entry()]))
    place = put(tmp_path, "filter", module, "[limits]\ndeadline_ms = 60000")
    ran = tool("test", place, "--flows", har)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert "    + it: it" in lines
    assert "    + ithelloit" in lines
