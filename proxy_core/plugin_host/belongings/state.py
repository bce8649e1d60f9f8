"""A plugin's key-value state: bounded, shared by its instances, and kept over reloads and restarts.

`KeyValueState` is the memory, for any thread; `StateKeeper` reads and writes the files,
`<data dir>/plugin-state/NAME`, on a thread of its own. Changes are written a while after the first
of them, so a plugin decides how much is written at a time, but not how often.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.codes import NOT_PERMITTED, OK, OVER_LIMIT
from proxy_core.plugin_host.short_turns import short_turns
from proxy_core.private_files import private_directory, read_private, write_private

KEY_BYTES: Final = 1024
ENTRY_BYTES: Final = 64
"""What an entry counts for besides its key and value."""
VALUE_BYTES: Final = 1024 * 1024
"""Of one value: it is copied in one turn of the loop."""
ENTRIES: Final = 32_768
"""Of one plugin: they are gathered, to be written, in one turn of the loop."""
COUNTER_BYTES: Final = 8
WRITE_SECONDS: Final = 1.0
"""From a change to its being on disk, at least; more where writing takes its time."""
RETRY_SECONDS: Final = 30.0
REST_FACTOR: Final = 20
"""How much longer than a write took the next one is put off."""
_SET_ASIDE: Final = 100
_FILE_VERSION: Final = 1
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1

T = TypeVar("T")


class KeyValueState:
    """The entries of one plugin. For any thread."""

    def __init__(self, on_change: Callable[[], None] | None = None) -> None:
        """Call `on_change` at the first change, and at the first one after each `take`."""
        self._entries: dict[bytes, bytes] = {}
        self._lock = threading.Lock()
        self._on_change = on_change
        self._dirty = False
        self.size = 0
        """Keys, values, and ENTRY_BYTES for each."""

    def fill(self, entries: dict[bytes, bytes]) -> None:
        """Begin with these."""
        with self._lock:
            self._entries = entries
            self.size = sum(_cost(key, value) for key, value in entries.items())

    def copy(self) -> KeyValueState:
        """Return another with these entries, whose changes nobody is told of."""
        other = KeyValueState()
        with self._lock:
            other._entries, other.size = dict(self._entries), self.size
        return other

    def get(self, key: bytes) -> bytes | None:
        """Return a value, or None where there is none."""
        return self._entries.get(key)

    def set(self, key: bytes, value: bytes, limit: int) -> int:
        """Keep a value, an empty one deletes; OK, or OVER_LIMIT beyond `limit` or ENTRIES."""
        with self._lock:
            return self._set(key, value, limit)

    def add(self, key: bytes, delta: int, limit: int) -> int:
        """Add to a signed 64-bit number, absent ones being 0; return it, or a code.

        It stays at the ends of its range instead of wrapping. NOT_PERMITTED where the value has
        another size than 8 bytes.
        """
        with self._lock:
            old = self._entries.get(key)
            if old is not None and len(old) != COUNTER_BYTES:
                return NOT_PERMITTED
            number = 0 if old is None else int.from_bytes(old, "little", signed=True)
            number = min(max(number + delta, _LOWEST), _HIGHEST)
            code = self._set(key, number.to_bytes(COUNTER_BYTES, "little", signed=True), limit)
            return number if code == OK else code

    def _set(self, key: bytes, value: bytes, limit: int) -> int:
        old = self._entries.get(key)
        if old == (value or None):
            return OK
        size = self.size
        if old is not None:
            size -= _cost(key, old)
        if value:
            size += _cost(key, value)
            if len(key) > KEY_BYTES or size > limit:
                return OVER_LIMIT
            if old is None and len(self._entries) >= ENTRIES:
                return OVER_LIMIT
            self._entries[key] = value
        else:
            del self._entries[key]
        self.size = size
        if not self._dirty:
            self._dirty = True
            if self._on_change is not None:
                self._on_change()
        return OK

    def take(self) -> dict[bytes, bytes] | None:
        """Return all entries, to be written; None where nothing has changed since."""
        with self._lock:
            if not self._dirty:
                return None
            self._dirty = False
            return dict(self._entries)

    @property
    def dirty(self) -> bool:
        """Whether there is something that `take` has not given out."""
        return self._dirty

    def spoil(self) -> None:
        """Say that what `take` gave could not be written."""
        with self._lock:
            self._dirty = True


def _cost(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_BYTES


class _File(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a state file holds, as msgpack."""

    version: int
    entries: list[msgspec.Raw]


_Entry = tuple[bytes, bytes]
_PIECE: Final = 1024 * 1024
"""Bytes of a file that are made at a time: the interpreter's lock is held for each."""


@dataclass(slots=True)
class _Kept:
    """A state that has a file."""

    state: KeyValueState
    timer: asyncio.TimerHandle | None = None
    writing: int = 0
    rest: float = WRITE_SECONDS
    failing: bool = False


