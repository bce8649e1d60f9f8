"""Generated messages, sound and broken, read by ours and by h11 and llhttp.

The property that keeps smuggling out: whatever ours accepts, the others accept too and read the
same. The other way round ours may be stricter, in the ways that STRICTER lists and in no others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

import pytest

from proxy_core.wire.http1_fields import field_kind
from tests.wire.http1_messages import ROUNDS, Maker, broken, request, response, sound
from tests.wire.http1_oracles import (
    h11_requests,
    h11_responses,
    llhttp_requests,
    llhttp_responses,
)
from tests.wire.http1_reading import (
    Fields,
    Message,
    Reading,
    every_split,
    read_requests,
    read_responses,
)

STRICTER = {
    "both Content-Length and Transfer-Encoding": "h11 lets the coding win, another the length",
    "Content-Length is given twice": "h11 takes equal ones for one",
    "Transfer-Encoding in an HTTP/1.0 message": "h11 reads chunks, an old parser none",
    "obs-fold": "h11 joins folded lines, another parser may read two",
    "a control character in a header value": "h11 passes DEL",
    "not a chunk size": "h11 passes control characters in chunk extensions",
    "not a host and port": "h11 does not look at Host and authority",
    "has no form that": "h11 does not look at the target's form",
    "CONNECT wants host:port": "h11 does not look at the target's form",
    "must not be": "h11 passes fragments in targets",
    "HTTP version not supported": "h11 reads HTTP/1.2 to HTTP/1.9",
}
"""Parts of our reasons for refusing what h11 accepts, and why that is meant."""

LLHTTP_STRICTER = {
    "Invalid method encountered": "llhttp knows a list of methods",
    "Expected space after method": "likewise",
    "Invalid character in chunk extensions": "ours drops them unread, none goes on",
    "Invalid character in chunk extensions name": "likewise",
    "Invalid character in chunk extensions value": "likewise",
    "Invalid character in chunk extensions quoted value": "likewise",
    "Invalid character in chunk extensions quote value": "likewise",
}
"""What llhttp refuses and ours accepts, and why that is harmless."""

_BARE_LF = re.compile(rb"(?<!\r)\n")
_FRAMING_IN_TRAILERS = re.compile(
    rb"\n0[^\n]*\n(?:[^\n]{2,}\n)*?(?:transfer-encoding|content-length):", re.IGNORECASE
)
_TAB_AFTER_CODING = re.compile(rb"chunked\t", re.IGNORECASE)
_SPACE_AFTER_SIZE = re.compile(rb"[0-9A-Fa-f][ \t]+[\r;]")


def excused_for_llhttp(data: bytes, other: Reading) -> bool:
    if other.refusal == "Invalid character in chunk size":
        return bool(_SPACE_AFTER_SIZE.search(data))  # the size is plain, the spaces do not go on
    if _TAB_AFTER_CODING.search(data):
        return True  # llhttp takes the tab for a part of the coding's name; the head is rebuilt
    if _FRAMING_IN_TRAILERS.search(data):
        return True  # llhttp minds it; ours drops it
    return other.refusal in LLHTTP_STRICTER


def excused_for_h11(data: bytes, other: Reading) -> bool:
    if other.refusal == "no request line received":
        return True  # h11 does not ignore empty lines, as a server should (RFC 9112, section 2.2)
    if "without a pending proposal" in (other.refusal or ""):
        return True  # a 101 nobody asked for: only the user of the reader knows what was asked
    if _FRAMING_IN_TRAILERS.search(data):
        return True  # h11 minds two codings; ours drops it
    # White space is allowed between a chunk's size and its extension (RFC 9112, section 7.1.1).
    return "illegal chunk header" in (other.refusal or "") and bool(_SPACE_AFTER_SIZE.search(data))


def difference(ours: Reading, other: Reading) -> str | None:
    """Say where `other` did not read what ours read before it stopped, or read it otherwise."""
    for index, message in enumerate(ours.messages):
        if index >= len(other.messages):
            return f"ours reads {message}, the other not: {other.refusal}"
        theirs = other.messages[index]
        if message.start[: len(theirs.start)] != theirs.start:
            return f"start: {message.start} against {theirs.start}"
        if comparable(message.fields) != comparable(theirs.fields):
            return f"fields: {message.fields} against {theirs.fields}"
        if not message.complete:
            if not theirs.body.startswith(message.body):
                return f"body: {message.body!r} against {theirs.body!r}"
        elif not theirs.complete:
            return f"for ours it ends: {message}; for the other not: {other.refusal}"
        elif message.body != theirs.body:
            return f"body: {message} against {theirs}"
        elif message.trailers != without_framing(theirs.trailers):
            return f"trailers: {message} against {theirs}"
        elif message.keep_alive and not theirs.keep_alive:
            if b"HTTP/1.0" in message.start:
                return None  # h11 closes after HTTP/1.0 whatever the client wishes
            return f"only ours keeps the connection: {message.fields}"
    return None


def comparable(fields: Fields) -> Fields:
    """h11 hands transfer codings out in lower case."""
    return [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in fields]


def without_framing(trailers: Fields) -> Fields:
    """Ours drops trailers that would mean something in a head."""
    return [(name, value) for name, value in trailers if not field_kind(name)]


def why_stricter(data: bytes, ours: Reading, other: Reading) -> str | None:
    """Our reason, where `other` read on and it is not one of STRICTER."""
    if _BARE_LF.search(data):
        return None  # h11 takes LF for CRLF: it sees other lines than ours
    if ours.refusal is None or other.refusal is not None or not goes_beyond(other, ours):
        return None
    if any(reason in ours.refusal for reason in STRICTER):
        return None
    return ours.refusal


def goes_beyond(other: Reading, ours: Reading) -> bool:
    if len(other.messages) != len(ours.messages):
        return len(other.messages) > len(ours.messages)
    if not ours.messages:
        return False
    mine, theirs = ours.messages[-1], other.messages[-1]
    return len(theirs.body) > len(mine.body) or (theirs.complete and not mine.complete)


def ours_of_requests(data: bytes) -> Reading:
    return read_requests([data])


def ours_of_responses(data: bytes) -> Reading:
    return read_responses([data])


Reader = Callable[[bytes], Reading]

BOTH = pytest.mark.parametrize(
    ("make", "ours", "h11_reads", "llhttp_reads"),
    [
        (request, ours_of_requests, h11_requests, llhttp_requests),
        (response, ours_of_responses, h11_responses, llhttp_responses),
    ],
    ids=["requests", "responses"],
)


@BOTH
def test_sound_messages_are_read_alike(
    make: Maker, ours: Reader, h11_reads: Reader, llhttp_reads: Reader
) -> None:
    for data in sound(make, seed=1):
        reading = ours(data)
        assert reading.refusal is None, data
        assert not difference(reading, h11_reads(data)), data
        other = llhttp_reads(data)
        assert excused_for_llhttp(data, other) or not difference(reading, other), data


@BOTH
def test_what_ours_accepts_of_broken_messages_h11_reads_the_same(
    make: Maker, ours: Reader, h11_reads: Reader, llhttp_reads: Reader
) -> None:
    for data in broken(make, seed=2):
        other = h11_reads(data)
        assert excused_for_h11(data, other) or not difference(ours(data), other), data


@BOTH
def test_what_ours_accepts_of_broken_messages_llhttp_reads_the_same(
    make: Maker, ours: Reader, h11_reads: Reader, llhttp_reads: Reader
) -> None:
    for data in broken(make, seed=3):
        other = llhttp_reads(data)
        assert excused_for_llhttp(data, other) or not difference(ours(data), other), data


@BOTH
def test_where_ours_is_stricter_than_h11_is_written_down(
    make: Maker, ours: Reader, h11_reads: Reader, llhttp_reads: Reader
) -> None:
    for data in broken(make, seed=4):
        assert not why_stricter(data, ours(data), h11_reads(data)), data


@pytest.mark.parametrize(
    ("make", "read"), [(request, read_requests), (response, read_responses)], ids=["req", "resp"]
)
def test_broken_messages_read_the_same_in_pieces(
    make: Maker, read: Callable[[list[bytes]], Reading]
) -> None:
    for data in broken(make, seed=5, rounds=ROUNDS // 15):
        whole = read([data, b""])
        for pieces in every_split(data):
            in_pieces = read([*pieces, b""])
            # A refusal may come earlier and for another reason; never for one of the two alone.
            assert (whole.refusal is None) == (in_pieces.refusal is None), pieces
            assert complete(in_pieces) == complete(whole), pieces


def complete(reading: Reading) -> list[Message]:
    return [message for message in reading.messages if message.complete]


def test_random_bytes_make_legal_readings_or_refusals() -> None:
    rng = Random(6)
    starts = [b"", b"GET / HTTP/1.1\r\nHost: h\r\n", b"HTTP/1.1 200 OK\r\n", b"POST "]
    for _ in range(ROUNDS):
        pieces = [rng.choice(starts)]
        pieces += [rng.randbytes(rng.randint(1, 60)) for _ in range(rng.randint(0, 3))]
        read_requests([*filter(None, pieces), b""])
        read_responses([*filter(None, pieces), b""])
