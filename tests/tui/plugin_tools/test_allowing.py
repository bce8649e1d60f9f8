"""`plugin allow`: decisions for the next load."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_core.model.plugin_status import PermissionState
from proxy_core.plugin_host.belongings.grants import Grants, hash_of
from tests.plugin_host.guests import guest
from tests.tui.plugin_tools.conftest import Tool

MODULE = guest("i32.const 0")


@pytest.fixture
def where(tmp_path: Path) -> tuple[object, ...]:
    """Options that name the directories; one plugin asks for much, one for nothing."""
    for name, permissions in (
        ("asking", 'network = ["example.com"]\nfilesystem = ["data"]'),
        ("modest", ""),
    ):
        place = tmp_path / "plugins" / name
        place.mkdir(parents=True)
        (place / "a.wasm").write_bytes(MODULE)
        (place / "plugin.toml").write_text(
            f'name = "{name}"\nwasm = "a.wasm"\n[permissions]\n{permissions}\n'
        )
    return ("--plugins", tmp_path / "plugins", "--data-dir", tmp_path / "data")


def states(tmp_path: Path) -> list[str]:
    grants = Grants(tmp_path / "data", lambda text: None)
    data = str((tmp_path / "plugins" / "asking" / "data").resolve())
    found: list[PermissionState] = [
        grants.state("asking", hash_of(MODULE), "network", ["example.com"]),
        grants.state("asking", hash_of(MODULE), "filesystem", [data]),
    ]
    return [state.value for state in found]


def test_all_that_is_asked_for_is_allowed(
    tool: Tool, tmp_path: Path, where: tuple[object, ...]
) -> None:
    ran = tool("allow", "asking", *where)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == "asking: network granted: example.com"
    assert ran.out.splitlines()[1].startswith("asking: filesystem granted: /")
    assert states(tmp_path) == ["granted", "granted"]


def test_one_kind_is_allowed_and_taken_back(
    tool: Tool, tmp_path: Path, where: tuple[object, ...]
) -> None:
    assert tool("allow", "asking", "--network", *where).code == 0
    assert states(tmp_path) == ["granted", "unasked"]
    document = tool("allow", "asking", "--network", "--revoke", "--json", *where).document
    assert document == {
        "name": "asking",
        "sha256": hash_of(MODULE),
        "asked": [{"kind": "network", "entries": ["example.com"], "state": "denied"}],
    }
    assert states(tmp_path) == ["denied", "unasked"]


def test_what_is_not_asked_for_is_not_allowed(tool: Tool, where: tuple[object, ...]) -> None:
    ran = tool("allow", "modest", "--filesystem", *where)
    assert ran.code == 1
    assert "modest does not ask for filesystem permission" in ran.err
    assert "any permission" in tool("allow", "modest", *where).err


def test_an_unknown_plugin_is_refused_by_name(tool: Tool, where: tuple[object, ...]) -> None:
    ran = tool("allow", "nobody", *where)
    assert ran.code == 2
    assert "no plugin 'nobody'" in ran.err
    assert "known: asking, modest" in ran.err
