"""Compiled code on disk: found again, never where anything differs, never after tampering."""

from __future__ import annotations

import asyncio
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from proxy_core.bus.bus import Bus
from proxy_core.exchange.hooks import Hooks
from proxy_core.model.verdict import Block
from proxy_core.plugin_host import PluginManager, code_cache
from proxy_core.plugin_host.code_cache import CodeCache, KeyParts, describe_cpu
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.generation import Blueprint
from proxy_core.plugin_host.guest import Code
from proxy_core.plugin_host.logs import StartLog
from proxy_core.plugin_host.runtime.official import OfficialEngine
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.plugin_host.guests import guest, make_flow

ONE = guest("i32.const 1")
TWO = guest("i32.const 2")
BEGINNING = 32
"""Where the code begins in a file."""


class Counting(RawEngine):
    """An engine that counts what it has to compile, and what it takes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.compiled = 0
        self.taken = 0

    def compile(self, data: bytes) -> Code:
        self.compiled += 1
        return super().compile(data)

    def deserialize(self, blob: bytes, start: int = 0) -> Code:
        self.taken += 1
        return super().deserialize(blob, start)


class Place:
    """A cache with its directory, and what it told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told: list[str] = []
        self.engine = Counting()
        self.cache = CodeCache(directory, self.told.append)

    def compile(self, data: bytes = ONE) -> tuple[int, int]:
        """Compile; return how often that was really done, and how often it was found, so far."""
        code = self.cache.compile(self.engine, data)
        assert [export.name for export in code.exports] == [
            "memory",
            "int3_abi_version",
            "on_request",
        ]
        return self.engine.compiled, self.engine.taken

    @property
    def files(self) -> list[Path]:
        """The compiled modules."""
        return sorted(path for path in self.directory.iterdir() if path.name != "key")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data" / "cache")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_was_compiled_is_found_again(place: Place) -> None:
    assert place.compile() == (1, 0)
    assert place.compile() == (1, 1)
    assert place.compile(TWO) == (2, 1)
    again = Place(place.directory)
    assert again.compile() == (0, 1)
    assert place.told == again.told == []


def test_all_of_it_is_private(place: Place) -> None:
    place.compile()
    assert mode(place.directory) == 0o700
    assert {mode(path) for path in place.directory.iterdir()} == {0o600}
    assert len(list(place.directory.iterdir())) == 2


@pytest.mark.parametrize("kind", [RawEngine, OfficialEngine])
def test_code_that_was_found_runs(
    place: Place, kind: type[RawEngine] | type[OfficialEngine]
) -> None:
    for _ in range(2):
        engine = kind()
        blueprint = Blueprint.draw(engine, Manifest("a", ""), ONE, cache=place.cache)
        made = blueprint.build(StartLog(10))
        assert made.run("on_request") == 1
        made.close()
        engine.close()
    assert len(place.files) == 1
    assert place.told == []


PARTS = KeyParts("00", "wasmtime 46", "a=True", "cpu", "slices")


@pytest.mark.parametrize("part", ["file_hash", "library", "settings", "cpu", "engine"])
def test_every_part_of_the_key_matters(part: str) -> None:
    assert replace(PARTS, **{part: "other"}).name() != PARTS.name()
    assert KeyParts(*("00", "wasmtime 46", "a=True", "cpu", "slices")).name() == PARTS.name()


def test_parts_do_not_run_into_each_other() -> None:
    assert replace(PARTS, library="ab", settings="c").name() != (
        replace(PARTS, library="a", settings="bc").name()
    )


@pytest.mark.parametrize("part", ["library", "settings", "name"])
def test_another_engine_compiles_for_itself(place: Place, part: str) -> None:
    place.compile()
    setattr(place.engine, part, "other")
    assert place.compile() == (2, 0)
    assert len(place.files) == 2


