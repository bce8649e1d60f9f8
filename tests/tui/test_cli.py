from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from int3rceptor_tui import cli
from int3rceptor_tui.help_pages import GROUPS
from int3rceptor_tui.options import OPTIONS
from proxy_core.config import Limits, ModeSpec, ReverseMode, Settings
from proxy_core.errors import CaError, ListenError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return tmp_path / "home"


class Started:
    """What the commands were about to start, with what settings."""

    def __init__(self) -> None:
        self.what = ""
        self.settings = Settings()
        self.companion: object = None
        self.code = 0
        self.error: BaseException | None = None

    def console(self, settings: Settings, *, companion: object = None) -> int:
        self.what, self.settings, self.companion = "console", settings, companion
        return self._end()

    def serve(self, settings: Settings) -> int:
        self.what, self.settings = "serve", settings
        return self._end()

    def _end(self) -> int:
        if self.error is not None:
            raise self.error
        return self.code


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    started = Started()
    app = SimpleNamespace(run_console=started.console)
    monkeypatch.setitem(sys.modules, "int3rceptor_tui.app", app)
    serve = SimpleNamespace(run_serve=started.serve)
    monkeypatch.setitem(sys.modules, "int3rceptor_tui.serve", serve)
    monkeypatch.setattr(cli, "_require_terminal", lambda: None)
    return started


FLAGS = [
    *("--listen", "127.0.0.1:9"),
    *("--mode", "reverse:http://o.example:81"),
    *("--plugins", "/p/one", "--plugins", "/p/two"),
    *("--data-dir", "/d"),
    *("--upstream-ca", "/ca.pem"),
    "--insecure",
]
SET = Settings(
    listen_port=9,
    mode=(ModeSpec(ReverseMode("http", "o.example", 81)),),
    plugins=(Path("/p/one"), Path("/p/two")),
    data_dir=Path("/d"),
    upstream_ca=Path("/ca.pem"),
    insecure=True,
)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_flags_of_serve_may_stand_before_or_after_it(started: Started, before: bool) -> None:
    assert cli.main([*FLAGS, "serve"] if before else ["serve", *FLAGS]) == 0
    assert (started.what, started.settings) == ("serve", SET)


def test_flag_after_the_command_wins(started: Started) -> None:
    cli.main(["--listen", "h:1", "--insecure", "serve", "--listen", "h:2"])
    assert (started.settings.listen_port, started.settings.insecure) == (2, True)


def test_without_a_command_the_console_is_opened_with_the_same_flags(started: Started) -> None:
    assert cli.main(FLAGS) == 0
    expected = replace(SET, watch=True)
    assert (started.what, started.settings, started.companion) == ("console", expected, None)


