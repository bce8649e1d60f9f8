"""The bucket of nuisance: what fills it, what empties it, and floods against a whole engine."""

from __future__ import annotations

import h2.connection
import pytest
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from proxy_core.errors import RemoteProtocolError
from proxy_core.wire.http2 import Http2Engine
from proxy_core.wire.http2_budget import (
    DATA,
    PING,
    WINDOW_UPDATE,
    Http2Budget,
    OverBudget,
)
from proxy_core.wire.http2_codes import ENHANCE_YOUR_CALM
from tests.wire.test_http2 import GET, POST, PREFACE, Notes, library, receive_all

START = PREFACE + SettingsFrame(0).serialize()


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_time_lets_points_leak() -> None:
    now = Now()
    budget = Http2Budget(100, 10, now)
    for _ in range(10):
        budget.frame(PING, 8, False)
    now.seconds = 5.0
    for _ in range(5):
        budget.frame(PING, 8, False)
    with pytest.raises(OverBudget, match="PING"):
        budget.frame(PING, 8, False)


def test_progress_takes_points_out_and_never_below_none() -> None:
    budget = Http2Budget(100, 0, Now())
    budget.finished()
    budget.sent(1_000_000, True)
    assert budget.level == 0
    for _ in range(10):
        budget.frame(PING, 8, False)
    budget.sent(2560, False)
    assert budget.level == 90


def test_body_is_no_nuisance_and_pieces_of_nothing_are() -> None:
    budget = Http2Budget(100, 0, Now())
    for _ in range(1000):
        budget.frame(DATA, 5, False)
    budget.frame(DATA, 0, True)
    assert budget.level == 0
    for _ in range(5):
        budget.frame(DATA, 0, False)
    with pytest.raises(OverBudget, match="empty DATA"):
        budget.frame(DATA, 0, False)


def test_message_names_what_was_most_of_it() -> None:
    budget = Http2Budget(100, 0, Now())
    for _ in range(50):
        budget.frame(WINDOW_UPDATE, 4, False)
    budget.our_reset()
    for _ in range(30):
        budget.frame(WINDOW_UPDATE, 4, False)
    with pytest.raises(OverBudget, match=r"WINDOW_UPDATE.*100 points"):
        budget.frame(WINDOW_UPDATE, 4, False)


# --- floods


def frames(*kinds: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in kinds)


def opened(stream_id: int, *, end: bool) -> bytes:
    """A request that leaves the header table as it is: every one has the same bytes."""
    head = HeadersFrame(stream_id, b"\x82\x87\x84\x41\x01h", flags=["END_HEADERS"])
    if end:
        head.flags.add("END_STREAM")
    return head.serialize()


def ids(count: int) -> range:
    return range(1, 2 * count, 2)


BOMB = Encoder()
BOMB_FIRST = BOMB.encode([*GET, (b"x", b"y" * 3900)])
BOMB_NEXT = BOMB.encode([*GET, *[(b"x", b"y" * 3900)] * 15])

FLOODS = {
    "PING": frames(PingFrame(0, b"12345678")) * 1000,
    "PING answers": frames(PingFrame(0, b"12345678", flags=["ACK"])) * 1000,
    "SETTINGS": frames(SettingsFrame(0, {3: 100})) * 1000,
    "PRIORITY": frames(PriorityFrame(1, depends_on=0, stream_weight=3)) * 1000,
    "WINDOW_UPDATE": frames(WindowUpdateFrame(0, 1)) * 5000,
    "empty DATA": opened(1, end=False) + frames(DataFrame(1, b"")) * 1000,
    "padding for DATA": opened(1, end=False)
    + frames(DataFrame(1, b"", pad_length=200, flags=["PADDED"])) * 500,
    "a byte of DATA each": opened(1, end=False) + frames(DataFrame(1, b"x")) * 1000,
    "empty heads": b"".join(
        frames(HeadersFrame(n, b"", flags=["END_HEADERS", "END_STREAM"])) for n in ids(500)
    ),
    "CONTINUATION": frames(HeadersFrame(1, b"\x82"))
    + frames(ContinuationFrame(1, b"\x00\x01a\x01b" * 3000)) * 60,
    "empty CONTINUATION": frames(HeadersFrame(1, b"\x82")) + frames(ContinuationFrame(1, b"")) * 63,
    "frames of unknown types": b"\x00\x00\x03\xee\x00\x00\x00\x00\x01abc" * 1000,
    "rapid reset": b"".join(opened(n, end=True) + frames(RstStreamFrame(n, 8)) for n in ids(500)),
    "resets that we are made to send": b"".join(
        opened(n, end=True) + frames(WindowUpdateFrame(n, 2**31 - 1)) for n in ids(500)
    ),
    "heads that are malformed": b"".join(
        frames(HeadersFrame(n, b"\x82\x82", flags=["END_HEADERS", "END_STREAM"])) for n in ids(500)
    ),
    "heads on streams that were reset": opened(1, end=False)
    + frames(WindowUpdateFrame(1, 2**31 - 1))
    + opened(1, end=False) * 500,
    "HPACK that swells beyond a head": frames(
        HeadersFrame(1, BOMB_FIRST + b"\xbe" * 2000, flags=["END_HEADERS", "END_STREAM"])
    ),
    "HPACK that swells": frames(
        HeadersFrame(1, BOMB_FIRST, flags=["END_HEADERS", "END_STREAM"]),
        *[HeadersFrame(n, BOMB_NEXT, flags=["END_HEADERS", "END_STREAM"]) for n in ids(100)[1:]],
    ),
}


def calm_in(data: bytes) -> bool:
    """Whether there is a GOAWAY that asks for calm."""
    mark = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00"
    at = data.rfind(mark)
    return at >= 0 and data[at + 13 : at + 17] == ENHANCE_YOUR_CALM.to_bytes(4, "big")


@pytest.mark.parametrize("name", FLOODS)
@pytest.mark.parametrize("chunk", [997, 1_000_000])
def test_flood_is_cut_off_with_enhance_your_calm(name: str, chunk: int) -> None:
    notes = Notes()
    ours = notes.engine = Http2Engine(False, notes, max_streams=1000)
    ours.begin()
    ours.take()
    data = START + FLOODS[name]
    sent = b""
    with pytest.raises(RemoteProtocolError):  # noqa: PT012 - which piece is the last is not known
        for start in range(0, len(data), chunk):
            receive_all(ours, data[start : start + chunk])
            sent += ours.take()
    ours.close()
    assert calm_in(sent + ours.take())


def test_busy_client_is_no_nuisance() -> None:
    """Uploads, pings and windows as gRPC and browsers send them, over and over."""
    notes = Notes()
    ours = notes.engine = Http2Engine(False, notes)
    ours.begin()
    peer: h2.connection.H2Connection = library(client_side=True)
    peer.prioritize(1, 200)
    for number in ids(2000):
        peer.send_headers(number, POST, priority_weight=10)
        peer.send_data(number, b"x" * 500)
        peer.ping(b"12345678")
        peer.end_stream(number)
        ours.receive_data(peer.data_to_send())
        ours.send_fields(number, [(b":status", b"200")], False)
        ours.send_data(number, b"x" * 2000, True)
        ours.budget.sent(2000, True)
        ours.budget.finished()
        ours.forget(number)
        peer.receive_data(ours.take())
        peer.acknowledge_received_data(2000, number)
    assert ours.budget.level < 200
