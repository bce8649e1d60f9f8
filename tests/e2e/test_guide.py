"""docs/plugins.md as a reader follows it: every command in it is typed here, by section.

Only what cannot be had here is put in its place: the ports, and the origin example.com.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from int3rceptor_tui.plugin_tools.build import find_tool
from int3rceptor_tui.plugin_tools.languages import LANGUAGES, read_template
from proxy_core.plugin_host.files.manifest import GuestLimits, Permissions
from tests.e2e.harness import BackgroundOrigin, free_ports
from tests.e2e.test_console_terminal import Terminal
from tests.plugins.conftest import PLUGINS
from tests.project.tree import ROOT
from tests.tui.plugin_tools.conftest import Tool, archive, entry

GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
_PROGRAM = "int3rceptor-tui"
_TITLES = {
    "rust": "Rust",
    "c": "C",
    "zig": "Zig",
    "assemblyscript": "AssemblyScript",
    "wat": "WAT",
}
_AFTERWARDS = ["The tools", "Asking a running core", "What it may reach"]
"""Sections whose commands are about a plugin that is there."""


def read_sections() -> Mapping[str, list[str]]:
    """The commands under each heading: the lines that are set off by four blanks."""
    sections: dict[str, list[str]] = {}
    title, fenced = "", False
    for line in GUIDE.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced:
            continue
        elif line.startswith("#"):
            title = line.lstrip("# ")
        elif line.startswith("    "):
            sections.setdefault(title, []).append(line.strip())
    return sections


SECTIONS = read_sections()


def test_every_command_of_the_guide_is_in_a_section_that_is_typed_here() -> None:
    assert set(SECTIONS) == {"Where plugins are found", *_TITLES.values(), *_AFTERWARDS}


def test_what_is_set_off_otherwise_is_no_command() -> None:
    fences = re.findall(r"^```(.*)$", GUIDE, re.MULTILINE)
    assert set(fences[::2]) <= {"toml", "rust", "c", "zig", "typescript", "wat"}
    assert set(fences[1::2]) == {""}
    typed = {tuple(shlex.split(line)[:3]) for lines in SECTIONS.values() for line in lines}
    for command in re.findall(rf"`({_PROGRAM} [^`]*)`", GUIDE):
        assert tuple(shlex.split(command)[:3]) in typed, command


def test_every_tool_is_typed_somewhere() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "int3rceptor_tui.cli", "plugin", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    ).stdout
    tools = set(re.findall(r"^\W*([a-z]+)  +\S", shown.partition("Commands")[2], re.MULTILINE))
    assert len(tools) >= 12
    lines = [shlex.split(line) for section in SECTIONS.values() for line in section]
    assert {line[2] for line in lines if line[:2] == [_PROGRAM, "plugin"]} == tools


def test_the_guide_names_every_language_and_what_is_copied() -> None:
    rows = {
        row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| `(.+?)` \| (.+?) \|", GUIDE, re.M)
    }
    for language in LANGUAGES.values():
        source, sdk = rows[language.name]
        assert source == language.source
        assert sdk == ("none needed" if language.sdk is None else f"`{language.sdk}`")


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_the_source_that_is_shown_is_the_one_that_new_writes(language: str) -> None:
    section = GUIDE.partition(f"### {_TITLES[language]}\n")[2].partition("\n### ")[0]
    (shown,) = re.findall(r"```\w+\n(.*?)```", section, re.DOTALL)
    template = read_template(LANGUAGES[language]).replace("NAME", "hello").replace("LENGTH", "5")
    assert " ".join(shown.split()) in " ".join(template.split())


def test_the_plugins_that_come_along_are_listed_with_their_size() -> None:
    listed = dict(re.findall(r"^\| `([\w-]+)` \| \w+ \| (\d+) \| ", GUIDE, re.MULTILINE))
    sizes = {path.stem: str(path.stat().st_size) for path in PLUGINS.glob("*/*.wasm")}
    assert listed == sizes


def test_permissions_and_limits_are_listed_with_their_defaults() -> None:
    listed = dict(re.findall(r"^\| `((?:permissions|limits)\.\w+)` \| (\w+) \| ", GUIDE, re.M))
    tables = {"permissions": asdict(Permissions()), "limits": asdict(GuestLimits())}
    defaults = {
        f"{table}.{key}": str(value or "none").lower() if value is not False else "false"
        for table, keys in tables.items()
        for key, value in keys.items()
    }
    assert listed == defaults


class Reader:
    """Somebody with an empty directory, a home of their own and as many terminals as it takes."""

    def __init__(self, place: Path, home: Path, origin: BackgroundOrigin, tool: Tool) -> None:
        self.place = place
        self.home = home
        self._origin = origin
        self._tool = tool
        self._port = 0
        self._running = contextlib.ExitStack()

    def close(self) -> None:
        """End what still runs."""
        self._running.close()

    def type(self, command: str) -> str:
        """Do as the line says, and return what it printed; it must end well."""
        words = shlex.split(command)
        match words:
            case ["int3rceptor-tui", "plugin", *_]:
                ran = self._tool(*words[2:])
                assert ran.code == 0, (command, ran.out, ran.err)
                return ran.out
            case ["int3rceptor-tui", "serve", *options]:
                self.close()
                self._running.enter_context(self._serve(options))
            case ["int3rceptor-tui", *options]:
                self.close()
                self._running.enter_context(self._console(options))
            case ["curl", *_]:
                origin = f"http://127.0.0.1:{self._origin.http}/"
                assert "http://127.0.0.1:8080" in words
                assert "http://example.com/" in words
                here = {"http://127.0.0.1:8080": f"http://127.0.0.1:{self._port}"}
                here["http://example.com/"] = origin
                return self._run([here.get(word, word) for word in words])
            case ["sed", *_]:
                return self._run(words)
            case _:
                pytest.fail(f"nobody types {command!r} here")
        return ""

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def _console(self, options: list[str]) -> Iterator[None]:
        terminal = Terminal(options, (100, 30), {})
        over = threading.Event()

        def look_on() -> None:
            while not over.is_set():
                terminal.read(0.1)

        try:
            terminal.expect("listens on 127.0.0.1:")
            port = re.search(r"listens on 127\.0\.0\.1:(\d+)", " ".join(terminal.text.split()))
            assert port is not None
            self._port = int(port[1])
            looking = threading.Thread(target=look_on)
            looking.start()
            try:
                yield
            finally:
                over.set()
                looking.join()
            terminal.send(b"Q")
            assert terminal.end() == 0
        finally:
            terminal.close()

    @contextlib.contextmanager
    def _serve(self, options: list[str]) -> Iterator[None]:
        at = options.index("--api") + 1
        command = [sys.executable, "-m", "int3rceptor_tui.cli", "serve", *options[:at]]
        command += [os.environ["INT3_API"], *options[at:]]
        with (self.home / "serve.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            for word in ("listening on ", "API at "):
                assert process.stdout.readline().startswith(word)
            yield
        finally:
            process.terminate()
            process.communicate(timeout=10)
        assert process.returncode == 0


@pytest.fixture
def reader(
    tmp_path: Path,
    origin: BackgroundOrigin,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Reader]:
    place, home = tmp_path / "empty", tmp_path / "home"
    place.mkdir()
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("INT3_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(home))
    (port,) = free_ports(1)
    monkeypatch.setenv("INT3_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("INT3_API", f"127.0.0.1:{port}")
    beside_python = Path(sys.executable).parent  # where `pip install ziglang` puts it
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{beside_python}")
    monkeypatch.chdir(place)
    somebody = Reader(place, home, origin, Tool(capsys))
    yield somebody
    somebody.close()


def follow(reader: Reader, language: str) -> None:
    """Type the section of a language; look at the answers where it says what they are."""
    *making, before, change, build, after = SECTIONS[_TITLES[language]]
    assert f" --lang {language}" in making[0]
    for command in making:
        reader.type(command)
    assert "x-plugin: hello" in reader.type(before).lower().splitlines()
    reader.type(change)
    reader.type(build)
    while "x-plugin: howdy" not in reader.type(after).lower().splitlines():
        pass  # the console looks twice a second


@pytest.mark.timeout(120)
@pytest.mark.tools("curl", "sed")
@pytest.mark.parametrize("language", list(LANGUAGES))
def test_from_nothing_to_a_reloaded_plugin(reader: Reader, language: str) -> None:
    if language != "wat" and find_tool(LANGUAGES[language], reader.place, os.environ) is None:
        pytest.skip(f"no tools for {language}: {LANGUAGES[language].install}")
    follow(reader, language)


@pytest.mark.timeout(120)
@pytest.mark.tools("curl", "sed")
def test_all_else_that_the_guide_has_one_type(reader: Reader) -> None:
    follow(reader, "wat")
    reader.close()
    flows = [entry("http://example.com/"), entry("https://other.example/")]
    (reader.place / "flows.har").write_bytes(archive(flows))
    for command in SECTIONS["The tools"]:
        reader.type(command)
    installed = reader.home / ".int3rceptor" / "plugins" / "hello"
    assert (installed / "hello.wasm").is_file()
    for command in SECTIONS["Asking a running core"]:
        reader.type(command)
    reader.close()
    manifest = installed / "plugin.toml"
    asking = re.search(r"\[permissions\]\n(network = .*\nfilesystem = .*\n)", GUIDE)
    assert asking is not None
    manifest.write_text(
        manifest.read_text().replace("[permissions]\n", f"[permissions]\n{asking[1]}")
    )
    for command in SECTIONS["What it may reach"]:
        reader.type(command)


@pytest.mark.timeout(60)
def test_the_plugins_that_come_along_are_loaded_as_the_guide_says(reader: Reader) -> None:
    (command,) = SECTIONS["Where plugins are found"]
    (reader.place / "plugins").symlink_to(PLUGINS)
    reader.type(command)