@pytest.mark.parametrize(
    ("arguments", "watches"),
    [
        ([], True),
        (["--no-watch"], False),
        (["--watch"], True),
        (["serve"], False),
        (["serve", "--watch"], True),
        (["--watch", "serve"], True),
        (["--watch", "serve", "--no-watch"], False),
    ],
)
def test_the_console_watches_plugins_and_serve_does_where_it_is_told(
    started: Started, arguments: list[str], watches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INT3_CONFIG", "/dev/null")
    assert cli.main(arguments) == 0
    assert started.settings.watch is watches
    monkeypatch.setenv("INT3_WATCH", "no")
    assert cli.main([each for each in arguments if "watch" not in each]) == 0
    assert not started.settings.watch


@pytest.mark.parametrize("command", [[], ["serve"]])
def test_without_flags_environment_and_file_are_heard(
    started: Started, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    file.write_text('plugins = ["p"]\ninsecure = true\n[limits]\nstreams = 4\n')
    monkeypatch.setenv("INT3_LISTEN", "h:3")
    monkeypatch.setenv("INT3_INSECURE", "no")
    assert cli.main([*command, "--config", str(file)]) == 0
    expected = Settings(
        listen_host="h",
        listen_port=3,
        plugins=(tmp_path / "p",),
        limits=Limits(streams=4),
        watch=not command,
    )
    assert started.settings == expected


@pytest.mark.parametrize("command", [[], ["serve"]])
def test_exit_code_is_what_was_started_gives(started: Started, command: list[str]) -> None:
    started.code = 7
    assert cli.main(command) == 7


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--lisen", "x"], "No such option: --lisen"),
        (["serve", "--lisen", "x"], "No such option: --lisen"),
        (["serve", "--listen"], "requires an argument"),
        (["serve", "extra"], "extra"),
        (["bogus"], "No such command 'bogus'"),
        (["ca"], "Missing command"),
        (["--demo", "serve"], "--demo is for the console; leave out serve"),
        (["--listen", "8080"], "--listen = '8080': not HOST:PORT; write something like"),
        (
            ["--drop-messages", "~x"],
            "--drop-messages, the filter '~x': column 1: ~x is no operator",
        ),
        (["serve", "--modify-messages", "/a"], "--modify-messages = '/a': too few parts behind"),
        (["serve", "--mode", "socks"], "--mode: 'socks' is no mode; use regular, reverse"),
        (["serve", "--config", "/no/such"], "/no/such does not exist; name another with --config"),
        (["serve", "--config", "/no/\x1b[31m\nsuch"], r"/no/\x1b[31m such does not exist"),
    ],
)
def test_what_was_asked_wrongly_is_one_line_and_exit_code_2(
    started: Started,
    arguments: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(arguments) == 2
    output = capsys.readouterr()
    assert started.what == ""
    assert output.out == ""
    assert output.err.startswith("int3rceptor-tui: ")
    assert complaint in output.err
    assert output.err.count("\n") == 1


def test_unknown_variable_is_refused_by_name(
    started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INT3_LISEN", "x")
    assert cli.main(["serve"]) == 2
    assert "unknown setting INT3_LISEN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "complaint"),
    [
        (ListenError("port 8080 is taken; pass --listen"), 1, "port 8080 is taken; pass --listen"),
        (CaError("no CA"), 1, "no CA"),
        (KeyError("odd\nkey"), 1, "a bug in the program: KeyError: 'odd\\nkey'; run it with"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
@pytest.mark.parametrize("command", [[], ["serve"]])
def test_failure_is_one_line_and_never_a_traceback(
    started: Started,
    command: list[str],
    error: BaseException,
    code: int,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started.error = error
    assert cli.main(command) == code
    output = capsys.readouterr().err
    assert output.startswith(f"int3rceptor-tui: {complaint}" if complaint else "")
    assert output.count("\n") == bool(complaint)


def test_ca_path_makes_the_ca_once_and_prints_where_it_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "data/ca/int3rceptor-ca.pem"
    assert cli.main(["ca", "path", "--data-dir", str(tmp_path / "data")]) == 0
    first = capsys.readouterr()
    made = file.read_bytes()
    assert first.out == f"{file}\n"
    assert first.err == "int3rceptor-tui: made a new certificate authority\n"
    assert cli.main(["--data-dir", str(tmp_path / "data"), "ca", "path"]) == 0
    assert capsys.readouterr() == (f"{file}\n", "")
    assert file.read_bytes() == made


def test_ca_path_hears_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INT3_DATA_DIR", str(tmp_path))
    assert cli.main(["ca", "path"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/ca/int3rceptor-ca.pem\n"


def test_unusable_ca_is_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca/int3rceptor-ca.key").write_text("nonsense")
    assert cli.main(["ca", "path", "--data-dir", str(tmp_path)]) == 1
    assert "holds no private key" in capsys.readouterr().err


def test_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("int3rceptor 0.")


PAGES = [
    *([], ["serve"], ["ca"], ["ca", "path"], ["ca", "export"], ["plugin"]),
    *(["plugin", name] for name in typer.main.get_command(cli.plugin).commands),  # type: ignore[attr-defined]
]


@pytest.mark.parametrize("command", PAGES, ids="-".join)
def test_help_is_short_and_whole(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(" ".join(["Usage: int3rceptor-tui", *command, "[OPTIONS]"]))
    assert len(lines) < 100
    assert all(len(line) <= 80 for line in lines)
    assert not any(line.endswith("...") and "  " in line for line in lines[1:]), "cut off"
    assert not any(mark in line for line in lines for mark in ("<str", "<path", "{", "[["))


def test_help_has_every_setting_under_a_heading_and_the_commands_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.main(["--help"])
    page = capsys.readouterr().out
    headings = [line for line in page.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [f"{heading}:" for heading in ("Commands", "Options", *GROUPS)]
    flags = {f"--{name.replace('_', '-')}" for name in OPTIONS}
    assert flags <= set(page.split())
    assert {name for names in GROUPS.values() for name in names} <= set(OPTIONS)


@pytest.fixture
def taken_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The default port, moved to one that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        defaults = Settings(listen_port=port)
        monkeypatch.setattr("proxy_core.config.Settings", lambda: defaults)
        yield port


def test_demo_gives_way_where_its_port_is_taken(started: Started, taken_port: int) -> None:
    assert cli.main(["--demo"]) == 0
    assert started.settings.listen_port == 0


def test_demo_does_not_give_way_where_the_port_was_asked_for(
    started: Started, taken_port: int
) -> None:
    assert cli.main(["--demo", "--listen", f"127.0.0.1:{taken_port}"]) == 0
    assert started.settings.listen_port == taken_port


def test_demo_brings_company_trust_and_plugins(started: Started) -> None:
    assert cli.main(["--demo", "--listen", "127.0.0.1:0", "--plugins", "/p"]) == 0
    assert started.what == "console"
    assert started.companion is not None
    assert started.settings.upstream_ca is not None
    assert started.settings.plugins[0] == Path("/p")


def test_demo_in_reverse_mode_is_refused(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--demo", "--mode", "reverse:http://x"]) == 2
    assert "leave out --mode" in capsys.readouterr().err


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "int3rceptor_tui.cli", *arguments],
        text=True,
        check=False,
        timeout=15,
        **options,
    )


def test_console_without_a_terminal_is_refused(tmp_path: Path) -> None:
    done = run("--data-dir", str(tmp_path), capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr == (
        "int3rceptor-tui: the console needs a terminal; start it in one, "
        "or run int3rceptor-tui serve\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_console_on_a_dumb_terminal_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True, flush=lambda: None))
    monkeypatch.setenv("TERM", "dumb")
    assert cli.main([]) == 2
    assert "cannot draw on this terminal (TERM=dumb); set TERM, or run" in capsys.readouterr().err


def test_output_that_nobody_reads_is_no_traceback() -> None:
    script = f"{sys.executable} -m int3rceptor_tui.cli --help | true"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=False, timeout=15)
    assert done.stderr == b""


def test_usage_error_loads_nothing_heavy() -> None:
    heavy = "textual rich cryptography wasmtime uvloop asyncio h2 httptools proxy_core.core"
    code = (
        "import sys; from int3rceptor_tui import cli; cli.main(['serve', '--listen', 'x']); "
        f"print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=15
    )
    assert "not HOST:PORT" in done.stderr
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "what", "address"),
    [
        (["--api"], "console", ("127.0.0.1", 3000)),
        (["serve", "--api"], "serve", ("127.0.0.1", 3000)),
        (["--api", "serve"], "serve", ("127.0.0.1", 3000)),
        (["serve", "--api", "--insecure"], "serve", ("127.0.0.1", 3000)),
        (["serve", "--api", "[::1]:4"], "serve", ("::1", 4)),
        (["--api", "h:5", "serve"], "serve", ("h", 5)),
        (["serve", "--api=h:6"], "serve", ("h", 6)),
        (["serve"], "serve", None),
    ],
)
def test_the_api_s_address_may_be_left_out(
    started: Started, arguments: list[str], what: str, address: tuple[str, int] | None
) -> None:
    assert cli.main(arguments) == 0
    assert (started.what, started.settings.api) == (what, address)


def test_a_path_that_is_out_of_reach_is_no_bug(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    started.error = PermissionError(13, "Permission denied", "/no/\x1b[31mentry")
    assert cli.main(["serve"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "int3rceptor-tui: /no/\\x1b[31mentry: Permission denied; name another, or permit it\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_no_bug() -> None:
    with Path("/dev/full").open("w", encoding="ascii") as full:
        done = run("--version", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == (
        "int3rceptor-tui: the output cannot be written: No space left on device; "
        "send it elsewhere\n"
    )


def test_a_usage_error_names_the_page_that_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugin", "test", "x"]) == 2
    assert capsys.readouterr().err == (
        "int3rceptor-tui: Missing option '--flows'; see int3rceptor-tui plugin test --help\n"
    )