def test_another_processor_compiles_for_itself(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.compile()
    monkeypatch.setattr(code_cache, "describe_cpu", lambda: "another")
    other = Place(place.directory)
    assert other.compile() == (1, 0)


def test_the_engines_do_not_share_code(place: Place) -> None:
    place.compile()
    engine = OfficialEngine()
    place.cache.compile(engine, ONE)
    engine.close()
    assert len(place.files) == 2


def test_the_processor_is_told_the_same_each_time() -> None:
    assert describe_cpu() == describe_cpu() != ""


def tampered(raw: bytes, how: str) -> bytes:
    flip = {"mac": 0, "mac's end": 31, "code": BEGINNING, "middle": len(raw) // 2}
    if how in flip:
        at = flip[how]
        return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    return {
        "last byte": raw[:-1] + bytes([raw[-1] ^ 1]),
        "cut": raw[:-1],
        "cut to the mac": raw[:BEGINNING],
        "cut inside the mac": raw[:10],
        "empty": b"",
        "longer": raw + b"\0",
        "no mac": raw[BEGINNING:],
        "zero mac": bytes(32) + raw[BEGINNING:],
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "mac",
        "mac's end",
        "code",
        "middle",
        "last byte",
        "cut",
        "cut to the mac",
        "cut inside the mac",
        "empty",
        "longer",
        "no mac",
        "zero mac",
    ],
)
def test_a_file_that_was_tampered_with_is_never_loaded(place: Place, how: str) -> None:
    place.compile()
    (file,) = place.files
    good = file.read_bytes()
    file.write_bytes(tampered(good, how))
    assert place.compile() == (2, 0)
    (told,) = place.told
    assert str(file) in told
    assert "damaged or was tampered with" in told
    assert place.compile() == (2, 1)
    assert len(place.told) == 1


def test_one_modules_file_does_not_pass_for_anothers(place: Place) -> None:
    place.compile(ONE)
    (one,) = place.files
    stolen = one.read_bytes()
    place.compile(TWO)
    (two,) = set(place.files) - {one}
    two.write_bytes(stolen)
    assert place.compile(TWO) == (3, 0)
    assert "tampered" in place.told[0]


def test_a_file_signed_with_another_key_is_not_loaded(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other")
    other.compile()
    place.compile()
    (file,) = place.files
    file.write_bytes(other.files[0].read_bytes())
    assert place.compile() == (2, 0)


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o777])
def test_a_file_that_others_may_touch_is_not_loaded(place: Place, bits: int) -> None:
    place.compile()
    (file,) = place.files
    file.chmod(bits)
    assert place.compile() == (2, 0)
    assert f"mode {bits:04o}" in place.told[0]
    assert mode(file) == 0o600
    assert place.compile() == (2, 1)


def test_a_file_of_another_user_is_not_loaded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.compile()
    found = os.fstat

    class Foreign:
        """What fstat says, with another owner for what is larger than a key."""

        def __init__(self, descriptor: int) -> None:
            self._status = found(descriptor)
            self.st_uid = self._status.st_uid + (self._status.st_size > 1000)

        def __getattr__(self, name: str) -> int:
            number: int = getattr(self._status, name)
            return number

    monkeypatch.setattr(os, "fstat", Foreign)
    assert place.compile() == (2, 0)
    assert "belongs to another user" in place.told[0]


def test_links_and_pipes_are_not_loaded(place: Place, tmp_path: Path) -> None:
    place.compile()
    (file,) = place.files
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert place.compile() == (2, 0)
    assert not file.is_symlink()
    file.unlink()
    os.mkfifo(file, 0o600)
    assert place.compile() == (3, 0)
    assert file.is_file()
    assert len(place.told) == 2


def test_code_that_the_library_does_not_take_is_compiled_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.compile()

    def refuse(blob: bytes, start: int) -> Code:
        raise ModuleRefused("not code of this engine")

    monkeypatch.setattr(place.engine, "deserialize", refuse)
    assert place.compile() == (2, 0)
    assert "not code of this engine" in place.told[0]


@pytest.mark.parametrize("key", [b"", b"short", bytes(33)])
def test_a_key_that_is_none_is_replaced(place: Place, key: bytes) -> None:
    place.compile()
    (place.directory / "key").write_bytes(key)
    assert place.compile() == (2, 0)
    assert "is replaced" in place.told[0]
    assert place.compile() == (2, 1)


