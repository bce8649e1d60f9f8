from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from proxy_core.wire import content_coding
from proxy_core.wire.content_coding import can_encode, decode_body, encode_body

MIB = 1024 * 1024


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


def brotlied(data: bytes) -> bytes:
    return bytes(brotli.compress(data, quality=4))


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw deflate": raw_deflate,
    "br": brotlied,
    "zstd": zstandard.compress,
}
NAMES = sorted(CODERS)
TEXT = b"".join(b"%d bottles of beer on the wall\n" % n for n in range(30_000))


def coding_of(name: str) -> str:
    return name.removeprefix("raw ")


# --- codings


@given(st.binary(max_size=2000), st.lists(st.sampled_from(NAMES), max_size=4))
@example(b"", ["zstd", "br"])
def test_what_was_coded_comes_back(data: bytes, names: list[str]) -> None:
    coded = data
    for name in names:
        coded = CODERS[name](coded)
    decoded = decode_body(coded, " , ".join(coding_of(name) for name in names))
    assert decoded.data == data
    assert decoded.notes == ()


@pytest.mark.parametrize("name", NAMES)
def test_large_bodies_come_back_whole(name: str) -> None:
    assert decode_body(CODERS[name](TEXT), coding_of(name)).data == TEXT


@pytest.mark.parametrize("name", NAMES)
def test_a_body_exactly_as_large_as_the_limit_is_whole(name: str) -> None:
    coded = CODERS[name](bytes(100_000))
    assert decode_body(coded, coding_of(name), 100_000).data == bytes(100_000)
    assert decode_body(coded, coding_of(name), 100_000).notes == ()
    over = decode_body(coded, coding_of(name), 99_999)
    assert over.data == bytes(99_999)
    assert over.notes == (f"{coding_of(name)}: more than 99999 bytes; the rest is not shown",)


@pytest.mark.parametrize("name", NAMES)
def test_a_bomb_is_stopped_at_the_limit(name: str) -> None:
    decoded = decode_body(CODERS[name](bytes(64 * MIB)), coding_of(name), MIB)
    assert decoded.data == bytes(MIB)
    assert "more than 1048576 bytes" in decoded.notes[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_body_cut_short_gives_its_beginning_and_says_so(name: str) -> None:
    coded = CODERS[name](TEXT)
    decoded = decode_body(coded[: len(coded) // 2], coding_of(name))
    assert len(decoded.data) > 50_000
    assert TEXT.startswith(decoded.data)
    assert decoded.notes == (f"{coding_of(name)}: the end is missing",)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_a_body_broken_further_on_gives_what_stands_before(name: str) -> None:
    noise = bytes(n * n % 251 for n in range(3000))
    coded = bytearray(CODERS[name](TEXT))
    coded[len(coded) // 2 : len(coded) // 2 + len(noise)] = noise
    decoded = decode_body(bytes(coded), name)
    assert decoded.data[:50_000] == TEXT[:50_000]
    assert len(decoded.notes) == 1


@pytest.mark.parametrize("name", ["gzip", "br", "zstd"])
def test_what_was_never_coded_is_shown_as_it_is(name: str) -> None:
    decoded = decode_body(b"<html>plain all along</html>", name)
    assert decoded.data == b"<html>plain all along</html>"
    assert decoded.notes[0].startswith(f"{name}: broken after 0 bytes")
    assert decoded.notes[0].endswith("shown as it is")


@pytest.mark.parametrize("encoding", [None, "", "identity", " Identity ,"])
def test_without_a_coding_the_bytes_are_the_same(encoding: str | None) -> None:
    kept = b"as it came"
    decoded = decode_body(kept, encoding)
    assert decoded.data is kept
    assert decoded.notes == ()


def test_known_codings_are_undone_down_to_an_unknown_one() -> None:
    decoded = decode_body(gzip.compress(b"inner"), "aes128gcm, gzip")
    assert decoded.data == b"inner"
    assert decoded.notes == ("content coding aes128gcm is not known here; shown as it is",)


def test_a_tower_of_codings_is_left_standing() -> None:
    decoded = decode_body(b"x", "gzip," * 5)
    assert decoded.data == b"x"
    assert decoded.notes[0].startswith("5 content codings")


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_parts_one_after_another_are_one_body(name: str) -> None:
    coded = b"".join(CODERS[name](part) for part in (b"one ", b"", b"two ", TEXT))
    decoded = decode_body(coded, name)
    assert decoded.data == b"one two " + TEXT
    assert decoded.notes == ()


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_endless_empty_parts_come_to_an_end(name: str) -> None:
    empty = CODERS[name](b"")
    decoded = decode_body(CODERS[name](b"begin") + empty * 100_000, name)
    assert decoded.data == b"begin"
    assert decoded.notes == (f"{name}: more than 4096 compressed parts; the rest is not shown",)


def test_zstd_frames_to_be_skipped_are_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"aside"
    decoded = decode_body(skippable + zstandard.compress(b"body"), "zstd")
    assert decoded.data == b"body"
    assert decoded.notes == ()


def test_bytes_behind_the_end_are_told_of() -> None:
    decoded = decode_body(zlib.compress(b"body") + b"smuggled", "deflate")
    assert decoded.data == b"body"
    assert decoded.notes == ("deflate: more bytes behind the end",)
    assert decode_body(gzip.compress(b"body") + b"smuggled", "gzip").data == b"body"


@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=5),
    st.integers(0, 400),
)
def test_mutated_bodies_never_raise_nor_grow_past_the_limit(
    name: str, changes: list[tuple[int, int]], cut: int
) -> None:
    coded = bytearray(CODERS[name](TEXT[:2000]))
    for at, byte in changes:
        coded[at % len(coded)] = byte
    decoded = decode_body(bytes(coded[:cut]), coding_of(name), 1000)
    assert len(decoded.data) <= 1000
    assert all(note.isprintable() for note in decoded.notes)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", "zstd", "br, gzip"]))
def test_garbage_never_raises(data: bytes, encoding: str) -> None:
    decoded = decode_body(data, encoding, 1000)
    assert len(decoded.data) <= 1000
    assert decoded.notes or decoded.data != data or not data


def test_one_step_of_zstd_cannot_outgrow_the_limit() -> None:
    # The densest there is: four bytes for each block of 128 KiB.
    coded = zstandard.ZstdCompressor(level=19).compress(bytes(64 * MIB))
    longest = max(map(len, content_coding._zstd(coded)))
    assert longest <= 8 * MIB


# --- coding again


@given(
    st.binary(max_size=2000),
    st.lists(st.sampled_from(["gzip", "deflate", "br", "zstd"]), max_size=4),
)
def test_what_is_coded_here_comes_back(data: bytes, names: list[str]) -> None:
    encoding = ", ".join(names)
    assert can_encode(encoding)
    assert decode_body(encode_body(data, encoding), encoding).data == data


def test_coding_the_same_twice_gives_the_same_bytes() -> None:
    assert encode_body(TEXT, "gzip") == encode_body(TEXT, "gzip")


@pytest.mark.parametrize("encoding", ["compress", "gzip, aes128gcm"])
def test_what_cannot_be_coded_is_known_before(encoding: str) -> None:
    assert not can_encode(encoding)
    with pytest.raises(KeyError):
        encode_body(b"x", encoding)
