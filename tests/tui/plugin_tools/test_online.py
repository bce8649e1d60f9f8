"""The tools that ask a running core, with a core in a process of its own."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wasmtime

from int3rceptor_tui.plugin_tools.online import Where, list_plugins
from proxy_core.api.documents import encode
from proxy_core.api.documents_plugins import PluginList, plugin_document
from proxy_core.model.plugin_status import PluginState
from tests.e2e.harness import ProxyProcess
from tests.tui.fake_control import make_plugin
from tests.tui.plugin_tools.conftest import Ran, Tool, put

SPEAKER = """
(module
  (import "env" "host_log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "red \\1b[31m text")
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func (export "on_request") (result i32) i32.const 0)
  (func (export "plugin_init") (result i32)
    (call $log (i32.const 2) (i32.const 0) (i32.const 14))
    i32.const 0))
"""

Online = Callable[..., Ran]


class Running:
    """A core with one plugin, and what finds it."""

    def __init__(self, proxy: ProxyProcess, plugins: Path) -> None:
        self.url = proxy.read_api_url()
        self.process = proxy.process
        self.plugins = plugins
        self.options = ("--api", self.url, "--data-dir", str(proxy.data_dir))
        self.where = self.url.removeprefix("http://")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    plugins = tmp_path / "plugins"
    put(plugins, "speaker", bytes(wasmtime.wat2wasm(SPEAKER)), 'version = "1.2.3"\n')
    directory = tmp_path / "core"
    directory.mkdir()
    with ProxyProcess.running(
        directory, "--api", "127.0.0.1:0", "--plugins", str(plugins)
    ) as proxy:
        yield Running(proxy, plugins)


@pytest.fixture
def online(tool: Tool, running: Running) -> Online:
    def run(*arguments: object) -> Ran:
        return tool(*arguments, *running.options)

    return run


def test_list_shows_what_runs(online: Online) -> None:
    ran = online("list")
    assert ran.code == 0
    assert ran.out.startswith("speaker                  ready       1.2.3    generation 1, 0 calls")
    document = online("list", "--json").document
    assert [plugin["name"] for plugin in document["plugins"]] == ["speaker"]


def test_a_plugin_is_reloaded_disabled_and_enabled(online: Online, running: Running) -> None:
    ran = online("reload", "speaker")
    assert ran.code == 0
    assert ran.out.startswith("speaker: generation 2 is at work")
    assert online("reload", "speaker", "--json").document["generation"] == 3
    assert online("disable", "speaker").out == "speaker is disabled\n"
    ran = online("reload", "speaker")
    assert ran.code == 1
    assert "speaker is disabled; enable it" in ran.err
    assert online("enable", "speaker").code == 0
    (running.plugins / "speaker" / "speaker.wasm").write_bytes(b"broken")
    ran = online("reload", "speaker", "--json")
    assert ran.code == 1
    assert "goes on as generation" in ran.document["error"]


def test_an_unknown_plugin_exits_with_1_and_is_one_line_in_json_too(online: Online) -> None:
    for command in (["reload"], ["enable"], ["disable"], ["logs"], ["logs", "-f"]):
        ran = online(*command, "nobody", "--json")
        assert ran.code == 1
        assert "no plugin 'nobody'; known: speaker" in ran.err
        (line,) = ran.out.splitlines()
        assert "no plugin 'nobody'" in json.loads(line)["error"]


def test_logs_are_shown_and_cannot_draw_on_the_terminal(online: Online) -> None:
    ran = online("logs", "speaker", "--level", "warn", "--since", "1h")
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert r"WARN  speaker: red \x1b[31m text" in ran.out
    assert "generation 1" not in ran.out
    assert online("logs", "speaker", "-n", "1").out.count("\n") == 1
    document = online("logs", "speaker", "--json").document
    assert document["lines"][0]["text"] == "red \x1b[31m text"
    assert online("logs", "speaker", "--since", str(document["last"])).out == ""


def test_logs_that_are_asked_for_wrongly_say_how(online: Online) -> None:
    ran = online("logs", "speaker", "--since", "yesterday")
    assert ran.code == 2
    ran = online("logs", "speaker", "--level", "loud")
    assert ran.code == 2
    assert "give one of debug, info, warn, error" in ran.err
    assert online("logs", "speaker", "--since", "999999999d").code == 2


def test_logs_are_followed_until_the_core_ends(running: Running, tool: Tool, home: Path) -> None:
    command = [sys.executable, "-m", "int3rceptor_tui.cli", "plugin", "logs", "speaker", "-f"]
    follower = subprocess.Popen(
        [*command, "--json", *running.options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HOME": str(home)},
    )
    try:
        assert follower.stdout is not None
        first = json.loads(follower.stdout.readline())
        assert (first["event"], first["level"]) == ("log", "warn")
        assert tool("reload", "speaker", *running.options).code == 0
        texts = [json.loads(follower.stdout.readline())["text"] for _ in range(3)]
        assert any("generation 2 loaded" in text for text in texts)
        running.process.terminate()
        _, complaint = follower.communicate()
        assert follower.returncode == 4
        assert "has ended the log" in complaint
        assert running.process.wait() == 0
    finally:
        follower.kill()
        follower.communicate()


def test_discover_lets_the_core_take_up_what_is_new(online: Online, running: Running) -> None:
    put(running.plugins, "second", bytes(wasmtime.wat2wasm(SPEAKER)))
    ran = online("discover")
    assert ran.code == 0
    assert "added: second" in ran.out
    (running.plugins / "rubbish.wasm").write_bytes(b"rubbish")
    ran = online("discover", "--json")
    assert ran.code == 1
    assert ran.document["core"] == running.where
    states = {plugin["name"]: plugin["loaded"] for plugin in ran.document["plugins"]}
    assert states == {"speaker": True, "second": True, "rubbish": False}


def test_discover_of_directories_asks_no_core(tool: Tool, running: Running) -> None:
    ran = tool("discover", running.plugins, "--json")
    assert "core" not in ran.document
    ran = tool("discover", running.plugins, "--api", running.url)
    assert ran.code == 2


def test_discover_looks_by_itself_where_no_core_answers(tool: Tool, home: Path) -> None:
    token = home / ".local/share/int3rceptor/api/token"
    token.parent.mkdir(parents=True)
    token.touch(mode=0o600)
    token.write_text("a-token-of-enough-length\n")
    ran = tool("discover", "--json")
    assert ran.code == 0
    assert ran.document["plugins"] == []
    ran = tool("discover", "--api", "127.0.0.1:1")
    assert ran.code == 4


def test_another_data_directory_s_token_is_not_taken(
    tool: Tool, running: Running, tmp_path: Path
) -> None:
    ran = tool("list", "--api", running.url, "--data-dir", tmp_path / "other")
    assert ran.code == 4
    assert "wants a token" in ran.err
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text("a-token-of-enough-length\n")
    ran = tool("list", "--api", running.url, "--api-token-file", file, "--json")
    assert ran.code == 4
    assert "refuses" in ran.document["error"]


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:3000", "http://127.0.0.1:3000/x", "http://a@b:1", "h:0", "3000"]
)
def test_a_url_that_is_none_is_asked_wrongly(tool: Tool, url: str) -> None:
    assert tool("list", "--api", url).code == 2


def test_no_core_exits_with_4_and_says_how_to_start_one(tool: Tool) -> None:
    ran = tool("list", "--api", "127.0.0.1:1")
    assert ran.code == 4
    assert "no core answers at 127.0.0.1:1; start one with int3rceptor-tui serve --api" in ran.err


class _Other(http.server.BaseHTTPRequestHandler):
    """A core of another version: its documents are of another shape."""

    def do_GET(self) -> None:
        body = b'{"program": "int3rceptor", "plugins": [7], "refused": [7], "lines": [7]}'
        if "follow" in self.path:
            body = b'event: lost\ndata: {"lost": "\\u001b[31m"}\n\n'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_core_of_another_version_is_no_bug(tool: Tool, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x" * 20)
    token.chmod(0o600)
    with http.server.HTTPServer(("127.0.0.1", 0), _Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for command in (
                ["list"],
                ["discover"],
                ["reload", "x"],
                ["logs", "x"],
                ["logs", "x", "-f"],
            ):
                where = ("--api", f"127.0.0.1:{server.server_port}", "--api-token-file", token)
                ran = tool(*command, *where)
                assert (ran.code, ran.out) == (1, "")
                assert "the core speaks another version's API; update one" in ran.err
        finally:
            server.shutdown()
            thread.join()


def test_list_says_how_long_a_plugin_rests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = make_plugin("a", state=PluginState.QUARANTINED, quarantined_for=42.0, traps=3)
    document = json.loads(encode(PluginList([plugin_document(status)], 1)))

    class Answers:
        def ask(self, method: str, path: tuple[str, ...]) -> object:
            return document

    monkeypatch.setattr(Where, "client", lambda where: Answers())
    assert list_plugins(Where(None, {}), as_json=False) == 0
    assert "3 traps, called again in 42s, " in capsys.readouterr().out