def test_a_key_that_others_could_read_is_replaced(place: Place) -> None:
    place.compile()
    key = (place.directory / "key").read_bytes()
    (place.directory / "key").chmod(0o644)
    assert place.compile() == (2, 0)
    assert (place.directory / "key").read_bytes() != key
    assert mode(place.directory / "key") == 0o600


def test_a_directory_open_to_others_is_closed(place: Place) -> None:
    place.directory.mkdir(parents=True)
    place.directory.chmod(0o755)
    place.compile()
    assert mode(place.directory) == 0o700


def test_without_a_directory_it_works_and_says_so_once(place: Place) -> None:
    place.directory.parent.mkdir(parents=True)
    place.directory.write_bytes(b"a file")
    assert place.compile() == (1, 0)
    assert place.compile() == (2, 0)
    (told,) = place.told
    assert "cannot be kept in" in told


def test_a_directory_of_another_user_is_not_used(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert place.compile() == (1, 0)
    assert "belongs to another user" in place.told[0]


def test_a_full_disk_is_told_of_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *parts: bytes) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(code_cache, "write_private", refuse)
    assert [place.compile(), place.compile()] == [(1, 0), (2, 0)]
    assert len(place.told) == 1


@pytest.fixture
def small(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A cache with room for two modules."""
    place.compile()
    size = place.files[0].stat().st_size
    monkeypatch.setattr(code_cache, "TOTAL_BYTES", 2 * size + 1000)
    return place


def test_what_was_not_used_for_longest_makes_room(small: Place) -> None:
    (one,) = small.files
    small.compile(TWO)
    (two,) = set(small.files) - {one}
    os.utime(one, (1000, 1000))
    os.utime(two, (2000, 2000))
    small.compile(ONE)  # used, and so newer again
    small.compile(guest("i32.const 3"))
    assert one in small.files
    assert two not in small.files
    assert len(small.files) == 2


def test_what_is_too_large_is_not_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_cache, "MODULE_BYTES", 10)
    assert [place.compile(), place.compile()] == [(1, 0), (2, 0)]
    assert place.files == []


def test_leftovers_of_an_interrupted_write_go_after_a_while(place: Place) -> None:
    place.directory.mkdir(parents=True)
    for name, at in ((".old.1", 1000), (".new.1", None)):
        (place.directory / name).write_bytes(b"")
        if at is not None:
            os.utime(place.directory / name, (at, at))
    place.compile()
    names = {path.name[:4] for path in place.files}
    assert ".new" in names
    assert ".old" not in names


def test_many_at_once_do_not_hurt_each_other(tmp_path: Path) -> None:
    places = [Place(tmp_path / "cache") for _ in range(4)]
    modules = [ONE, TWO, guest("i32.const 0")]
    with ThreadPoolExecutor(4) as threads:
        done = [
            threads.submit(each.compile, module)
            for _ in range(5)
            for module in modules
            for each in places
        ]
        for future in done:
            future.result()
    assert [each.told for each in places] == [[], [], [], []]
    again = Place(tmp_path / "cache")
    assert [again.compile(module)[0] for module in modules] == [0, 0, 0]


async def test_a_core_finds_its_plugins_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "a.wasm").write_bytes(ONE)
    cache = tmp_path / "data" / "plugin-cache"
    verdicts = []
    for number in range(3):
        hooks = Hooks()
        manager = PluginManager([tmp_path / "plugins"], hooks, Bus(), 10, tmp_path / "data")
        await manager.start()
        assert hooks.request is not None
        verdicts.append(await hooks.request(make_flow()))
        await asyncio.sleep(0)
        warned = [line.text for line in manager.logs.snapshot() if "not loaded" in line.text]
        assert len(warned) == (number == 2)
        await manager.stop()
        if number == 1:
            (file,) = (path for path in cache.glob("*") if path.name != "key")
            file.write_bytes(b"\0" * 100)
    assert verdicts == [Block("plugin a", 403)] * 3
