from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin_host.foreign.http_wasm.modules import handler
from tests.plugin_host.foreign.proxy_wasm.filters import CONTINUE, filter_of, on
from tests.plugin_host.guests import MEMORY, guest, importing, wasm
from tests.plugins.conftest import PLUGINS
from tests.tui.plugin_tools.conftest import Tool, put

VERSION = '(func (export "int3_abi_version") (result i32) i32.const 1)'
HOOK = '(func (export "on_request") (result i32) i32.const 0)'


def test_a_plugin_is_shown_with_all_that_it_asks_for(tool: Tool) -> None:
    ran = tool("inspect", PLUGINS / "header-modifier", "--json")
    assert ran.code == 0
    found = ran.document
    assert found["loadable"] is True
    assert found["problems"] == []
    assert (found["name"], found["abi"]) == ("header-modifier", "int3 v1")
    assert found["hooks"] == ["on_request", "on_response"]
    assert found["memory"] == {"pages": 1, "most_pages": None}
    imports = {item["name"]: item for item in found["imports"]}
    assert imports["host_add_header"] == {
        "module": "env",
        "name": "host_add_header",
        "type": "(i32, i32, i32, i32) -> (i32)",
        "since": 1,
        "permissions": ["modify_requests", "modify_responses"],
        "withheld": [],
        "problem": None,
    }
    assert imports["host_log"]["permissions"] == []
    assert found["manifest"]["config"] == {"add": {"X-Plugin-Modified": "true"}}
    assert found["manifest"]["limits"]["fuel"] == 1_000_000


def test_people_get_text(tool: Tool) -> None:
    ran = tool("inspect", PLUGINS / "request-counter")
    assert ran.code == 0
    assert "abi: int3 v0" in ran.out
    assert "hooks: on_connect, on_request, on_response" in ran.out
    assert ran.out.endswith("  would be loaded\n")


def test_a_handler_for_http_wasm_is_a_plugin(tool: Tool, tmp_path: Path) -> None:
    place = put(tmp_path, "handler", handler("get_uri", "log"))
    ran = tool("inspect", place)
    assert ran.code == 0, ran.out
    assert "abi: http-wasm" in ran.out
    assert "    http_handler.get_uri (i32, i32) -> (i32)\n" in ran.out
    assert ran.out.endswith("  would be loaded\n")


def test_a_proxy_wasm_filter_is_a_plugin_and_what_is_not_there_is_listed(
    tool: Tool, tmp_path: Path
) -> None:
    module = filter_of(on("request_headers", 3, CONTINUE), on("grpc_close", 3, "", ""))
    ran = tool("inspect", put(tmp_path, "filter", module))
    assert ran.code == 0, ran.out
    assert "abi: Proxy-Wasm 0.2.1" in ran.out
    assert "  note: not supported: proxy_grpc_cancel, proxy_on_grpc_close\n" in ran.out
    assert "  limits: 100000000 fuel, 5000 ms, 128 MiB, " in ran.out
    assert ran.out.endswith("  would be loaded\n")


def test_what_a_filter_may_not_call_is_told(tool: Tool, tmp_path: Path) -> None:
    module = filter_of(on("request_headers", 3, CONTINUE))
    found = tool("inspect", put(tmp_path, "filter", module), "--json").document
    (call,) = [item for item in found["imports"] if item["name"] == "proxy_http_call"]
    assert (call["permissions"], call["withheld"]) == (["network"], ["network"])
    assert (
        "calls proxy_http_call without permissions.network: the answer there is 10"
        " (INTERNAL_FAILURE)"
    ) in found["notes"]
    asking = put(tmp_path, "asking", module, '[permissions]\nnetwork = ["auth"]\n')
    assert "INTERNAL_FAILURE" not in tool("inspect", asking).out


def test_a_proxy_wasm_filter_may_begin_with_the_memory_that_emscripten_gives_it(
    tool: Tool, tmp_path: Path
) -> None:
    module = filter_of(on("request_headers", 3, CONTINUE), pages=256)
    ran = tool("inspect", put(tmp_path, "filter", module))
    assert ran.code == 0, ran.out
    assert "  memory: 16384 KiB, " in ran.out


def test_an_import_that_http_wasm_does_not_have_is_named(tool: Tool, tmp_path: Path) -> None:
    module = wasm(
        f"""(module (import "http_handler" "get_path" (func)) {MEMORY}
          (func (export "handle_request") (result i64) i64.const 1)
          (func (export "handle_response") (param i32 i32)))"""
    )
    found = tool("inspect", put(tmp_path, "bad", module), "--json").document
    assert found["abi"] == "http-wasm"
    ((problem,), (item,)) = found["problems"], found["imports"]
    assert problem == item["problem"]
    assert "'http_handler.get_path'" in problem
    assert item["since"] is None


