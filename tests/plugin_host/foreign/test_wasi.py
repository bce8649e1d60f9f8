"""The WASI stub: each function's answer, and nothing that a guest passes makes it fail."""

from __future__ import annotations

import struct
import time

import pytest

from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.abi import Declared, Signature
from proxy_core.plugin_host.faults import GuestExited, ModuleRefused
from proxy_core.plugin_host.foreign import wasi
from proxy_core.plugin_host.logs import LINE_BYTES
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE, FakeGuest

OUT, TABLE = 0, 16
SIGNATURES = {
    "fd_write": (("i32",) * 4, ("i32",)),
    "clock_time_get": (("i32", "i64", "i32"), ("i32",)),
    "clock_res_get": (("i32",) * 2, ("i32",)),
    "random_get": (("i32",) * 2, ("i32",)),
    "environ_get": (("i32",) * 2, ("i32",)),
    "environ_sizes_get": (("i32",) * 2, ("i32",)),
    "args_get": (("i32",) * 2, ("i32",)),
    "args_sizes_get": (("i32",) * 2, ("i32",)),
    "fd_fdstat_get": (("i32",) * 2, ("i32",)),
    "sched_yield": ((), ("i32",)),
    "poll_oneoff": (("i32",) * 4, ("i32",)),
    "proc_exit": (("i32",), ()),
    "fd_prestat_get": (("i32",) * 2, ("i32",)),
    "fd_seek": (("i32", "i64", "i32", "i32"), ("i32",)),
    "path_open": (("i32",) * 5 + ("i64", "i64", "i32", "i32"), ("i32",)),
}


def declared(name: str, signature: Signature | None = None, module: str = "") -> Declared:
    return Declared(name, "function", signature or SIGNATURES[name], module or wasi.MODULES[0])


def call(guest: FakeGuest, name: str, *arguments: int) -> int:
    answer = wasi.bind(declared(name)).function.run(guest.host, *arguments)
    assert isinstance(answer, int)
    return answer


def write(guest: FakeGuest, descriptor: int, *pieces: bytes) -> int:
    table = b"".join(struct.pack("<II", *guest.put(piece)) for piece in pieces)
    at, _ = guest.put(table)
    return call(guest, "fd_write", descriptor, at, len(pieces), OUT)


@pytest.mark.parametrize("module", ["wasi_snapshot_preview1", "wasi_unstable"])
def test_an_import_is_bound_as_it_is_declared(module: str) -> None:
    for name, signature in SIGNATURES.items():
        item = wasi.bind(declared(name, module=module))
        assert (item.function.module, item.function.name) == (module, name)
        assert (item.function.params, item.results) == signature


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("fd_write", (("i32",), ("i32",))),
        ("proc_exit", (("i32",), ("i32",))),
        ("fd_close", (("i32",), ())),
        ("fd_invented", (("f64",), ("i32",))),
        ("fd_invented", (("i32",), ("i64",))),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(name: str, signature: Signature) -> None:
    with pytest.raises(ModuleRefused, match=name):
        wasi.bind(declared(name, signature))


def test_only_functions_are_bound() -> None:
    with pytest.raises(ModuleRefused, match="functions only"):
        wasi.bind(Declared("stack", "global", None, wasi.MODULES[0]))


@pytest.mark.parametrize("name", ["fd_prestat_get", "fd_seek", "path_open"])
def test_there_is_no_file(name: str) -> None:
    arguments = [HIGH] * len(SIGNATURES[name][0])
    assert call(FakeGuest(), name, *arguments) == wasi.BADF


@pytest.mark.parametrize(
    ("descriptor", "level"), [(wasi.STDOUT, LogLevel.INFO), (wasi.STDERR, LogLevel.ERROR)]
)
def test_output_goes_to_the_log_line_by_line(descriptor: int, level: LogLevel) -> None:
    guest = FakeGuest()
    assert write(guest, descriptor, b"one\nt", b"", b"wo\n\nrest") == wasi.SUCCESS
    assert guest.u32(OUT) == 13
    assert guest.lines == [(level, "one"), (level, "two")]
    write(guest, descriptor, b" of it\r\n")
    assert guest.lines[2:] == [(level, "rest of it")]


