"""A plugin's state: its bound, its counters, and its file through thick and thin."""

from __future__ import annotations

import asyncio
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from proxy_core import private_files
from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.belongings import state
from proxy_core.plugin_host.belongings.state import (
    ENTRIES,
    ENTRY_BYTES,
    KEY_BYTES,
    KeyValueState,
    StateKeeper,
)
from proxy_core.plugin_host.codes import NOT_PERMITTED, OK, OVER_LIMIT

LIMIT = 1000


# In memory.


def test_values_are_kept_replaced_and_deleted() -> None:
    kept = KeyValueState()
    assert kept.get(b"k") is None
    assert kept.set(b"k", b"one", LIMIT) == OK
    assert kept.set(b"k", b"two", LIMIT) == OK
    assert kept.get(b"k") == b"two"
    assert kept.size == 1 + 3 + ENTRY_BYTES
    assert kept.set(b"k", b"", LIMIT) == OK
    assert (kept.get(b"k"), kept.size) == (None, 0)
    assert kept.set(b"k", b"", LIMIT) == OK


def test_the_limit_is_held_to_the_byte() -> None:
    kept = KeyValueState()
    room = LIMIT - ENTRY_BYTES - 1
    assert kept.set(b"k", bytes(room + 1), LIMIT) == OVER_LIMIT
    assert kept.set(b"k", bytes(room), LIMIT) == OK
    assert kept.size == LIMIT
    assert kept.set(b"l", b"x", LIMIT) == OVER_LIMIT
    assert kept.set(b"k", b"y" * room, LIMIT) == OK
    assert kept.set(b"k", b"", LIMIT) == OK
    assert kept.set(b"l", b"x", LIMIT) == OK


def test_entries_are_no_more_than_can_be_gathered_in_one_turn() -> None:
    kept, limit = KeyValueState(), 100 * ENTRIES
    for number in range(ENTRIES):
        kept.set(b"%d" % number, b"x", limit)
    assert kept.set(b"new", b"x", limit) == OVER_LIMIT
    assert kept.set(b"0", b"other", limit) == OK
    assert kept.set(b"0", b"", limit) == OK
    assert kept.set(b"new", b"x", limit) == OK


def test_over_a_limit_that_was_lowered_one_may_still_delete() -> None:
    kept = KeyValueState()
    kept.set(b"k", bytes(500), LIMIT)
    assert kept.set(b"l", b"x", 100) == OVER_LIMIT
    assert kept.set(b"k", b"", 100) == OK


def test_keys_have_a_length_limit() -> None:
    kept = KeyValueState()
    assert kept.set(bytes(KEY_BYTES), b"v", 10_000) == OK
    assert kept.set(bytes(KEY_BYTES + 1), b"v", 10_000) == OVER_LIMIT


def test_a_counter_begins_at_nothing_and_is_eight_bytes() -> None:
    kept = KeyValueState()
    assert [kept.add(b"n", 5, LIMIT), kept.add(b"n", -7, LIMIT)] == [5, -2]
    assert kept.get(b"n") == b"\xfe" + b"\xff" * 7
    kept.set(b"n", (300).to_bytes(8, "little"), LIMIT)
    assert kept.add(b"n", 1, LIMIT) == 301
    kept.set(b"n", b"1234567", LIMIT)
    assert kept.add(b"n", 1, LIMIT) == NOT_PERMITTED


def test_a_counter_stays_at_the_end_of_its_range() -> None:
    kept = KeyValueState()
    kept.add(b"n", 2**63 - 1, LIMIT)
    assert kept.add(b"n", 1, LIMIT) == 2**63 - 1
    kept.add(b"m", -(2**63), LIMIT)
    assert kept.add(b"m", -1, LIMIT) == -(2**63)


def test_a_counter_needs_room_too() -> None:
    assert KeyValueState().add(b"n", 1, ENTRY_BYTES + 8) == OVER_LIMIT
    assert KeyValueState().add(b"n", 1, ENTRY_BYTES + 9) == 1


