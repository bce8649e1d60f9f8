"""The commands of docs/plugins.md, as a reader would type them."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from int3rceptor_tui.plugin_tools.build import find_tool
from int3rceptor_tui.plugin_tools.languages import LANGUAGES
from tests.project.tree import ROOT
from tests.tui.plugin_tools.conftest import Tool

_COMMAND = re.compile(r"^    int3rceptor-tui plugin (.+)$", re.MULTILINE)
GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_the_guide_s_commands_work_in_their_order(
    tool: Tool, har: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(har.parent)
    commands = _COMMAND.findall(GUIDE)
    assert len(commands) >= 9
    if find_tool(LANGUAGES["rust"], har.parent, os.environ) is None:
        commands = [line.replace("--lang rust", "--lang wat") for line in commands]
    for command in commands:
        ran = tool(*shlex.split(command))
        assert ran.code == 0, (command, ran.out, ran.err)
    assert (home / ".int3rceptor" / "plugins" / "hello" / "hello.wasm").is_file()


def test_the_guide_names_every_language_and_what_is_copied() -> None:
    rows = {
        row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| `(.+?)` \| (.+?) \|", GUIDE, re.M)
    }
    for language in LANGUAGES.values():
        source, sdk = rows[language.name]
        assert source == language.source
        assert sdk == ("none needed" if language.sdk is None else f"`{language.sdk}`")
