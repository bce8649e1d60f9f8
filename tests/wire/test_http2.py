"""The HTTP/2 engine: against the h2 library as its peer, against itself, and against garbage."""

from __future__ import annotations

from random import Random

import h2.config
import h2.connection
import h2.events
import pytest
from h2.errors import ErrorCodes
from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field
from proxy_core.wire.events import RequestReceived, ResponseReceived
from proxy_core.wire.http2 import Http2Engine
from proxy_core.wire.http2_budget import Http2Budget
from proxy_core.wire.http2_codes import CANCEL, PROTOCOL_ERROR, error_name
from proxy_core.wire.http2_listener import Listener
from tests.wire.http1_messages import ROUNDS

GET: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"h"),
    (b":path", b"/"),
]
POST: list[Field] = [(b":method", b"POST"), *GET[1:]]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Notes(Listener):
    """Everything an engine tells, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.engine: Http2Engine | None = None

    def on_request(self, stream_id: int, received: RequestReceived) -> None:
        head = received.head
        self.told.append(("request", stream_id, head.method, head.path, received.length))

    def on_response(self, stream_id: int, received: ResponseReceived) -> None:
        self.told.append(("response", stream_id, received.head.status, received.length))

    def on_data(self, stream_id: int, data: bytes, credit: int) -> None:
        if self.told and self.told[-1][:2] == ("data", stream_id):
            data = bytes(self.told.pop()[2]) + data  # type: ignore[call-overload]
        self.told.append(("data", stream_id, data))
        assert self.engine is not None
        self.engine.give_credit(stream_id, credit, credit)

    def on_end(self, stream_id: int, trailers: list[Field] | None) -> None:
        self.told.append(("end", stream_id, trailers))

    def on_reset(self, stream_id: int, code: int, reason: str) -> None:
        self.told.append(("reset", stream_id, code))

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        self.told.append(("goaway", last_stream_id, code))

    def on_refused(self, stream_id: int, ended: bool, error: RemoteProtocolError) -> None:
        self.told.append(("refused", stream_id, error.status))

    def of(self, stream_id: int) -> list[tuple[object, ...]]:
        return [note for note in self.told if note[1] == stream_id]


def engine(*, client_side: bool, **limits: object) -> tuple[Http2Engine, Notes]:
    notes = Notes()
    notes.engine = Http2Engine(client_side, notes, **limits)  # type: ignore[arg-type]
    notes.engine.begin()
    return notes.engine, notes


def receive_all(ours: Http2Engine, data: bytes) -> int:
    """Pass bytes in until nothing is left of them; return how many goes that took."""
    goes = 1
    while ours.receive_data(data):
        data = b""
        goes += 1
    return goes


def library(*, client_side: bool) -> h2.connection.H2Connection:
    """The peer, which sends whatever it is told to."""
    config = h2.config.H2Configuration(
        client_side=client_side,
        header_encoding=None,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    peer = h2.connection.H2Connection(config)
    peer.initiate_connection()
    return peer


def exchange(ours: Http2Engine, peer: h2.connection.H2Connection) -> list[h2.events.Event]:
    """Pass bytes to and fro until nobody has any; return what the peer saw."""
    seen = []
    while True:
        there, back = peer.data_to_send(), b""
        if there:
            ours.receive_data(there)
        back = ours.take()
        if back:
            seen += peer.receive_data(back)
        if not there and not back:
            return seen


def test_a_request_with_body_and_trailers_is_told_in_order() -> None:
    ours, notes = engine(client_side=False)
    peer = library(client_side=True)
    peer.send_headers(1, [*POST, (b"content-length", b"5")])
    peer.send_data(1, b"he")
    peer.send_data(1, b"llo")
    peer.send_headers(1, [(b"x-sum", b"1")], end_stream=True)
    exchange(ours, peer)
    assert notes.told == [
        ("request", 1, b"POST", b"/", 5),
        ("data", 1, b"hello"),
        ("end", 1, [(b"x-sum", b"1")]),
    ]


def test_responses_come_after_their_interim_ones() -> None:
    ours, notes = engine(client_side=True)
    peer = library(client_side=False)
    stream_id = ours.next_stream_id()
    ours.send_request(stream_id, b"GET", GET, True)
    exchange(ours, peer)
    peer.send_headers(stream_id, [(b":status", b"103"), (b"link", b"</a>")])
    peer.send_headers(stream_id, [(b":status", b"200")])
    peer.send_data(stream_id, b"hi", end_stream=True)
    exchange(ours, peer)
    assert notes.told == [
        ("response", 1, 103, 0),
        ("response", 1, 200, -1),
        ("data", 1, b"hi"),
        ("end", 1, None),
    ]


def test_two_engines_understand_each_other_at_once_on_many_streams() -> None:
    client, answers = engine(client_side=True)
    server, asked = engine(client_side=False)
    bodies = {}
    for number in range(20):
        stream_id = client.next_stream_id()
        bodies[stream_id] = bytes([number]) * (number * 100)
        client.send_request(stream_id, b"POST", POST, False)
        client.send_data(stream_id, bodies[stream_id], True)
    server.receive_data(client.take())
    client.receive_data(server.take())
    for stream_id, body in bodies.items():
        assert ("data", stream_id, body) in asked.told or not body
        server.send_fields(stream_id, [(b":status", b"200")], False)
        server.send_data(stream_id, body[::-1], False)
        server.send_fields(stream_id, [(b"x-end", b"1")], True)
    client.receive_data(server.take())
    for stream_id in bodies:
        assert ("response", stream_id, 200, -1) in answers.told
        assert ("end", stream_id, [(b"x-end", b"1")]) in answers.told


def sound_conversation() -> bytes:
    """What a client sends: two requests, a body in pieces, trailers, a reset, a ping."""
    peer = library(client_side=True)
    peer.send_headers(1, POST)
    peer.send_headers(3, [*GET, (b"cookie", b"a=1"), (b"x", b"y" * 300)], end_stream=True)
    peer.send_data(1, b"abc", pad_length=7)
    peer.ping(b"12345678")
    peer.send_data(1, b"def")
    peer.send_headers(1, [(b"x-sum", b"1")], end_stream=True)
    peer.send_headers(5, POST)
    peer.reset_stream(5, CANCEL)
    return peer.data_to_send()


def test_split_at_every_byte_tells_the_same_as_the_whole() -> None:
    data = sound_conversation()
    ours, whole = engine(client_side=False)
    ours.receive_data(data)
    assert len(whole.told) == 7
    splits = [[data[:cut], data[cut:]] for cut in range(1, len(data))]
    for pieces in [*splits, [data[i : i + 1] for i in range(len(data))]]:
        ours, notes = engine(client_side=False)
        for piece in pieces:
            ours.receive_data(piece)
        assert sorted(notes.told, key=repr) == sorted(whole.told, key=repr)


def test_a_malformed_head_breaks_its_stream_alone() -> None:
    ours, notes = engine(client_side=False)
    peer = library(client_side=True)
    peer.send_headers(1, [*GET, (b"a", b"b\r\nX: y")], end_stream=True)
    peer.send_headers(3, GET, end_stream=True)
    seen = exchange(ours, peer)
    assert notes.of(1)[0] == ("reset", 1, PROTOCOL_ERROR)
    assert ("request", 1, b"GET", b"/", 0) not in notes.told
    assert notes.of(3)[0][0] == "request"
    (reset,) = [event for event in seen if isinstance(event, h2.events.StreamReset)]
    assert (reset.stream_id, reset.error_code) == (1, PROTOCOL_ERROR)


def test_a_malformed_answer_breaks_its_stream_alone() -> None:
    ours, notes = engine(client_side=True)
    peer = library(client_side=False)
    for _ in range(2):
        ours.send_request(ours.next_stream_id(), b"GET", GET, True)
    exchange(ours, peer)
    peer.send_headers(1, [(b":status", b"200"), (b"connection", b"close")])
    peer.send_headers(3, [(b":status", b"200")], end_stream=True)
    exchange(ours, peer)
    assert ("reset", 1, PROTOCOL_ERROR) in notes.told
    assert ("response", 3, 200, 0) in notes.told


def test_malformed_trailers_break_their_stream() -> None:
    ours, notes = engine(client_side=False)
    peer = library(client_side=True)
    peer.send_headers(1, POST)
    peer.send_headers(1, [(b"a", b"b\nc")], end_stream=True)
    exchange(ours, peer)
    assert ("reset", 1, PROTOCOL_ERROR) in notes.told


def test_a_reset_is_told_with_its_code() -> None:
    ours, notes = engine(client_side=False)
    peer = library(client_side=True)
    peer.send_headers(1, POST)
    peer.reset_stream(1, ErrorCodes.ENHANCE_YOUR_CALM)
    exchange(ours, peer)
    assert notes.told[-1] == ("reset", 1, int(ErrorCodes.ENHANCE_YOUR_CALM))
    assert error_name(11) == "ENHANCE_YOUR_CALM"
    assert error_name(0x999) == "error 0x999"


def test_streams_accepted_before_a_goaway_go_on_after_it() -> None:
    ours, notes = engine(client_side=True)
    peer = library(client_side=False)
    ours.send_request(1, b"GET", GET, True)
    exchange(ours, peer)
    frame = GoAwayFrame(0)
    frame.last_stream_id = 1
    ours.receive_data(frame.serialize())
    assert notes.told == [("goaway", 1, 0)]
    peer.send_headers(1, [(b":status", b"200")])
    peer.send_data(1, b"still here", end_stream=True)
    exchange(ours, peer)
    assert notes.told[-2:] == [("data", 1, b"still here"), ("end", 1, None)]


def test_a_window_that_is_used_up_opens_with_credit() -> None:
    ours, notes = engine(client_side=False, stream_window=1000)
    peer = library(client_side=True)
    exchange(ours, peer)
    peer.send_headers(1, POST)
    sent = 0
    while sent < 10_000:
        room = peer.local_flow_control_window(1)
        assert room > 0
        piece = min(room, 10_000 - sent)
        peer.send_data(1, b"x" * piece, end_stream=sent + piece == 10_000)
        sent += piece
        exchange(ours, peer)
    assert ("data", 1, b"x" * 10_000) in notes.told


def test_room_follows_the_peer_s_window() -> None:
    ours, _ = engine(client_side=True)
    peer = library(client_side=False)
    ours.send_request(1, b"POST", POST, False)
    exchange(ours, peer)
    assert ours.room(1) == 65_535
    ours.send_data(1, b"x" * 10_000, False)
    assert ours.room(1) == 55_535
    exchange(ours, peer)
    peer.acknowledge_received_data(10_000, 1)
    peer.increment_flow_control_window(20_000, 1)
    peer.increment_flow_control_window(20_000)
    exchange(ours, peer)
    assert ours.room(1) > 65_535
    assert ours.room(99) == 0


def test_settings_say_what_we_take() -> None:
    ours, _ = engine(client_side=False, stream_window=5000, max_streams=7, max_head=9000)
    peer = library(client_side=True)
    exchange(ours, peer)
    assert peer.remote_settings.initial_window_size == 5000
    assert peer.remote_settings.max_concurrent_streams == 7
    assert peer.remote_settings.max_header_list_size == 9000


def test_secrets_are_never_indexed() -> None:
    ours, _ = engine(client_side=True)
    ours.take()
    for stream_id in (1, 3):
        secret = [*GET, (b"authorization", b"Basic c2VjcmV0")]
        ours.send_request(stream_id, b"GET", secret, True)
        # An indexed field would be one byte the second time.
        assert len(ours.take()) > 15


def test_goodbyes_and_resets_after_the_end_are_harmless() -> None:
    ours, _ = engine(client_side=False)
    ours.reset(1, CANCEL)
    ours.give_credit(1, 10, 10)
    ours.forget(1)
    ours.close()
    ours.close()


@pytest.mark.parametrize("how", ["closed", "breach"])
def test_nothing_is_sent_after_the_end(how: str) -> None:
    ours, _ = engine(client_side=False)
    peer = library(client_side=True)
    peer.send_headers(1, GET, end_stream=True)
    exchange(ours, peer)
    if how == "closed":
        ours.close()
    else:
        with pytest.raises(RemoteProtocolError):
            ours.receive_data(BREACHES["data on stream 0"][len(START) :])
    ours.take()
    ours.send_fields(1, [(b":status", b"200")], False)
    ours.send_data(1, b"late", True)
    assert ours.take() == b""


START = PREFACE + SettingsFrame(0).serialize()

BREACHES = {
    "data on stream 0": START + b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x",
    "data on an idle stream": START + DataFrame(1, b"x").serialize(),
    "no settings first": PREFACE + DataFrame(1, b"x").serialize(),
    "a ping before the settings": PREFACE + PingFrame(0, b"12345678").serialize(),
    "an acknowledgement before the settings": PREFACE + SettingsFrame(0, flags=["ACK"]).serialize(),
    "an acknowledgement that says something": START
    + b"\x00\x00\x06\x04\x01\x00\x00\x00\x00\x00\x03\x00\x00\x00\x05",
    "an even stream": START + HeadersFrame(2, b"\x82", flags=["END_HEADERS"]).serialize(),
    "a continuation of nothing": START + ContinuationFrame(1, b"\x82").serialize(),
    "a window for an idle stream": START + WindowUpdateFrame(1, 5).serialize(),
    "a reset of an idle stream": START + RstStreamFrame(1, 8).serialize(),
    "a push by a client": START
    + PushPromiseFrame(1, 2, b"\x82", flags=["END_HEADERS"]).serialize(),
    "settings on a stream": START + b"\x00\x00\x00\x04\x01\x00\x00\x00\x01",
    "a short ping": START + b"\x00\x00\x05\x06\x00\x00\x00\x00\x0012345",
    "a frame beyond the limit": START + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 100_000,
    "garbage in place of HPACK": START
    + HeadersFrame(1, b"\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS"]).serialize(),
    "a ping within a head": START
    + HeadersFrame(1, b"\x82").serialize()
    + PingFrame(0, b"12345678").serialize(),
    "a window beyond range": START + WindowUpdateFrame(0, 2**31 - 1).serialize() * 2,
    "an initial window beyond range": PREFACE
    + SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 2**31}).serialize(),
    "a frame size below the least": PREFACE
    + SettingsFrame(0, {SettingsFrame.MAX_FRAME_SIZE: 1}).serialize(),
}


@pytest.mark.parametrize("name", BREACHES)
def test_breach_ends_the_connection_with_a_goaway(name: str) -> None:
    ours, notes = engine(client_side=False)
    ours.take()
    with pytest.raises(RemoteProtocolError):
        ours.receive_data(BREACHES[name])
    assert b"\x07\x00\x00\x00\x00\x00" in ours.take()  # type, flags and stream of GOAWAY
    assert notes.told == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a ping before the settings", ErrorCodes.PROTOCOL_ERROR),
        ("an acknowledgement that says something", ErrorCodes.FRAME_SIZE_ERROR),
        ("a short ping", ErrorCodes.FRAME_SIZE_ERROR),
        ("a frame beyond the limit", ErrorCodes.FRAME_SIZE_ERROR),
        ("garbage in place of HPACK", ErrorCodes.COMPRESSION_ERROR),
        ("a window beyond range", ErrorCodes.FLOW_CONTROL_ERROR),
        ("an initial window beyond range", ErrorCodes.FLOW_CONTROL_ERROR),
    ],
)
def test_goaway_says_which_kind_of_breach_it_was(name: str, code: ErrorCodes) -> None:
    ours, _ = engine(client_side=False)
    ours.take()
    with pytest.raises(RemoteProtocolError):
        ours.receive_data(BREACHES[name])
    assert ours.take()[-4:] == code.to_bytes(4, "big")


def test_an_origin_says_its_settings_first() -> None:
    ours, _ = engine(client_side=True)
    with pytest.raises(RemoteProtocolError):
        ours.receive_data(PingFrame(0, b"12345678").serialize())
    assert ours.take()[-4:] == ErrorCodes.PROTOCOL_ERROR.to_bytes(4, "big")


def resets_in(data: bytes) -> int:
    """Count the RST_STREAM frames for stream 1."""
    return data.count(b"\x00\x00\x04\x03\x00\x00\x00\x00\x01")


BODY = DataFrame(1, b"sixteen bytes it").serialize()


def test_body_under_way_when_its_stream_is_reset_is_nobody_s_fault() -> None:
    ours, _ = engine(client_side=False, budget=Http2Budget(100, 0, lambda: 0.0))
    peer = library(client_side=True)
    peer.send_headers(1, POST)
    exchange(ours, peer)
    ours.reset(1, CANCEL)
    assert resets_in(ours.take()) == 1
    for forgotten in (False, True):
        if forgotten:
            ours.forget(1)
        receive_all(ours, BODY * 1000)
        assert resets_in(ours.take()) == 0


@pytest.mark.parametrize("how", ["ended", "reset", "answered"])
def test_body_behind_the_end_of_a_request_is_counted(how: str) -> None:
    ours, notes = engine(client_side=False, budget=Http2Budget(100, 0, lambda: 0.0))
    peer = library(client_side=True)
    peer.send_headers(1, POST, end_stream=how != "reset")
    if how == "reset":
        peer.reset_stream(1, CANCEL)
    exchange(ours, peer)
    if how == "answered":
        ours.send_fields(1, [(b":status", b"200")], True)
        ours.forget(1)
    ours.take()
    ours.receive_data(BODY)
    assert resets_in(ours.take()) == 1
    if how == "ended":
        assert notes.told[-1] == ("reset", 1, ErrorCodes.STREAM_CLOSED)
        receive_all(ours, BODY * 1000)  # which was under way
        return
    with pytest.raises(RemoteProtocolError, match="too many requests that had to be reset"):
        ours.receive_data(BODY * 10)


@pytest.mark.parametrize(
    ("sizes", "signalled"),
    [
        ([[0, 2048]], b"\x20\x3f\xe1\x0f"),
        ([[0], [8192]], b"\x20\x3f\xe1\x1f"),  # more than we use
        ([[0, 4096]], b"\x20\x3f\xe1\x1f"),
        ([[0], [0]], b"\x20"),
        ([[100], [10], [8192], [4096]], b"\x2a\x3f\xe1\x1f"),
        ([[4096]], b""),
        ([[8192]], b""),
    ],
)
def test_table_that_was_smaller_for_a_moment_is_said_to_have_been(
    sizes: list[list[int]], signalled: bytes
) -> None:
    """The least size there was, and the last (RFC 7541, section 4.2)."""
    ours, _ = engine(client_side=False)
    frames = b""
    for group in sizes:
        body = b"".join([b"\x00\x01" + size.to_bytes(4, "big") for size in group])
        frames += len(body).to_bytes(3, "big") + b"\x04\x00\x00\x00\x00\x00" + body
    head = HeadersFrame(1, Encoder().encode(GET), flags=["END_HEADERS", "END_STREAM"]).serialize()
    ours.receive_data(PREFACE + frames + head)
    ours.take()
    ours.send_fields(1, [(b":status", b"200"), (b"x", b"y")], True)
    block = ours.take()[9:]
    assert block.startswith(signalled + b"\x88")
    assert Decoder().decode(block[len(signalled) :], raw=True) == [
        (b":status", b"200"),
        (b"x", b"y"),
    ]


@pytest.mark.parametrize("number", [2, 4, 7, 2**31 - 1])
def test_streams_are_not_an_origins_to_open(number: int) -> None:
    ours, notes = engine(client_side=True)
    ours.send_request(ours.next_stream_id(), b"GET", GET, True)
    ours.take()
    head = HeadersFrame(number, b"\x88", flags=["END_HEADERS"]).serialize()
    with pytest.raises(RemoteProtocolError):
        ours.receive_data(SettingsFrame(0).serialize() + head)
    assert b"\x07\x00\x00\x00\x00\x00" in ours.take()
    assert notes.told == []


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"\x16\x03\x01" * 20])
def test_what_is_not_http_2_is_refused(data: bytes) -> None:
    ours, _ = engine(client_side=False)
    with pytest.raises(RemoteProtocolError):
        ours.receive_data(data)


def test_many_small_frames_are_taken_in_several_goes_and_none_is_lost() -> None:
    ours, notes = engine(client_side=False)
    peer = library(client_side=True)
    peer.send_headers(1, POST)
    exchange(ours, peer)
    goes = receive_all(ours, b"".join([DataFrame(1, b"%06d" % n).serialize() for n in range(5000)]))
    assert 50 < goes < 200
    assert notes.told[-1] == ("data", 1, b"".join([b"%06d" % n for n in range(5000)]))


def test_a_few_large_frames_are_taken_in_one_go() -> None:
    ours, _ = engine(client_side=False, stream_window=1024 * 1024)
    peer = library(client_side=True)
    peer.send_headers(1, POST)
    exchange(ours, peer)
    assert receive_all(ours, DataFrame(1, bytes(16384)).serialize() * 16) == 1


def test_a_priority_frame_and_unknown_frames_are_ignored() -> None:
    ours, notes = engine(client_side=False)
    peer = library(client_side=True)
    exchange(ours, peer)
    ours.receive_data(PriorityFrame(1, depends_on=0, stream_weight=3).serialize())
    ours.receive_data(b"\x00\x00\x03\xee\x00\x00\x00\x00\x01abc")
    peer.send_headers(3, GET, end_stream=True)
    exchange(ours, peer)
    assert notes.told[0][0] == "request"


def test_mutated_conversations_are_legal_or_refused() -> None:
    rng = Random(7)
    sound = sound_conversation()
    for _ in range(ROUNDS // 5):
        data = bytearray(sound)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(PREFACE), len(data))
            match rng.randint(0, 2):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randint(1, 9)]
                case _:
                    data[at:at] = rng.randbytes(rng.randint(1, 9))
        ours, notes = engine(client_side=False)
        try:
            for start in range(0, len(data), 50):
                ours.receive_data(bytes(data[start : start + 50]))
        except RemoteProtocolError:
            ours.take()
        for note in notes.told:
            if note[0] == "request":
                assert not set(bytes(note[3])) & set(b"\r\n\0 ")  # type: ignore[call-overload]


# --- lengths


@pytest.mark.parametrize("pieces", [[b"abcd"], [b"abc", b"defg"], [b"", b"abc"], []], ids=len)
def test_a_body_of_another_length_than_declared_breaks_its_stream_alone(
    pieces: list[bytes],
) -> None:
    ours, notes = engine(client_side=False)
    peer = library(client_side=True)
    peer.send_headers(1, [*POST, (b"content-length", b"5")], end_stream=not pieces)
    for number, piece in enumerate(pieces):
        peer.send_data(1, piece, end_stream=number == len(pieces) - 1)
    peer.send_headers(3, [*POST, (b"content-length", b"5")])
    peer.send_data(3, b"hello", end_stream=True)
    exchange(ours, peer)
    assert notes.of(1)[-1] == ("reset", 1, PROTOCOL_ERROR)
    assert not [note for note in notes.of(1) if note[0] == "end"]
    told = [note[2] for note in notes.of(1) if note[0] == "data"]
    assert sum(len(data) for data in told if isinstance(data, bytes)) <= 5
    assert notes.of(3)[1:] == [("data", 3, b"hello"), ("end", 3, None)]


@pytest.mark.parametrize("body", [b"abcd", b"abcdef"])
def test_an_answer_of_another_length_than_declared_breaks_its_stream_alone(body: bytes) -> None:
    ours, notes = engine(client_side=True)
    peer = library(client_side=False)
    for _ in range(2):
        ours.send_request(ours.next_stream_id(), b"GET", GET, True)
    exchange(ours, peer)
    for stream_id, data in ((1, body), (3, b"hello")):
        peer.send_headers(stream_id, [(b":status", b"200"), (b"content-length", b"5")])
        peer.send_data(stream_id, data, end_stream=True)
    exchange(ours, peer)
    assert notes.of(1)[-1] == ("reset", 1, PROTOCOL_ERROR)
    assert notes.of(3)[1:] == [("data", 3, b"hello"), ("end", 3, None)]


def test_an_answer_to_head_says_a_length_and_may_have_no_body() -> None:
    ours, notes = engine(client_side=True)
    peer = library(client_side=False)
    for _ in range(2):
        ours.send_request(ours.next_stream_id(), b"HEAD", [(b":method", b"HEAD"), *GET[1:]], True)
    exchange(ours, peer)
    peer.send_headers(1, [(b":status", b"200"), (b"content-length", b"5")], end_stream=True)
    peer.send_headers(3, [(b":status", b"200"), (b"content-length", b"5")])
    peer.send_data(3, b"hello", end_stream=True)
    exchange(ours, peer)
    assert notes.of(1) == [("response", 1, 200, 0), ("end", 1, None)]
    assert notes.of(3)[-1] == ("reset", 3, PROTOCOL_ERROR)


def test_a_head_of_too_many_fields_is_refused_and_not_reset() -> None:
    ours, notes = engine(client_side=False, max_fields=10)
    peer = library(client_side=True)
    peer.send_headers(1, [*GET, *[(b"x", b"%d" % number) for number in range(7)]], end_stream=True)
    exchange(ours, peer)
    assert notes.told[0] == ("refused", 1, 431)
    assert "reset" not in [note[0] for note in notes.told]


HEADS = st.sampled_from(
    [b"", b"\x82", b"\x82\x87\x84\x41\x01h", b"\xbe", b"\x3f\xe1\x1f", b"\xff\xff"]
)
FRAMES = st.builds(
    lambda kind, flags, stream, body, lie: (
        (len(body) + lie).to_bytes(3, "big", signed=False)
        + bytes((kind, flags))
        + stream.to_bytes(4, "big")
        + body
    ),
    st.integers(0, 12),
    st.sampled_from([0, 1, 4, 5, 8, 9, 0x0D, 0x20, 0x2D, 0xFF]),
    st.sampled_from([0, 1, 2, 3, 5, 7, 2**31 - 1, 2**31]),
    st.binary(max_size=24) | HEADS,
    st.sampled_from([0, 0, 0, 0, 0, 1, 20]),
)


@pytest.mark.parametrize("client_side", [False, True], ids=["from a client", "from an origin"])
@given(st.lists(FRAMES, max_size=12), st.integers(1, 30))
def test_any_frames_are_legal_or_refused_and_nothing_else(
    client_side: bool, frames: list[bytes], size: int
) -> None:
    ours, notes = engine(client_side=client_side)
    if client_side:
        ours.send_request(ours.next_stream_id(), b"GET", GET, True)
    data = (b"" if client_side else PREFACE) + SettingsFrame(0).serialize() + b"".join(frames)
    try:
        for start in range(0, len(data), size):
            ours.receive_data(data[start : start + size])
    except RemoteProtocolError:
        assert b"\x07\x00\x00\x00\x00\x00" in ours.take()
    assert {note[0] for note in notes.told} <= {
        "request",
        "response",
        "data",
        "end",
        "reset",
        "goaway",
        "refused",
    }


def test_a_connection_at_rest_remembers_no_blocks_and_goes_on_as_before() -> None:
    near, seen = engine(client_side=True)
    far, asked = engine(client_side=False)
    for stream_id in (1, 3, 5, 7):
        near.send_request(stream_id, b"GET", GET, True)
        far.receive_data(near.take())
        far.send_fields(stream_id, [(b":status", b"200"), (b"server", b"x")], True)
        near.receive_data(far.take())
        near.forget(stream_id)
        far.forget(stream_id)
        if stream_id == 5:
            for side in (near, far):
                decoder, encoder = side._h2.memos
                assert decoder._known or decoder._always or encoder._known
                side.rest()
                assert [decoder._known, decoder._always, encoder._known] == [{}, {}, {}]
                assert not side._h2.streams
    assert [what for what, *_ in asked.told].count("request") == 4
    assert [what for what, *_ in seen.told].count("response") == 4