def test_threads_lose_no_count() -> None:
    kept = KeyValueState()

    def count() -> None:
        for _ in range(2000):
            kept.add(b"n", 1, LIMIT)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept.get(b"n") == (8000).to_bytes(8, "little")


def test_a_change_is_told_once_until_it_is_taken() -> None:
    changes: list[None] = []
    kept = KeyValueState(lambda: changes.append(None))
    kept.set(b"a", b"1", LIMIT)
    kept.set(b"b", b"1", LIMIT)
    assert len(changes) == 1
    assert kept.take() == {b"a": b"1", b"b": b"1"}
    kept.set(b"a", b"1", LIMIT)
    assert (len(changes), kept.take()) == (1, None)
    kept.set(b"a", b"2", LIMIT)
    assert len(changes) == 2


# On disk.


class Keeper:
    """A keeper that writes at once, and what it told."""

    def __init__(self, directory: Path | None) -> None:
        self.told: list[str] = []
        self.keeper = StateKeeper(directory, self.tell)

    def tell(self, name: str, level: LogLevel, text: str) -> None:
        self.told.append(f"{name}: {text}")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that others may look into, as somebody may have made it."""
    made = tmp_path / "data" / "plugin-state"
    made.mkdir(mode=0o755, parents=True)
    return made


def modes(directory: Path) -> dict[str, int]:
    """The modes of a directory and what is in it."""
    found = [directory, *directory.iterdir()]
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in found}


async def test_a_state_survives_in_a_private_file(directory: Path) -> None:
    one = Keeper(directory)
    first = await one.keeper.open("a", LIMIT)
    first.set(b"\0key", b"\xffvalue", LIMIT)
    other = await one.keeper.open("b", LIMIT)
    assert other.get(b"\0key") is None
    await one.keeper.stop()
    assert modes(directory) == {"plugin-state": 0o700, "a": 0o600}
    two = Keeper(directory)
    again = await two.keeper.open("a", LIMIT)
    assert again.get(b"\0key") == b"\xffvalue"
    assert again.size == first.size
    await two.keeper.stop()
    assert one.told == two.told == []


async def test_changes_are_written_behind_after_a_while(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[bytes] = []
    write = private_files.write_private
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def note(path: Path, *parts: bytes) -> None:
        write(path, *parts)
        writes.append(path.read_bytes())
        loop.call_soon_threadsafe(done.set)

    monkeypatch.setattr(state, "write_private", note)
    monkeypatch.setattr(state, "WRITE_SECONDS", 0.02)
    one = Keeper(directory)
    kept = await one.keeper.open("a", LIMIT)
    one.keeper._kept["a"].rest = 0.02
    for number in range(100):
        kept.add(b"n", number, LIMIT)
    await done.wait()
    assert len(writes) == 1
    done.clear()
    kept.add(b"n", 1, LIMIT)
    await done.wait()
    await one.keeper.stop()
    assert len(writes) == 2
    assert msgspec.msgpack.decode(writes[1])[1] == [[b"n", (4951).to_bytes(8, "little")]]


async def test_a_state_let_go_of_is_there_when_it_is_opened_again(directory: Path) -> None:
    one = Keeper(directory)
    kept = await one.keeper.open("a", LIMIT)
    kept.set(b"k", b"v", LIMIT)
    one.keeper.release("a", keep=False)
    again = await one.keeper.open("a", LIMIT)
    assert again is not kept
    assert again.get(b"k") == b"v"
    await one.keeper.stop()


async def test_a_large_state_is_written_in_pieces_and_read_again(directory: Path) -> None:
    limit = 10_000_000
    values = {b"%d" % number: bytes([number % 256]) * (number * 9) for number in range(1, 1000)}
    one = Keeper(directory)
    kept = await one.keeper.open("a", limit)
    for key, value in values.items():
        assert kept.set(key, value, limit) == OK
    taken = kept.take()
    assert taken is not None
    pieces = list(state._pieces(taken))
    assert len(pieces) > 4
    assert max(map(len, pieces)) < 1_100_000
    kept.spoil()
    await one.keeper.stop()
    again = await Keeper(directory).keeper.open("a", limit)
    assert {key: again.get(key) for key in values} == values
    assert again.size == kept.size


async def test_a_file_of_too_many_entries_is_set_aside(directory: Path) -> None:
    entries = [[b"%d" % number, b"x"] for number in range(ENTRIES + 1)]
    (directory / "a").write_bytes(msgspec.msgpack.encode([1, entries]))
    one = Keeper(directory)
    kept = await one.keeper.open("a", 100 * ENTRIES)
    assert kept.size == 0
    assert f"holds {ENTRIES + 1} entries; at most {ENTRIES} are kept" in one.told[0]
    await one.keeper.stop()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "damaged"),
        (b"\x92\x01", "damaged"),
        (b"text", "damaged"),
        (msgspec.msgpack.encode([2, []]), "version 2"),
        (msgspec.msgpack.encode([1, [["k", "v"]]]), "damaged"),
        (msgspec.msgpack.encode([1, [[b"k", bytes(LIMIT)]]]), "more than limits.kv_bytes"),
        (bytes(3 * LIMIT + 2000), "larger than limits.kv_bytes"),
    ],
)
async def test_a_file_that_cannot_be_used_is_set_aside(
    directory: Path, raw: bytes, why: str
) -> None:
    (directory / "a").write_bytes(raw)
    one = Keeper(directory)
    kept = await one.keeper.open("a", LIMIT)
    assert kept.size == 0
    (told,) = one.told
    assert why in told
    assert told.endswith("it was set aside as a~1")
    assert (directory / "a~1").read_bytes() == raw
    kept.set(b"k", b"v", LIMIT)
    await one.keeper.stop()
    assert (directory / "a").exists()


async def test_what_was_set_aside_stays_when_it_happens_again(directory: Path) -> None:
    for number in (1, 2):
        (directory / "a").write_bytes(b"%d" % number)
        one = Keeper(directory)
        await one.keeper.open("a", LIMIT)
        await one.keeper.stop()
    assert [(directory / f"a~{n}").read_bytes() for n in (1, 2)] == [b"1", b"2"]


async def test_a_link_is_not_followed(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(msgspec.msgpack.encode([1, [[b"k", b"v"]]]))
    (directory / "a").symlink_to(tmp_path / "secret")
    one = Keeper(directory)
    assert (await one.keeper.open("a", LIMIT)).size == 0
    assert len(one.told) == 1
    await one.keeper.stop()


async def test_a_disk_that_does_not_take_it_is_told_of_once(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True
    write = private_files.write_private

    def refuse(path: Path, *parts: bytes) -> None:
        if full:
            raise OSError("no space left")
        write(path, *parts)

    monkeypatch.setattr(state, "write_private", refuse)
    one = Keeper(directory)
    kept = await one.keeper.open("a", LIMIT)
    for number in range(3):
        kept.set(b"k", b"%d" % number, LIMIT)
        one.keeper.release("a", keep=True)
        await one.keeper._on_thread(lambda: None)
        await asyncio.sleep(0)
    (told,) = one.told
    assert "no space left" in told
    full = False
    await one.keeper.stop()
    two = Keeper(directory)
    assert (await two.keeper.open("a", LIMIT)).get(b"k") == b"2"
    await two.keeper.stop()


async def test_without_a_directory_nothing_is_written() -> None:
    one = Keeper(None)
    kept = await one.keeper.open("a", LIMIT)
    kept.set(b"k", b"v", LIMIT)
    await asyncio.sleep(0)
    assert await one.keeper.open("a", LIMIT) is kept
    await one.keeper.stop()
