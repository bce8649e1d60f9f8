from __future__ import annotations

import hpack
import pytest
from hpack import Decoder, Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.wire.hpack_memo import MemoDecoder, MemoEncoder

NAMES = st.sampled_from([b":path", b"accept", b"x-a", b"x-b", b"cookie"])
VALUES = st.sampled_from([b"", b"1", b"/index.html", b"v" * 30, b"w" * 70])
FIELDS = st.lists(
    st.builds(
        lambda secret, name, value: (NeverIndexedHeaderTuple if secret else HeaderTuple)(
            name, value
        ),
        st.booleans(),
        NAMES,
        VALUES,
    ),
    min_size=1,
    max_size=5,
)
RESIZE = st.sampled_from([0, 64, 4096])


def table_of(coder: Encoder | Decoder) -> list[tuple[bytes, bytes]]:
    return list(coder.header_table.dynamic_entries)


@given(st.lists(st.one_of(FIELDS, RESIZE), max_size=12))
def test_it_does_what_the_library_does_whatever_came_before(
    steps: list[list[HeaderTuple] | int],
) -> None:
    plain_encoder, encoder = Encoder(), MemoEncoder()
    plain_decoder, decoder = Decoder(65536), MemoDecoder(65536)
    for step in steps:
        if isinstance(step, int):
            encoder.header_table_size = step
            if step != plain_encoder.header_table_size:  # it would forget what it has to say
                plain_encoder.header_table_size = step
                changes = plain_encoder.table_size_changes
                if len(changes) > 2:
                    plain_encoder.table_size_changes = [min(changes), step]
            continue
        for _ in range(3):
            block = plain_encoder.encode(step)
            assert encoder.encode(step) == block
            fields = list(plain_decoder.decode(block, raw=True))
            assert fields == [(name, value) for name, value in step]
            decoded = list(decoder.decode(block, raw=True))
            assert decoded == fields
            assert [type(field) for field in decoded] == [type(field) for field in fields]
    assert table_of(encoder) == table_of(plain_encoder)
    assert table_of(decoder) == table_of(plain_decoder)


def test_what_is_given_out_may_be_changed() -> None:
    decoder = MemoDecoder(65536)
    block = b"\x82\x86\x84"
    fields = decoder.decode(block, raw=True)
    assert isinstance(fields, list)
    fields.clear()
    assert list(decoder.decode(block, raw=True)) == [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
    ]


def test_a_list_that_is_too_large_stays_refused() -> None:
    decoder = MemoDecoder(10)
    for _ in range(2):
        with pytest.raises(hpack.exceptions.OversizedHeaderListError):
            decoder.decode(b"\x82\x86\x84", raw=True)


def test_memory_is_bounded() -> None:
    decoder, encoder = MemoDecoder(65536), MemoEncoder()
    for number in range(500):
        secret = NeverIndexedHeaderTuple(b"x", b"%d" % number)
        decoder.decode(encoder.encode([secret]), raw=True)
    assert len(decoder._known) <= 64
    assert len(decoder._always) <= 64
    assert len(encoder._known) <= 64


def test_literals_that_are_indexed_are_added_each_time() -> None:
    plain, decoder = Decoder(65536), MemoDecoder(65536)
    added = b"\x76\x05nginx"  # server, with incremental indexing
    for block in (added, added, b"\xbe", b"\xbf", added, b"\xc0\xbe"):
        fields = list(plain.decode(block, raw=True))
        assert list(decoder.decode(block, raw=True)) == fields
        assert list(decoder.header_table.dynamic_entries) == list(
            plain.header_table.dynamic_entries
        )


def test_a_peer_cannot_have_us_keep_more_than_the_usual_table() -> None:
    encoder, decoder = MemoEncoder(), Decoder(65536)
    encoder.header_table_size = 2**31
    assert encoder.header_table_size == 4096
    for number in range(300):
        field = (b"x-unique", b"%d" % number)
        assert list(decoder.decode(encoder.encode([field]), raw=True)) == [field]
    assert sum(len(name) + len(value) + 32 for name, value in table_of(encoder)) <= 4096
    encoder.header_table_size = 64
    assert list(decoder.decode(encoder.encode([(b"x", b"y")]), raw=True)) == [(b"x", b"y")]
    assert table_of(encoder) == table_of(decoder)