@pytest.mark.parametrize("form", ["plugin.toml", "header-modifier.wasm"])
def test_manifest_and_module_mean_the_plugin_too(tool: Tool, form: str) -> None:
    found = tool("inspect", PLUGINS / "header-modifier" / form, "--json").document
    assert found["manifest"]["bare"] is False
    assert found["manifest"]["version"] == "1.0.0"


def test_a_module_beside_another_plugin_s_manifest_stands_for_itself(
    tool: Tool, tmp_path: Path
) -> None:
    place = put(tmp_path, "one", guest("i32.const 0"))
    other = place / "other.wasm"
    other.write_bytes(guest("i32.const 0"))
    found = tool("inspect", other, "--json").document
    assert (found["name"], found["manifest"]["bare"]) == ("other", True)


def test_every_import_that_is_refused_is_named_and_not_only_the_first(
    tool: Tool, tmp_path: Path
) -> None:
    module = wasm(
        f"""(module
          (import "env" "host_fly" (func (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
          (import "env" "host_now_ns" (func (result i32)))
          {importing("host_log", 3)}
          {MEMORY} {VERSION} {HOOK})"""
    )
    ran = tool("inspect", put(tmp_path, "odd", module), "--json")
    assert ran.code == 1
    found = ran.document
    assert found["loadable"] is False
    assert found["abi"] == "int3 v1"
    assert len(found["problems"]) == 3
    assert {i["name"]: i["problem"] is None for i in found["imports"]} == {
        "host_fly": False,
        "fd_write": False,
        "host_now_ns": False,
        "host_log": True,
    }
    assert "build it without WASI" in found["problems"][1]


def test_a_permission_that_is_missing_is_a_note_and_no_refusal(tool: Tool, tmp_path: Path) -> None:
    module = guest("i32.const 0", imports=importing("host_set_header", 4))
    place = put(tmp_path, "modest", module, "[permissions]\nmodify_requests = false\n")
    ran = tool("inspect", place, "--json")
    assert ran.code == 0
    (item,) = ran.document["imports"]
    assert item["permissions"] == item["withheld"] == ["modify_requests"]
    (note,) = ran.document["notes"]
    assert "without permissions.modify_requests" in note


def test_limits_that_put_a_plugin_on_a_thread_are_noted(tool: Tool, tmp_path: Path) -> None:
    limits = "[limits]\nmemory_mb = 100\nfuel = 100_000_000"
    place = put(tmp_path, "large", guest("i32.const 0"), limits)
    (note,) = tool("inspect", place, "--json").document["notes"]
    assert "it runs on a thread" in note


def test_hooks_that_the_abi_does_not_have_are_noted(tool: Tool, tmp_path: Path) -> None:
    tick = '(func (export "on_tick") (result i32) i32.const 0)'
    module = wasm(f"(module {MEMORY} {HOOK} {tick})")
    ran = tool("inspect", put(tmp_path, "ticking", module))
    assert ran.code == 0
    assert "note: on_tick is not called: that needs int3_abi_version, returning 1" in ran.out


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"(module)", "text (.wat) must be assembled first"),
        (wasm("(module)")[:8] + b"\x01\x05", "truncated"),
        (wasm("(module)"), "exports no hook"),
        (
            guest("i32.const 0", hook="handle_request", v1=False),
            "an http-wasm handler exports 'handle_request'",
        ),
        (
            wasm(f'(module (memory (export "memory") 1000) {VERSION} {HOOK})'),
            "limits.memory_mb is 10",
        ),
        (
            wasm(
                f'(module {MEMORY} {HOOK} (func (export "plugin_init") (result i32) i32.const 7))'
            ),
            "plugin_init returned 7",
        ),
        (
            wasm(f"(module {MEMORY} {HOOK} (func $start unreachable) (start $start))"),
            "executed 'unreachable'",
        ),
    ],
    ids=["empty", "text", "truncated", "no hook", "foreign", "memory", "init", "start"],
)
def test_what_would_be_refused_exits_with_1_and_says_why(
    tool: Tool, tmp_path: Path, data: bytes, reason: str
) -> None:
    ran = tool("inspect", put(tmp_path, "bad", data))
    assert ran.code == 1
    assert "  refused: " in ran.out
    assert reason in ran.out
    assert "would be loaded" not in ran.out


