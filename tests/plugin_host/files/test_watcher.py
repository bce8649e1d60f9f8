"""What a look at files finds: changes that have come to rest, and nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy_core.plugin_host.files.watcher import (
    AGAIN_SECONDS,
    LOOK_SECONDS,
    SETTLE_SECONDS,
    FileWatch,
    Watcher,
)

MANIFEST = 'name = "a"\nwasm = "a.wasm"\n'
STEP = 0.1


class Looks:
    """A watch over one directory, and the clock that it goes by."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.watch = FileWatch([directory])
        self.now = 100.0

    def look(self) -> dict[str, bool]:
        """Look once, `STEP` after the last time; return what was told, by paths from here on."""
        self.now += STEP
        told = self.watch.look(self.now)
        return {str(path.relative_to(self.directory)): there for path, there in told.items()}

    def told(self, seconds: float = SETTLE_SECONDS + STEP) -> dict[str, bool]:
        """Look for that long."""
        found: dict[str, bool] = {}
        end = self.now + seconds
        while self.now < end:
            found |= self.look()
        return found

    def calm(self) -> None:
        """Let everything that is due be told."""
        self.told(SETTLE_SECONDS + AGAIN_SECONDS + 3 * STEP)


@pytest.fixture
def looks(tmp_path: Path) -> Looks:
    """A directory with one plugin, which was told of."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "plugin.toml").write_text(MANIFEST)
    (tmp_path / "a" / "a.wasm").write_bytes(b"one")
    made = Looks(tmp_path)
    made.calm()
    return made


def test_everything_is_new_at_first_and_told_again_for_coarse_clocks(tmp_path: Path) -> None:
    (tmp_path / "x.wasm").touch()
    looks = Looks(tmp_path)
    assert looks.look() == {}
    assert looks.told(SETTLE_SECONDS) == {"x.wasm": True}
    assert looks.told(AGAIN_SECONDS - 2 * STEP) == {}
    assert looks.told(3 * STEP) == {"x.wasm": True}
    assert looks.told(10) == {}


@pytest.mark.parametrize("name", ["a.wasm", "plugin.toml"])
def test_a_change_is_told_when_it_has_come_to_rest(looks: Looks, name: str) -> None:
    path = looks.directory / "a" / name
    for piece in ("name", ' = "a"\nwasm =', ' "a.wasm"\n'):
        with path.open("a") as file:
            file.write(piece)
        assert looks.look() == {}
        assert looks.look() == {}
    assert looks.told() == {"a/plugin.toml": True}


def test_a_configuration_file_belongs_to_its_plugin(looks: Looks) -> None:
    manifest = looks.directory / "a" / "plugin.toml"
    manifest.write_text(MANIFEST + 'config_file = "words.txt"\n')
    looks.calm()
    (looks.directory / "a" / "words.txt").write_text("secret")
    assert looks.told() == {"a/plugin.toml": True}
    (looks.directory / "a" / "other.txt").write_text("secret")
    assert looks.told() == {}


def test_a_module_that_the_manifest_names_anew_is_watched(looks: Looks) -> None:
    (looks.directory / "a" / "plugin.toml").write_text(MANIFEST.replace("a.wasm", "out/b.wasm"))
    looks.calm()
    (looks.directory / "a" / "out").mkdir()
    (looks.directory / "a" / "out" / "b.wasm").write_bytes(b"two")
    assert looks.told() == {"a/plugin.toml": True}
    (looks.directory / "a" / "a.wasm").write_bytes(b"nobody asks")
    assert looks.told() == {}


def test_a_file_that_is_renamed_over_another_of_its_size_and_time_is_a_change(
    looks: Looks,
) -> None:
    path = looks.directory / "a" / "a.wasm"
    before = path.stat()
    aside = path.with_suffix(".tmp")
    aside.write_bytes(b"two")
    os.utime(aside, ns=(before.st_atime_ns, before.st_mtime_ns))
    aside.rename(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert looks.told() == {"a/plugin.toml": True}


def test_an_editor_that_deletes_before_it_writes_is_one_change(looks: Looks) -> None:
    path = looks.directory / "a" / "plugin.toml"
    path.unlink()
    assert looks.look() == {}
    path.write_text(MANIFEST)
    assert looks.told() == {"a/plugin.toml": True}


def test_what_is_gone_is_told_once_more_for_slow_file_systems_and_never_again(
    looks: Looks,
) -> None:
    shutil.rmtree(looks.directory / "a")
    assert looks.told() == {"a/plugin.toml": False}
    assert looks.told(AGAIN_SECONDS) == {"a/plugin.toml": False}
    assert looks.told(10) == {}


def test_what_comes_back_is_told(looks: Looks) -> None:
    shutil.rmtree(looks.directory / "a")
    looks.calm()
    (looks.directory / "a").mkdir()
    (looks.directory / "a" / "a.wasm").write_bytes(b"one")
    (looks.directory / "a" / "plugin.toml").write_text(MANIFEST)
    assert looks.told() == {"a/plugin.toml": True}


def test_new_plugins_are_found_however_slowly_they_come(looks: Looks) -> None:
    looks.calm()
    place = looks.directory / "b"
    place.mkdir()
    assert looks.told() == {}
    times = place.stat()
    (place / "b.wasm").write_bytes(b"b")
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert looks.told() == {"b/b.wasm": True}
    (looks.directory / "c.wasm").write_bytes(b"c")
    assert looks.told() == {"c.wasm": True}


def test_a_directory_that_was_not_there_is_looked_into_once_it_is(tmp_path: Path) -> None:
    looks = Looks(tmp_path / "later" / "plugins")
    assert looks.told(10) == {}
    looks.directory.mkdir(parents=True)
    (looks.directory / "x.wasm").touch()
    assert looks.told() == {"x.wasm": True}


def test_links_to_directories_are_followed_as_discovery_does(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plugin.toml").write_text(MANIFEST)
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "a").symlink_to("../one")
    looks = Looks(plugins)
    looks.calm()
    (tmp_path / "one" / "a.wasm").write_bytes(b"one")
    assert looks.told() == {"a/plugin.toml": True}
    (plugins / "a").unlink()
    (plugins / "a").symlink_to("../two")
    assert looks.told() == {"a/plugin.toml": True}


def test_what_does_not_belong_to_a_plugin_is_no_change(looks: Looks) -> None:
    (looks.directory / "a" / "plugin.toml~").write_text("an editor's")
    (looks.directory / "a" / ".a.wasm.swp").write_text("an editor's")
    (looks.directory / "README").write_text("for people")
    assert looks.told(10) == {}


def test_a_look_is_due_when_something_may_have_come_to_rest(looks: Looks) -> None:
    assert looks.watch.pause(looks.now) == LOOK_SECONDS
    (looks.directory / "a" / "a.wasm").write_bytes(b"two")
    looks.look()
    assert looks.watch.pause(looks.now) == pytest.approx(SETTLE_SECONDS)
    assert 0 < looks.watch.pause(looks.now + 60) < STEP


# The thread.


async def test_changes_are_told_on_the_loop_until_it_is_cancelled(tmp_path: Path) -> None:
    (tmp_path / "x.wasm").write_bytes(b"one")
    told: asyncio.Queue[tuple[Path, bool]] = asyncio.Queue()

    async def follow(changed: Mapping[Path, bool]) -> None:
        for item in changed.items():
            told.put_nowait(item)

    running = asyncio.get_running_loop().create_task(Watcher([tmp_path]).run(follow))
    assert await told.get() == (tmp_path / "x.wasm", True)
    (tmp_path / "x.wasm").unlink()
    assert await told.get() == (tmp_path / "x.wasm", False)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for thread in threading.enumerate():
        if thread.name == "plugin-watcher":
            await asyncio.to_thread(thread.join)


async def test_a_fault_in_looking_ends_watching_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FileWatch, now: float) -> dict[Path, bool]:
        raise RecursionError("too many links")

    async def follow(changed: Mapping[Path, bool]) -> None:
        raise AssertionError(changed)

    monkeypatch.setattr(FileWatch, "look", fail)
    with pytest.raises(RecursionError, match="too many links"):
        await Watcher([tmp_path]).run(follow)