class StateKeeper:
    """The states of all plugins by name, and their files. Used on the core's loop."""

    def __init__(self, directory: Path | None, tell: Callable[[str, LogLevel, str], None]) -> None:
        """Without a directory nothing is kept. `tell` gets (plugin, level, text)."""
        self._directory = directory
        self._tell = tell
        self._kept: dict[str, _Kept] = {}
        self._thread: ThreadPoolExecutor | None = None

    async def open(self, name: str, limit: int) -> KeyValueState:
        """Return the plugin's state, from its file where it is not in memory yet.

        A file that cannot be used is set aside, and the state begins empty.
        """
        kept = self._kept.get(name)
        if kept is not None:
            return kept.state
        loop = asyncio.get_running_loop()

        def on_change() -> None:
            try:
                loop.call_soon_threadsafe(self._plan, name)
            except RuntimeError:  # the loop has ended, and with it whoever would read this
                return

        kept = _Kept(KeyValueState(on_change))
        if self._directory is not None:
            entries, problem = await self._on_thread(lambda: self._read(name, limit))
            kept.state.fill(entries)
            if problem is not None:
                self._tell(name, LogLevel.ERROR, problem)
        self._kept[name] = kept
        return kept.state

    def release(self, name: str, keep: bool) -> None:
        """Begin to write what is unwritten; let go of the state unless to `keep` it.

        Whoever opens it again reads the file after it was written, there being one thread.
        """
        kept = self._kept.get(name)
        if kept is not None:
            self._hurry(name, kept)
            if not keep:
                del self._kept[name]

    async def stop(self) -> None:
        """Write everything that is unwritten, and end."""
        for name, kept in self._kept.items():
            self._hurry(name, kept)
        if self._thread is not None:
            # All that was begun is done before this is.
            await self._start(lambda: None)
            await asyncio.sleep(0)  # so that what failed is told of
            self._kept.clear()
            self._thread.shutdown()
            self._thread = None

    def _plan(self, name: str) -> None:
        kept = self._kept.get(name)
        if kept is None or kept.timer is not None or kept.writing or self._directory is None:
            return
        loop = asyncio.get_running_loop()
        kept.timer = loop.call_later(kept.rest, self._begin, name, kept)

    def _hurry(self, name: str, kept: _Kept) -> None:
        if kept.timer is not None:
            kept.timer.cancel()
        if self._directory is not None:
            self._begin(name, kept)

    def _begin(self, name: str, kept: _Kept) -> None:
        kept.timer = None
        entries = kept.state.take()
        if entries is None:
            return
        kept.writing += 1
        done = self._start(lambda: self._save(name, entries))
        done.add_done_callback(lambda future: self._saved(name, kept, future))

    def _saved(self, name: str, kept: _Kept, done: asyncio.Future[float]) -> None:
        kept.writing -= 1
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            kept.rest = max(WRITE_SECONDS, REST_FACTOR * done.result())
            kept.failing = False
            if kept.state.dirty:
                self._plan(name)
            return
        kept.state.spoil()
        kept.rest = RETRY_SECONDS
        self._plan(name)
        if not kept.failing:
            kept.failing = True
            self._tell(
                name,
                LogLevel.ERROR,
                f"its state cannot be written to {self._path(name)}: {error}; it is tried again",
            )

    def _start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="plugin-state")
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await self._start(work)

    # On the thread.

    def _path(self, name: str) -> Path:
        return (self._directory or Path()) / name

    def _save(self, name: str, entries: dict[bytes, bytes]) -> float:
        began = time.perf_counter()
        path = self._path(name)
        private_directory(path.parent)
        with short_turns:
            write_private(path, *_pieces(entries))
        return time.perf_counter() - began

    def _read(self, name: str, limit: int) -> tuple[dict[bytes, bytes], str | None]:
        path = self._path(name)
        try:
            raw = read_private(path, 2 * limit + 1024, strict=False)
            if raw is None:
                return {}, None
            with short_turns:
                entries, fault = _parse(raw, limit)
        except OSError as error:
            entries, fault = {}, str(error)
        if fault is None:
            return entries, None
        try:
            aside = _set_aside(path)
        except OSError as error:
            return {}, f"its state in {path} cannot be used ({fault}), nor set aside: {error}"
        return {}, f"its state in {path} cannot be used ({fault}); it was set aside as {aside.name}"


def _pieces(entries: dict[bytes, bytes]) -> Iterator[bytes]:
    """Yield what a file of these entries holds: a `_File`."""
    encoder = msgspec.msgpack.Encoder()
    version = encoder.encode(_FILE_VERSION)
    # An array of two, of which the second is an array whose length has 32 bits.
    made = bytearray(b"\x92" + version + b"\xdd" + len(entries).to_bytes(4, "big"))
    for entry in entries.items():
        encoder.encode_into(entry, made, len(made))
        if len(made) >= _PIECE:
            yield bytes(made)
            made.clear()
    yield bytes(made)


def _parse(raw: bytes, limit: int) -> tuple[dict[bytes, bytes], str | None]:
    if len(raw) > 2 * limit + 1024:
        return {}, "it is larger than limits.kv_bytes allows"
    try:
        file = msgspec.msgpack.decode(raw, type=_File)
        decoder = msgspec.msgpack.Decoder(_Entry)
        entries = {}
        for piece in file.entries if file.version == _FILE_VERSION else ():
            key, value = decoder.decode(piece)
            entries[key] = value
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {}, f"it is damaged: {error}"
    if file.version != _FILE_VERSION:
        return {}, f"it has version {file.version}; known is {_FILE_VERSION}"
    if len(entries) > ENTRIES:
        return {}, f"it holds {len(entries)} entries; at most {ENTRIES} are kept"
    if sum(_cost(key, value) for key, value in entries.items()) > limit:
        return {}, "it holds more than limits.kv_bytes allows"
    return entries, None


def _set_aside(path: Path) -> Path:
    """Rename a file to NAME~1, NAME~2, ...; no plugin's name has a `~`."""
    for number in range(1, _SET_ASIDE):
        aside = path.with_name(f"{path.name}~{number}")
        if not aside.exists():
            break
    return path.rename(aside)
