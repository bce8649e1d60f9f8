"""`host_read_file`: what is granted is read, and there is no way around."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from proxy_core.model.plugin_status import NEEDED_BY, AskedPermission, PermissionState
from proxy_core.model.verdict import CONTINUE
from proxy_core.plugin_host.belongings.grants import Permits
from proxy_core.plugin_host.codes import ABSENT, BAD_POINTER, NOT_PERMITTED, OVER_LIMIT, Hook
from proxy_core.plugin_host.foreign.proxy_wasm import http_calls
from proxy_core.plugin_host.functions.asking import ASKING
from proxy_core.plugin_host.functions.reading import PATH_BYTES, READ_BYTES, READING, read_first
from tests.plugin_host.caller import PAGE, Caller
from tests.plugin_host.functions.test_host_functions import HIGH
from tests.plugin_host.guests import Host, guest, make_flow


class Reader(Caller):
    """A guest that may read in `directories`."""

    def __init__(self, *directories: Path) -> None:
        super().__init__(Hook.REQUEST)
        entries = tuple(str(directory.resolve()) for directory in directories)
        asked = AskedPermission("filesystem", entries, PermissionState.GRANTED)
        self.call.belongings.permits = Permits("00", [asked])

    def read(self, path: object, offset: int = 0, cap: int = 100) -> bytes | int:
        self.room = 0
        at, length = self.put(os.fsencode(str(path)))
        got = READING.run(self.host, at, length, offset, 32768, cap)
        assert isinstance(got, int)
        return bytes(self.buffer[32768 : 32768 + got]) if got >= 0 else got

    @property
    def denied(self) -> int:
        return self.call.belongings.profile.records[Hook.REQUEST.index].denied.get(
            "host_read_file", 0
        )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A granted directory, with a secret beside it."""
    made = tmp_path / "granted"
    (made / "sub").mkdir(parents=True)
    (made / "file").write_bytes(b"0123456789")
    (made / "sub" / "deep").write_bytes(b"deep")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "granted-not").mkdir()
    (tmp_path / "granted-not" / "file").write_bytes(b"secret")
    return made


def test_files_are_read_in_pieces(place: Path) -> None:
    reader = Reader(place)
    assert reader.read("file") == b"0123456789"
    assert reader.read("file", 8) == b"89"
    assert reader.read("file", 2, 3) == b"234"
    assert reader.read("file", 10) == b""
    assert reader.read("file", HIGH) == b""
    assert reader.read("file", 0, 0) == b""
    assert reader.read("sub/deep") == b"deep"
    assert reader.read("sub//deep") == b"deep"
    assert reader.read(place.resolve() / "sub" / "deep") == b"deep"
    assert reader.denied == 0


def test_what_is_not_there_is_absent(place: Path) -> None:
    reader = Reader(place)
    assert [reader.read(path) for path in ("none", "none/none", "file/none")] == [ABSENT] * 3
    assert reader.read("x" * 300) == ABSENT
    assert Reader(place / "gone").read("file") == ABSENT


def test_relative_paths_are_looked_for_in_each_directory(place: Path) -> None:
    reader = Reader(place / "sub", place)
    assert reader.read("deep") == b"deep"
    assert reader.read("file") == b"0123456789"


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "sub/../../secret",
        "sub/../file",
        "./file",
        "..",
        "",
        "/",
        "/etc/passwd",
        "{}/../secret",
        "{}",
        "{}/",
        "{}-not/file",
        "{}/../granted-not/file",
        "file\0",
    ],
)
def test_nothing_leads_out(place: Path, path: str) -> None:
    reader = Reader(place)
    assert reader.read(path.format(place.resolve())) == NOT_PERMITTED
    assert reader.denied == 1


def test_links_are_not_followed(place: Path, tmp_path: Path) -> None:
    (place / "link").symlink_to(tmp_path / "secret")
    (place / "inside").symlink_to(place / "file")
    (place / "up").symlink_to("..")
    (place / "sub" / "loop").symlink_to("loop")
    reader = Reader(place)
    for path in ("link", "inside", "up/secret", "up/granted/file", "sub/loop", "sub/loop/x"):
        assert reader.read(path) == NOT_PERMITTED, path


def test_a_granted_directory_that_became_a_link_grants_nothing(place: Path, tmp_path: Path) -> None:
    reader = Reader(place)
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    assert reader.read("file") == NOT_PERMITTED