def test_a_line_that_does_not_end_is_cut() -> None:
    guest = FakeGuest()
    for _ in range(5):
        write(guest, wasi.STDOUT, b"x" * (LINE_BYTES // 2))
    assert [len(text) for _, text in guest.lines] == [LINE_BYTES] * 2
    assert len(guest.host.unfinished[wasi.STDOUT]) == LINE_BYTES // 2


def test_only_so_much_is_taken_at_once_and_the_guest_is_told() -> None:
    guest = FakeGuest()
    assert write(guest, wasi.STDERR, b"a" * LINE_BYTES, b"b" * 10) == wasi.SUCCESS
    assert guest.u32(OUT) == LINE_BYTES


def test_output_that_is_no_text_is_shown_all_the_same() -> None:
    guest = FakeGuest()
    write(guest, wasi.STDOUT, b"\xff\n")
    assert guest.lines == [(LogLevel.INFO, "\N{REPLACEMENT CHARACTER}")]


@pytest.mark.parametrize("descriptor", [0, 3, HIGH])
def test_only_output_can_be_written(descriptor: int) -> None:
    guest = FakeGuest()
    assert write(guest, descriptor, b"x\n") == wasi.BADF
    assert guest.lines == []


@pytest.mark.parametrize(
    ("slices", "count", "written", "code"),
    [
        (PAGE - 7, 1, OUT, wasi.FAULT),
        (HIGH, HIGH, OUT, wasi.INVAL),
        (TABLE, wasi.SLICES + 1, OUT, wasi.INVAL),
        (TABLE, 1, PAGE - 3, wasi.FAULT),
        (TABLE, 1, HIGH, wasi.FAULT),
    ],
)
def test_bad_pointers_of_output_are_answered(
    slices: int, count: int, written: int, code: int
) -> None:
    guest = FakeGuest()
    guest.buffer[TABLE : TABLE + 8] = struct.pack("<II", 64, 1)
    assert call(guest, "fd_write", wasi.STDOUT, slices, count, written) == code
    assert guest.lines == []
    assert guest.host.unfinished == {}


@pytest.mark.parametrize(("at", "length"), [(PAGE, 1), (0, PAGE + 1), (HIGH, HIGH)])
def test_a_slice_outside_memory_is_answered(at: int, length: int) -> None:
    guest = FakeGuest()
    guest.buffer[TABLE : TABLE + 8] = struct.pack("<II", at, length)
    assert call(guest, "fd_write", wasi.STDOUT, TABLE, 1, OUT) == wasi.FAULT


def test_the_clocks_are_wall_time_and_a_steady_one() -> None:
    guest = FakeGuest()
    before = time.time_ns()
    assert call(guest, "clock_time_get", 0, 1, OUT) == wasi.SUCCESS
    assert before <= guest.u64(OUT) <= time.time_ns()
    steady = time.monotonic_ns()
    assert call(guest, "clock_time_get", 1, 1, OUT) == wasi.SUCCESS
    assert steady <= guest.u64(OUT) <= time.monotonic_ns()
    assert call(guest, "clock_res_get", 1, OUT) == wasi.SUCCESS
    assert guest.u64(OUT) == 1


@pytest.mark.parametrize("name", ["clock_time_get", "clock_res_get"])
def test_other_clocks_and_bad_pointers_are_answered(name: str) -> None:
    middle = (0,) if name == "clock_time_get" else ()
    assert call(FakeGuest(), name, 2, *middle, OUT) == wasi.NOTSUP
    assert call(FakeGuest(), name, HIGH, *middle, OUT) == wasi.NOTSUP
    assert call(FakeGuest(), name, 0, *middle, PAGE - 7) == wasi.FAULT


def test_random_bytes_are_limited_and_checked() -> None:
    guest = FakeGuest()
    assert call(guest, "random_get", 100, 32) == wasi.SUCCESS
    assert guest.bytes(100, 32) != bytes(32)
    assert call(guest, "random_get", 0, 0) == wasi.SUCCESS
    assert call(guest, "random_get", PAGE - 3, 4) == wasi.FAULT
    assert call(guest, "random_get", 0, wasi.RANDOM_BYTES + 1) == wasi.INVAL
    assert call(guest, "random_get", HIGH, HIGH) == wasi.INVAL


@pytest.mark.parametrize("what", ["environ", "args"])
def test_environment_and_arguments_are_empty(what: str) -> None:
    guest = FakeGuest()
    guest.buffer[0:8] = b"\xff" * 8
    assert call(guest, f"{what}_sizes_get", 0, 4) == wasi.SUCCESS
    assert guest.bytes(0, 8) == bytes(8)
    assert call(guest, f"{what}_get", 0, 4) == wasi.SUCCESS
    assert call(guest, f"{what}_sizes_get", 0, PAGE) == wasi.FAULT
    assert call(guest, f"{what}_sizes_get", PAGE, 0) == wasi.FAULT


def test_output_is_a_terminal_that_can_be_written() -> None:
    guest = FakeGuest()
    assert call(guest, "fd_fdstat_get", 1, 0) == wasi.SUCCESS
    assert guest.bytes(0, 24) == b"\x02" + bytes(7) + b"\x40" + bytes(15)
    assert call(guest, "fd_fdstat_get", 0, 0) == wasi.BADF
    assert call(guest, "fd_fdstat_get", 2, PAGE - 23) == wasi.FAULT


def test_a_runtime_that_sleeps_goes_on() -> None:
    guest = FakeGuest()
    guest.buffer[0:4] = b"\xff" * 4
    assert call(guest, "sched_yield") == wasi.SUCCESS
    assert call(guest, "poll_oneoff", 8, 8, 1, 0) == wasi.SUCCESS
    assert guest.u32(0) == 0
    assert call(guest, "poll_oneoff", 8, 8, 1, PAGE) == wasi.FAULT


def test_a_guest_that_ends_itself_has_its_last_words_logged() -> None:
    guest = FakeGuest()
    write(guest, wasi.STDERR, b"panic: no")
    with pytest.raises(GuestExited, match="exit code 2"):
        call(guest, "proc_exit", 2)
    assert guest.lines == [(LogLevel.ERROR, "panic: no")]