def test_a_broken_manifest_is_a_refusal(tool: Tool, tmp_path: Path) -> None:
    ran = tool("inspect", put(tmp_path, "bad", guest("i32.const 0"), "colour = 1\n"), "--json")
    assert ran.code == 1
    assert ran.document["manifest"] is None
    assert "unknown key 'colour'" in ran.document["problems"][0]


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_what_is_not_there_is_asked_wrongly(tool: Tool, tmp_path: Path, json: list[str]) -> None:
    ran = tool("inspect", tmp_path / "none", *json)
    assert ran.code == 2
    assert "does not exist" in ran.err
    if json:
        assert "does not exist" in ran.document["error"]


def test_a_directory_of_several_plugins_is_asked_wrongly(tool: Tool) -> None:
    ran = tool("inspect", PLUGINS)
    assert ran.code == 2
    assert "example-logger, header-modifier" in ran.err


def test_names_from_a_module_cannot_draw_on_the_terminal(tool: Tool, tmp_path: Path) -> None:
    module = wasm(f'(module {MEMORY} {HOOK} (func (export "\\1b[2J\\0a")))')
    ran = tool("inspect", put(tmp_path, "evil", module))
    assert "\x1b" not in ran.out
    assert "\\x1b[2J\\n" in ran.out


def test_discover_lists_what_lies_there_and_why_not(tool: Tool, tmp_path: Path) -> None:
    put(tmp_path, "good", guest("i32.const 0"))
    put(tmp_path, "off", guest("i32.const 0"), "enabled = false\n")
    ran = tool("discover", tmp_path)
    assert ran.code == 0
    states = [line.split()[:2] for line in ran.out.splitlines() if not line.startswith(" ")]
    assert states == [["good", "loadable"], ["off", "disabled"]]
    (tmp_path / "bad.wasm").write_bytes(b"MZ")
    ran = tool("discover", tmp_path, "--json")
    assert ran.code == 1
    loadable = {plugin["name"]: plugin["loadable"] for plugin in ran.document["plugins"]}
    assert loadable == {"bad": False, "good": True, "off": True}


def test_discover_looks_where_the_proxy_would(tool: Tool, tmp_path: Path, home: Path) -> None:
    put(home / ".int3rceptor" / "plugins", "mine", guest("i32.const 0"))
    put(tmp_path / "more", "theirs", guest("i32.const 0"))
    ran = tool("discover", "--plugins", tmp_path / "more", "--json")
    assert [plugin["name"] for plugin in ran.document["plugins"]] == ["theirs", "mine"]


def test_discover_refuses_the_second_of_a_name(tool: Tool, tmp_path: Path) -> None:
    for place in ("one", "two"):
        put(tmp_path / place, "twin", guest("i32.const 0"))
    ran = tool("discover", tmp_path / "one", tmp_path / "two", "--json")
    assert ran.code == 1
    first, second = ran.document["plugins"]
    assert (first["loadable"], second["loadable"]) == (True, False)
    assert "is taken by" in second["problems"][0]


def test_discover_of_what_is_no_directory_is_asked_wrongly(tool: Tool, tmp_path: Path) -> None:
    assert tool("discover", tmp_path / "none").code == 2


def test_discover_of_nothing_is_fine(tool: Tool, tmp_path: Path) -> None:
    ran = tool("discover", tmp_path)
    assert (ran.code, ran.out) == (0, f"no plugins in {tmp_path}\n")


def test_what_is_asked_wrongly_is_json_too(tool: Tool, har: Path) -> None:
    long = "x" * 300
    for arguments in (
        ("test", "x", "--json"),
        ("list", "--bogus", "--json"),
        ("nonsense", "--json"),
        ("bench", "x", "--calls", "many", "--json"),
        ("inspect", long, "--json"),
        ("discover", long, "--json"),
        ("build", long, "--json"),
        ("install", long, "--json"),
        ("test", PLUGINS / "header-modifier", "--flows", har, "--golden", long, "--json"),
    ):
        ran = tool(*arguments)
        assert ran.code == 2, ran
        assert ran.document["success"] is False
        assert ran.document["error"] in ran.err
        assert "bug" not in ran.err


def test_json_is_for_who_asks_for_it(tool: Tool) -> None:
    assert tool("test", "x").out == ""
    assert tool("inspect", "--", "--json").out == ""
    assert tool("inspect", "--", "x", "--json").out == ""