def test_only_regular_files_are_read(place: Path) -> None:
    os.mkfifo(place / "pipe")
    reader = Reader(place)
    assert reader.read("pipe") == NOT_PERMITTED
    assert reader.read("sub") == NOT_PERMITTED
    assert Reader(Path("/dev")).read("null") == NOT_PERMITTED


def test_without_a_grant_nothing_is_read(place: Path) -> None:
    reader = Reader(place)
    entries = (str(place.resolve()),)
    for state in (PermissionState.UNASKED, PermissionState.DENIED):
        asked = AskedPermission("filesystem", entries, state)
        reader.call.belongings.permits = Permits("00", [asked])
        assert reader.read("file") == NOT_PERMITTED
    reader.call.belongings.permits = Permits("00")
    assert reader.read("file") == NOT_PERMITTED
    assert reader.denied == 3


def test_pointers_and_lengths_are_checked(place: Path) -> None:
    reader = Reader(place)
    assert reader.run("host_read_file", PAGE, 1, 0, 0, 1) == BAD_POINTER
    assert reader.run("host_read_file", b"file", 0, PAGE, 1) == BAD_POINTER
    assert reader.run("host_read_file", b"file", 0, PAGE - 5, 6) == BAD_POINTER
    assert reader.run("host_read_file", 0, PATH_BYTES + 1, 0, 0, 1) == OVER_LIMIT
    assert reader.run("host_read_file", b"file", 0, PAGE - 10, 10) == 10


def test_a_call_reads_a_mebibyte_at_most(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy_core.plugin_host.functions.reading.READ_BYTES", 4)
    assert Reader(place).read("file") == b"0123"
    assert READ_BYTES == 1024 * 1024


def test_the_first_that_is_there_is_read(place: Path) -> None:
    parts = [part for part in os.fsencode(place.resolve()).split(b"/") if part]
    assert read_first([[*parts, b"none"], [*parts, b"file"]], 0, 3) == b"012"
    assert read_first([], 0, 3) == ABSENT


async def test_on_the_loop_the_guest_waits(place: Path) -> None:
    reader = Reader(place)
    waiting = READING.run(reader.host, *reader.put(b"file"), 0, 32768, 100)
    assert isinstance(waiting, Coroutine)
    answer: Any = await waiting
    assert answer == 10
    assert bytes(reader.buffer[32768:32778]) == b"0123456789"


READ = (
    '(import "env" "host_read_file" (func $read (param i32 i32 i32 i32 i32) (result i32)))'
    '(import "env" "host_metric_add" (func $count (param i32 i32 i64) (result i32)))'
    '(data (i32.const 0) "list")'
)
COUNT = (
    "(drop (call $count (i32.const 0) (i32.const 4) (i64.extend_i32_s"
    " (call $read (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 64) (i32.const 99)))))"
)


def test_imports_that_reach_out_are_known_to_need_a_decision() -> None:
    needed = {READING.name: "filesystem", ASKING.name: "network"}
    needed |= {function.name: "network" for function in http_calls.FUNCTIONS}
    assert needed.items() <= dict(NEEDED_BY).items()


async def test_hooks_and_plugin_init_read_once_it_is_granted(any_host: Host) -> None:
    host = any_host
    init = f'(func (export "plugin_init") (result i32) {COUNT} i32.const 0)'
    module = guest(f"{COUNT} i32.const 0", imports=READ + init)
    manifest = 'single_instance = true\n[permissions]\nfilesystem = ["data"]'
    await host.load("a", module, manifest)
    data = host.directory / "a" / "data"
    await asyncio.to_thread(data.mkdir)
    await asyncio.to_thread((data / "list").write_bytes, b"0123456789")

    async def counted() -> int:
        assert await host.request(make_flow()) is CONTINUE
        return dict(host.status("a").metrics)["list"]

    assert await counted() == 2 * NOT_PERMITTED
    assert [asked.kind for asked in host.status("a").refused_unasked] == ["filesystem"]
    await host.manager.decide_permission("a", "filesystem", True)
    assert host.status("a").refused_unasked == ()
    assert await counted() == 2 * NOT_PERMITTED + 10
    assert (await host.manager.reload("a")).ok
    assert await counted() == 2 * NOT_PERMITTED + 30
    profile = {told.hook: dict(told.denied) for told in host.status("a").profile}
    assert profile["on_request"] == profile["plugin_init"] == {"host_read_file": 1}
    assert host.status("a").traps == 0
