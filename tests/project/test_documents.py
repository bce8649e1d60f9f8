"""What the documents say of the program and of each other."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

from int3rceptor_tui.keymap import ACTIONS
from proxy_core.config import Limits
from tests.project.tree import ROOT, tracked_files

_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
_KEYS_ROW = re.compile(r"^\| ([^|]+) \| `([a-z_.]+)[^`]*` \|", re.MULTILINE)
_LIMIT_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \|", re.MULTILINE)

DOCUMENTS = [path for path in tracked_files() if path.suffix == ".md"]


def anchors_of(document: Path) -> set[str]:
    """The fragments that GitHub gives a document's headings."""
    text = _FENCED.sub("", document.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


def broken_links(document: Path) -> list[str]:
    broken = []
    for link in _LINK.findall(_FENCED.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        if (
            not target.exists()
            or not target.is_relative_to(ROOT)
            or (fragment and fragment not in anchors_of(target))
        ):
            broken.append(link)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("[one](none.md) [two](https://example.com/) [three](#none)\n# Four\n")
    assert broken_links(document) == ["none.md", "#none"]


def test_every_guide_is_reached_from_the_guides_first_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages - set(_LINK.findall(index)) == set()


def test_every_decision_is_listed() -> None:
    listed = set(_LINK.findall((ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")))
    assert listed == {path.name for path in (ROOT / "docs" / "adr").glob("0*.md")}


@pytest.mark.parametrize("document", ["limits.md", "configuration.md"])
def test_documents_have_every_limit_with_its_default(document: str) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    documented = {
        name: float(default.replace("_", "")) for name, default in _LIMIT_ROW.findall(text)
    }
    assert documented == {field.name: field.default for field in dataclasses.fields(Limits)}


def test_the_console_page_has_every_action_with_its_keys() -> None:
    text = (ROOT / "docs" / "console.md").read_text(encoding="utf-8")
    documented = {
        action_id: re.findall(r"`([^`]+)`", keys) for keys, action_id in _KEYS_ROW.findall(text)
    }
    assert documented == {action.id: action.shown_keys.split() for action in ACTIONS}


def test_the_change_log_has_a_place_for_what_is_not_released() -> None:
    headings = _HEADING.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert headings[:2] == ["Changes", "Unreleased"]


def test_the_licence_is_the_one_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.lstrip().startswith("Apache License\n                           Version 2.0")
    assert "END OF TERMS AND CONDITIONS" in text
