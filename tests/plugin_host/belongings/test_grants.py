"""Decisions of the user: about one module and its very entries, kept in a private file."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy_core.errors import PluginError, PluginNotFound
from proxy_core.model.plugin_status import AskedPermission, PermissionKind, PermissionState
from proxy_core.plugin_host import PluginManager
from proxy_core.plugin_host.belongings import grants
from proxy_core.plugin_host.belongings.grants import FILE_NAME, Grants, Permits
from tests.plugin_host.guests import Host, guest

GRANTED, DENIED, UNASKED = (
    PermissionState.GRANTED,
    PermissionState.DENIED,
    PermissionState.UNASKED,
)
ENTRIES = ("example.com", "*.example.org")


class Book:
    """Grants in a directory, and what they told."""

    def __init__(self, directory: Path | None) -> None:
        self.told: list[str] = []
        self.grants = Grants(directory, self.told.append)

    def state(
        self,
        name: str = "a",
        file_hash: str = "00",
        kind: PermissionKind = "network",
        entries: Sequence[str] = ENTRIES,
    ) -> PermissionState:
        return self.grants.state(name, file_hash, kind, entries)

    def decide(self, granted: bool, name: str = "a", kind: PermissionKind = "network") -> None:
        self.grants.decide(name, "00", kind, ENTRIES, granted)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "data")


def test_what_was_decided_is_remembered(book: Book, tmp_path: Path) -> None:
    assert book.state() is UNASKED
    book.decide(True)
    assert book.state() is GRANTED
    assert Book(tmp_path / "data").state() is GRANTED
    book.decide(False)
    assert Book(tmp_path / "data").state() is DENIED
    assert book.told == []


def test_anything_else_is_asked_about_anew(book: Book) -> None:
    book.decide(True)
    assert book.state(file_hash="01") is UNASKED
    assert book.state(entries=ENTRIES[:1]) is UNASKED
    assert book.state(entries=[*ENTRIES, "more.example"]) is UNASKED
    assert book.state(name="b") is UNASKED
    assert book.state(kind="filesystem") is UNASKED


def test_kinds_and_plugins_are_decided_on_by_themselves(book: Book) -> None:
    book.decide(True)
    book.decide(False, kind="filesystem")
    book.decide(False, name="b")
    assert book.state() is GRANTED
    assert book.state(kind="filesystem") is DENIED
    assert book.state(name="b") is DENIED


def test_the_file_is_private(book: Book, tmp_path: Path) -> None:
    book.decide(True)
    found = tmp_path / "data" / FILE_NAME
    assert stat.S_IMODE(found.stat().st_mode) == 0o600
    assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700
    assert [path.name for path in found.parent.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    "text", ["", "{", '{"version":2}', '{"version":1,"plugins":{"a":{"network":{}}}}', '{"x":1}']
)
def test_a_file_that_is_none_grants_nothing(book: Book, tmp_path: Path, text: str) -> None:
    book.decide(True)
    found = tmp_path / "data" / FILE_NAME
    found.write_text(text)
    assert book.state() is UNASKED
    assert str(found) in book.told[0]
    book.decide(True)
    assert book.state() is GRANTED


@pytest.mark.parametrize("bits", [0o644, 0o620, 0o666])
def test_a_file_that_others_may_touch_grants_nothing(book: Book, tmp_path: Path, bits: int) -> None:
    book.decide(True)
    (tmp_path / "data" / FILE_NAME).chmod(bits)
    assert book.state() is UNASKED
    assert f"mode {bits:04o}" in book.told[0]


def test_a_link_grants_nothing(book: Book, tmp_path: Path) -> None:
    book.decide(True)
    found = tmp_path / "data" / FILE_NAME
    found.rename(tmp_path / "elsewhere")
    found.symlink_to(tmp_path / "elsewhere")
    assert book.state() is UNASKED


def test_decisions_made_at_once_are_all_kept(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = [
            threads.submit(Book(tmp_path / "data").decide, True, f"plugin-{number}")
            for number in range(20)
        ]
        for future in done:
            future.result()
    book = Book(tmp_path / "data")
    assert [book.state(name=f"plugin-{number}") for number in range(20)] == [GRANTED] * 20


def test_the_oldest_plugin_makes_room(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "MOST_PLUGINS", 2)
    for name in ("a", "b", "c"):
        book.decide(True, name)
    assert [book.state(name=name) for name in ("a", "b", "c")] == [UNASKED, GRANTED, GRANTED]


def test_without_a_directory_decisions_last_as_long_as_the_program() -> None:
    book = Book(None)
    book.decide(True)
    assert book.state() is GRANTED


def test_permits_give_out_what_was_granted() -> None:
    permits = Permits(
        "00",
        [
            AskedPermission("network", ENTRIES, GRANTED),
            AskedPermission("filesystem", ("/srv",), UNASKED),
        ],
    )
    assert permits.granted("network") == ENTRIES
    assert permits.granted("filesystem") == ()
    assert permits.entries("filesystem") == ("/srv",)
    permits.decide("filesystem", True)
    permits.decide("network", False)
    assert permits.granted("network") == ()
    assert permits.granted("filesystem") == ("/srv",)
    assert [asked.state for asked in permits.asked] == [DENIED, GRANTED]
    assert Permits().granted("network") == Permits().entries("network") == ()


# Through the manager.

ASKING = '[permissions]\nnetwork = ["example.com"]\nfilesystem = ["data"]'
PASS = guest("i32.const 0")


@pytest.fixture
def asking(tmp_path: Path) -> Host:
    """A host with a data directory."""
    made = Host(tmp_path / "plugins")
    made.directory.mkdir()
    made.manager = PluginManager([made.directory], made.hooks, made.bus, 100, tmp_path / "data")
    return made


async def test_the_status_tells_what_is_asked_for(asking: Host) -> None:
    await asking.load("a", PASS, ASKING)
    data = str((asking.directory / "a" / "data").resolve())
    assert asking.status("a").asked == (
        AskedPermission("network", ("example.com",), UNASKED),
        AskedPermission("filesystem", (data,), UNASKED),
    )
    assert [text for text in asking.texts() if text.startswith("asks for")] == [
        "asks for network: example.com",
        f"asks for filesystem: {data}",
    ]
    await asking.manager.stop()


async def test_a_decision_holds_at_once_and_over_a_restart(asking: Host, tmp_path: Path) -> None:
    await asking.load("a", PASS, ASKING)
    news = asking.bus.plugins.subscribe(10)
    status = await asking.manager.decide_permission("a", "network", True)
    assert [asked.state for asked in status.asked] == [GRANTED, UNASKED]
    assert [told.asked for told in news.drain()] == [status.asked]
    assert "allowed: network (example.com)" in asking.texts()
    assert (await asking.manager.reload("a")).ok
    assert [asked.state for asked in asking.status("a").asked] == [GRANTED, UNASKED]
    await asking.manager.stop()
    again = Host(asking.directory)
    again.manager = PluginManager([again.directory], again.hooks, again.bus, 9, tmp_path / "data")
    await again.start()
    assert [asked.state for asked in again.status("a").asked] == [GRANTED, UNASKED]
    await again.manager.decide_permission("a", "network", False)
    assert again.status("a").asked[0].state is DENIED
    await again.manager.stop()


@pytest.mark.parametrize(
    ("module", "manifest"),
    [(guest("i32.const 4"), ASKING), (PASS, ASKING.replace("example.com", "other.example"))],
)
async def test_a_changed_plugin_asks_again(asking: Host, module: bytes, manifest: str) -> None:
    await asking.load("a", PASS, ASKING)
    await asking.manager.decide_permission("a", "network", True)
    asking.put("a", module, manifest)
    assert (await asking.manager.reload("a")).ok
    assert asking.status("a").asked[0].state is UNASKED
    await asking.manager.stop()


async def test_only_what_is_asked_for_can_be_decided(asking: Host) -> None:
    await asking.load("a", PASS)
    with pytest.raises(PluginError, match="a asks for no network permission"):
        await asking.manager.decide_permission("a", "network", True)
    with pytest.raises(PluginNotFound, match="no plugin 'b'"):
        await asking.manager.decide_permission("b", "network", True)
    await asking.manager.stop()


async def test_a_decision_that_cannot_be_kept_is_none(
    asking: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asking.load("a", PASS, ASKING)

    def refuse(path: Path, *parts: bytes) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(grants, "write_private", refuse)
    with pytest.raises(PluginError, match="cannot be kept: no space left"):
        await asking.manager.decide_permission("a", "network", True)
    assert asking.status("a").asked[0].state is UNASKED
    await asking.manager.stop()
