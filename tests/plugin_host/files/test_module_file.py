"""Reading modules: what is no regular file, no module or absurd is told apart early."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.files.module_file import check_bytes, export_names, read_file
from tests.plugin_host.guests import wasm

MODULE = wasm('(module (func (export "on_request") (result i32) i32.const 0))')


def test_a_module_passes() -> None:
    check_bytes(MODULE)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"(module)", "text"),
        (b"\x7fELF\2\1\1\0", "not a WebAssembly module"),
        (b"\0asm", "version"),
        (b"\0asm\x02\0\0\0", "version 02000000"),
        (b"\0asm\x0d\0\x01\0", "component"),
        (MODULE[:-1], "truncated"),
        (MODULE[:9], "truncated"),
        (b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff\x01", "more than 32 bits"),
        (b"\0asm\x01\0\0\0\x02\x03\xe9\x07\0", "1001 imports"),
        (b"\0asm\x01\0\0\0\x07\x03\xe9\x07\0", "1001 exports"),
        (b"\0asm\x01\0\0\0\x07\0", "truncated"),
        (b"\0asm\x01\0\0\0\x0a\x05\x03\x01\x0b\xff\x00", "truncated"),
    ],
)
def test_what_is_no_module_says_why(data: bytes, why: str) -> None:
    with pytest.raises(ModuleRefused, match=why):
        check_bytes(data)


def test_exports_are_known_before_a_module_is_compiled() -> None:
    exporting = wasm(
        """(module (memory (export "memory") 1) (global (export "g") i32 (i32.const 0))
        (func (export "") (param i64)) (func (export "\\c3\\a9"))
        (func) (export "again" (func 1)) (data (i32.const 0) "on_request"))"""
    )
    assert export_names(exporting) == {"memory", "g", "", "é", "again"}
    assert export_names(wasm("(module)")) == frozenset()


@pytest.mark.parametrize(
    "data", [b"", b"(module (export", MODULE[:-1], b"\0asm\x01\0\0\0\x07\x02\x01\x7f"]
)
def test_what_is_malformed_exports_nothing(data: bytes) -> None:
    assert export_names(data) == frozenset()


def test_a_function_may_be_large_but_not_endless() -> None:
    def of(size: int) -> bytes:
        body = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + bytes(size)
        length = len(body) + 1
        header = bytes([10, length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
        return b"\0asm\x01\0\0\0" + header + b"\x01" + body

    check_bytes(of(1024 * 1024))
    with pytest.raises(ModuleRefused, match="a function of 1048577 bytes"):
        check_bytes(of(1024 * 1024 + 1))


def test_every_truncation_is_refused_or_ends_at_a_section() -> None:
    refused = 0
    for end in range(len(MODULE)):
        try:
            check_bytes(MODULE[:end])
        except ModuleRefused:
            refused += 1
    assert refused >= len(MODULE) - 5


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "x.wasm"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(ModuleRefused, match="larger than 4 bytes"):
        read_file(path, 4)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModuleRefused, match="cannot be read: No such file"):
        read_file(tmp_path / "x.wasm", 5)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.wasm").mkdir()
    with pytest.raises(ModuleRefused, match=r"x\.wasm"):
        read_file(tmp_path / "x.wasm", 5)


def test_a_pipe_does_not_make_the_host_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.wasm")
    with pytest.raises(ModuleRefused, match="not a regular file"):
        read_file(tmp_path / "x.wasm", 5)
