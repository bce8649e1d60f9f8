from __future__ import annotations

import os
import shlex
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from int3rceptor_tui.plugin_tools import build
from int3rceptor_tui.plugin_tools.build import find_tool
from int3rceptor_tui.plugin_tools.install import install
from int3rceptor_tui.plugin_tools.languages import LANGUAGES, read_sdk
from proxy_core.errors import PluginError
from proxy_core.plugin_host.files.discovery import Source
from proxy_core.plugin_host.inspection import find_source, inspect
from proxy_core.plugin_host.runtime import open_engine
from tests.plugin_host.guests import guest
from tests.plugins.conftest import PLUGINS, rebuilt
from tests.tui.plugin_tools.conftest import Tool, put

__all__ = ["rebuilt"]  # a fixture


def tools_for(language: str, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Skip, by name, where a language's tools are missing."""
    beside_python = Path(sys.executable).parent  # where `pip install ziglang` puts it
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{beside_python}")
    if language != "wat" and find_tool(LANGUAGES[language], directory, os.environ) is None:
        pytest.skip(f"no tools for {language}: {LANGUAGES[language].install}")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("language", list(LANGUAGES))
def test_what_new_writes_builds_is_loadable_and_works(
    tool: Tool, tmp_path: Path, har: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools_for(language, monkeypatch, tmp_path)
    ran = tool("new", "my-first.plugin", "--lang", language, "--in", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    place = tmp_path / "my-first.plugin"
    built = tool("build", place, "--json")
    assert built.code == 0, built.err
    module = place / "my-first.plugin.wasm"
    assert built.document["module"] == str(module)
    assert built.document["bytes"] == module.stat().st_size
    assert str(tmp_path).encode() not in module.read_bytes()

    inspected = tool("inspect", place, "--json")
    assert inspected.code == 0, inspected.out
    assert inspected.document["notes"] == []
    tested = tool("test", place, "--flows", har, "--json").document
    assert (tested["flows"], tested["changed"], tested["failed"]) == (3, 3, 0)
    (run,) = tested["results"][0]["hooks"]
    assert (run["hook"], run["diff"]) == ("on_response", ["+ X-Plugin: my-first.plugin"])


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_new_writes_a_manifest_a_source_the_sdk_and_a_short_readme(
    tool: Tool, tmp_path: Path, language: str
) -> None:
    files = tool("new", "mine", "--lang", language, "--in", tmp_path, "--json").document["files"]
    place = tmp_path / "mine"
    written = sorted(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file())
    assert written == files
    known = LANGUAGES[language]
    assert {"plugin.toml", known.source, "README.md"} <= set(files)
    assert len((place / "README.md").read_text().splitlines()) <= 12
    assert tomllib.loads((place / "plugin.toml").read_text())["name"] == "mine"
    if known.sdk is not None:
        assert (place / "src" / known.sdk).read_text() == (PLUGINS / "sdk" / known.sdk).read_text()


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", ".hidden", "a/b", "x" * 65, "a\nb"])
def test_new_refuses_names_that_a_manifest_could_not_have(
    tool: Tool, tmp_path: Path, name: str
) -> None:
    ran = tool("new", "--in", tmp_path, "--", name)
    assert ran.code == 2
    assert "cannot be a plugin's name" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["LENGTH", "NAME-LENGTH"])
def test_a_name_may_be_that_of_a_blank_in_the_template(
    tool: Tool, tmp_path: Path, har: Path, name: str
) -> None:
    assert tool("new", name, "--lang", "wat", "--in", tmp_path).code == 0
    assert tool("build", tmp_path / name).code == 0
    tested = tool("test", tmp_path / name, "--flows", har, "--json").document
    assert tested["results"][0]["hooks"][0]["diff"] == [f"+ X-Plugin: {name}"]


def test_new_overwrites_nothing(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    ran = tool("new", "mine", "--in", tmp_path)
    assert ran.code == 2
    assert "is there already" in ran.err
    assert list((tmp_path / "mine").iterdir()) == []


def test_new_knows_its_languages(tool: Tool, tmp_path: Path) -> None:
    ran = tool("new", "mine", "--lang", "cobol", "--in", tmp_path)
    assert ran.code == 2
    assert "known: rust, c, zig, assemblyscript, wat" in ran.err


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "wat"])
def test_without_tools_build_says_what_to_install(
    tool: Tool, tmp_path: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool("new", "mine", "--lang", language, "--in", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    ran = tool("build", tmp_path / "mine", "--json")
    assert ran.code == 3
    assert f"no tools for {language} were found" in ran.err
    assert "install" in ran.document["error"]


def test_a_compiler_without_the_target_is_passed_over(tmp_path: Path) -> None:
    fake = tmp_path / "rustc"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    tool = find_tool(LANGUAGES["rust"], tmp_path, {"PATH": str(tmp_path), "RUSTC": str(fake)})
    assert tool is None or tool != [str(fake)]


def test_a_source_that_does_not_compile_leaves_the_old_module(tool: Tool, tmp_path: Path) -> None:
    tool("new", "mine", "--lang", "wat", "--in", tmp_path)
    place = tmp_path / "mine"
    assert tool("build", place).code == 0
    before = (place / "mine.wasm").read_bytes()
    (place / "src" / "plugin.wat").write_text("(module (func")
    ran = tool("build", place)
    assert ran.code == 1
    assert "not valid WebAssembly text at line 1" in ran.err
    assert (place / "mine.wasm").read_bytes() == before


def test_a_module_that_would_be_refused_is_not_put_in_place(tool: Tool, tmp_path: Path) -> None:
    tool("new", "mine", "--lang", "wat", "--in", tmp_path)
    place = tmp_path / "mine"
    (place / "src" / "plugin.wat").write_text("(module)")
    ran = tool("build", place)
    assert ran.code == 1
    assert "exports no hook" in ran.err
    assert sorted(path.name for path in place.iterdir()) == ["README.md", "plugin.toml", "src"]


def test_what_a_compiler_says_is_passed_on(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "asc"
    fake.write_text('#!/bin/sh\nprintf "plugin.ts:7: \\033[31mwhat is this\\n"\nexit 4\n')
    fake.chmod(0o755)
    monkeypatch.setenv("ASC", str(fake))
    tool("new", "mine", "--lang", "assemblyscript", "--in", tmp_path)
    ran = tool("build", tmp_path / "mine", "--json")
    assert ran.code == 1
    assert "plugin.ts:7: \\x1b[31mwhat is this" in ran.err
    assert "what is this" in ran.document["output"]
    assert "exited with 4" in ran.document["error"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("language", "source"),
    [("rust", "src/lib.rs"), ("c", "src/plugin.c"), ("zig", "src/plugin.zig")],
)
def test_a_compiler_names_a_file_that_is_there(
    tool: Tool, tmp_path: Path, language: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools_for(language, monkeypatch, tmp_path)
    tool("new", "mine", "--lang", language, "--in", tmp_path)
    lines = (tmp_path / "mine" / source).read_text()
    (tmp_path / "mine" / source).write_text(lines + "mistake\n")
    ran = tool("build", tmp_path / "mine", "--json")
    assert ran.code == 1
    named = [word for word in ran.document["output"].split() if f"{source}:" in word]
    assert named
    assert all(word.startswith(source) for word in named)


def test_the_command_that_new_names_can_be_copied(tool: Tool, tmp_path: Path) -> None:
    place = tmp_path / "my plugins"
    place.mkdir()
    told = tool("new", "mine", "--lang", "wat", "--in", place).out
    command = shlex.split(told.partition("next: ")[2])
    assert command[-2:] == ["build", str(place / "mine")]


def test_what_a_compiler_warns_of_does_not_reach_the_terminal_raw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build._run(["/bin/sh", "-c", "printf 'one \\033[31mline\\n\\ttwo\\n'"], tmp_path, {})
    assert capsys.readouterr().err == "one \\x1b[31mline\n        two\n"


@pytest.mark.parametrize("missing", ["plugin.toml", "src/plugin.wat"])
def test_what_is_no_plugin_s_directory_is_asked_wrongly(
    tool: Tool, tmp_path: Path, missing: str
) -> None:
    tool("new", "mine", "--lang", "wat", "--in", tmp_path)
    (tmp_path / "mine" / missing).unlink()
    assert tool("build", tmp_path / "mine").code == 2


def test_two_sources_are_asked_wrongly(tool: Tool, tmp_path: Path) -> None:
    tool("new", "mine", "--lang", "wat", "--in", tmp_path)
    (tmp_path / "mine" / "src" / "plugin.c").touch()
    ran = tool("build", tmp_path / "mine")
    assert ran.code == 2
    assert "src/plugin.c, src/plugin.wat" in ran.err


@pytest.mark.timeout(240)
def test_the_examples_build_to_what_the_build_script_makes(
    tool: Tool, tmp_path: Path, rebuilt: Path
) -> None:
    shutil.copytree(PLUGINS, tmp_path / "plugins")
    for name in ("header-modifier", "mock", "jwt-inspector", "websocket-logger"):
        if not (rebuilt / name / f"{name}.wasm").exists():
            continue  # no compiler for its language
        place = tmp_path / "plugins" / name
        (place / f"{name}.wasm").unlink()
        ran = tool("build", place)
        assert ran.code == 0, ran.err
        made = (place / f"{name}.wasm").read_bytes()
        assert made == (rebuilt / name / f"{name}.wasm").read_bytes()


def test_every_sdk_is_found_by_an_installation() -> None:
    for language in LANGUAGES.values():
        if language.sdk is not None:
            assert "host_set_header" in read_sdk(language)


def test_install_puts_what_runs_where_the_proxy_finds_it(
    tool: Tool, tmp_path: Path, home: Path
) -> None:
    tool("new", "mine", "--lang", "wat", "--in", tmp_path)
    tool("build", tmp_path / "mine")
    ran = tool("install", tmp_path / "mine", "--json")
    place = home / ".int3rceptor" / "plugins" / "mine"
    assert ran.code == 0, ran.err
    assert ran.document["path"] == str(place)
    assert sorted(path.name for path in place.iterdir()) == ["mine.wasm", "plugin.toml"]
    assert Source(place / "plugin.toml").read()[0].name == "mine"
    assert [path.name for path in place.parent.iterdir()] == ["mine"]


def test_install_takes_a_bare_module(tool: Tool, tmp_path: Path) -> None:
    module = tmp_path / "bare.wasm"
    module.write_bytes(guest("i32.const 0"))
    assert tool("install", module, "--to", tmp_path / "to").code == 0
    assert (tmp_path / "to" / "bare.wasm").read_bytes() == module.read_bytes()


def test_install_refuses_what_would_be_refused(tool: Tool, tmp_path: Path) -> None:
    module = tmp_path / "bad.wasm"
    module.write_bytes(b"MZ")
    ran = tool("install", module, "--to", tmp_path / "to")
    assert ran.code == 1
    assert "not a WebAssembly module" in ran.err
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("form", ["directory", "module"])
def test_install_replaces_only_with_force(tool: Tool, tmp_path: Path, form: str) -> None:
    to = tmp_path / "to"
    tool("new", "mine", "--lang", "wat", "--in", tmp_path)
    tool("build", tmp_path / "mine")
    plugin = tmp_path / "mine"
    if form == "module":
        plugin = tmp_path / "mine.wasm"
        plugin.write_bytes(guest("i32.const 0"))
    installed = to / plugin.name / "mine.wasm" if form == "directory" else to / "mine.wasm"
    assert tool("install", plugin, "--to", to).code == 0
    installed.write_bytes(b"older")
    ran = tool("install", plugin, "--to", to)
    assert ran.code == 1
    assert "pass --force" in ran.err
    assert installed.read_bytes() == b"older"
    assert tool("install", plugin, "--to", to, "--force").code == 0
    assert installed.read_bytes() != b"older"
    assert [path.name for path in to.iterdir()] == [plugin.name]


def test_install_takes_the_configuration_s_file_along(tool: Tool, tmp_path: Path) -> None:
    place = put(tmp_path, "mine", guest("i32.const 0"), 'config_file = "etc/words.txt"')
    (place / "etc").mkdir()
    (place / "etc" / "words.txt").write_bytes(b"one\ntwo")
    assert tool("install", place, "--to", tmp_path / "to").code == 0
    assert tool("inspect", tmp_path / "to" / "mine").code == 0
    assert (tmp_path / "to" / "mine" / "etc" / "words.txt").read_bytes() == b"one\ntwo"


def test_install_keeps_what_the_user_has_put_beside_the_plugin(tool: Tool, tmp_path: Path) -> None:
    place = put(tmp_path, "mine", guest("i32.const 0"))
    to = tmp_path / "to"
    assert tool("install", place, "--to", to).code == 0
    (to / "mine" / "lists").mkdir()
    (to / "mine" / "lists" / "hosts").write_text("precious")
    (place / "mine.wasm").write_bytes(guest("i32.const 1"))
    assert tool("install", place, "--to", to, "--force").code == 0
    assert (to / "mine" / "lists" / "hosts").read_text() == "precious"
    assert (to / "mine" / "mine.wasm").read_bytes() == guest("i32.const 1")
    assert [path.name for path in to.iterdir()] == ["mine"]


def test_install_refuses_a_place_where_nothing_is_found(tool: Tool, tmp_path: Path) -> None:
    inner = put(tmp_path, "inner", guest("i32.const 0"))
    outer = put(tmp_path, "outer", guest("i32.const 0"))
    ran = tool("install", inner, "--to", outer)
    assert ran.code == 1
    assert "is a plugin itself" in ran.err
    assert not (outer / "inner").exists()


def test_install_over_a_link_replaces_the_link_and_not_what_it_leads_to(
    tool: Tool, tmp_path: Path
) -> None:
    tool("new", "mine", "--lang", "wat", "--in", tmp_path)
    tool("build", tmp_path / "mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    to = tmp_path / "to"
    to.mkdir()
    (to / "mine").symlink_to(elsewhere)
    assert tool("install", tmp_path / "mine", "--to", to, "--force").code == 0
    assert not (to / "mine").is_symlink()
    assert (elsewhere / "precious").exists()


def test_install_does_not_replace_a_plugin_by_itself(tool: Tool, tmp_path: Path) -> None:
    tool("new", "mine", "--lang", "wat", "--in", tmp_path)
    tool("build", tmp_path / "mine")
    ran = tool("install", tmp_path / "mine", "--to", tmp_path, "--force")
    assert ran.code == 1
    assert "is what is installed" in ran.err
    assert (tmp_path / "mine" / "src").is_dir()


def test_install_refuses_a_name_that_another_plugin_has(tool: Tool, tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.mkdir()
    (to / "mine.wasm").write_bytes(guest("i32.const 0"))
    tool("new", "mine", "--lang", "wat", "--in", tmp_path)
    tool("build", tmp_path / "mine")
    ran = tool("install", tmp_path / "mine", "--to", to, "--force")
    assert ran.code == 1
    assert "has the name 'mine' already" in ran.err


def test_install_that_cannot_write_leaves_nothing(tool: Tool, tmp_path: Path) -> None:
    module = tmp_path / "bare.wasm"
    module.write_bytes(guest("i32.const 0"))
    to = tmp_path / "to"
    to.write_text("a file")
    ran = tool("install", module, "--to", to)
    assert ran.code == 1
    assert "pass another --to" in ran.err


def test_a_working_directory_that_is_gone_is_no_bug(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = put(tmp_path, "mine", guest("i32.const 0"))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    ran = tool("install", plugin, "--to", "there", "--json")
    assert ran.code == 2
    assert ran.document["error"] == "the working directory is gone; change into another"


def test_install_takes_only_what_was_inspected(tmp_path: Path) -> None:
    module = tmp_path / "bare.wasm"
    module.write_bytes(guest("i32.const 0"))
    engine, _ = open_engine()
    found = inspect(find_source(module), engine)
    engine.close()
    module.write_bytes(guest("i32.const 1"))
    with pytest.raises(PluginError, match="changed while it was looked at"):
        install(found, tmp_path / "to", force=False)
    assert not (tmp_path / "to").exists()
