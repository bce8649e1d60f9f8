"""wsproto is the reference: the same messages, and the same verdict on what is none."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from proxy_core.wire.websocket import BINARY, CONTINUATION, TEXT, MessageReader, encode_frame
from proxy_core.wire.websocket_deflate import Compression, Deflater, Inflater, agreed
from tests.wire.websocket_frames import MASK, Read, frame, split_at

LIMIT = 10_000_000

points = st.lists(st.integers(0, 5000), max_size=6)
texts = st.text("ab \0äß€\uffff😀", max_size=200)
messages = st.lists(st.one_of(texts, st.binary(max_size=300)), max_size=8)


def plain(message: str | bytes) -> tuple[int, bytes]:
    return (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)


def read_by_wsproto(
    protocol: FrameProtocol, chunks: Iterable[bytes]
) -> tuple[list[tuple[int, bytes]], int | None]:
    found: list[tuple[int, bytes]] = []
    parts: list[bytes] = []
    try:
        for chunk in chunks:
            protocol.receive_bytes(chunk)
            for event in protocol.received_frames():
                payload = event.payload
                if event.opcode is Opcode.CLOSE:
                    assert isinstance(payload, tuple)
                    code, reason = payload
                    raw = b"" if code == 1005 else code.to_bytes(2, "big") + reason.encode()
                    found.append((int(event.opcode), raw))
                    return found, None
                assert not isinstance(payload, tuple)
                data = payload.encode() if isinstance(payload, str) else bytes(payload)
                if event.opcode.iscontrol():
                    found.append((int(event.opcode), data))
                    continue
                parts.append(data)
                if event.message_finished:
                    found.append((int(event.opcode), b"".join(parts)))
                    parts = []
    except ParseFailed as error:
        return found, int(error.code)
    return found, None


def extension(given_: str) -> PerMessageDeflate:
    known = PerMessageDeflate()
    known.finalize(given_)
    return known


# --- frames, right and wrong


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Mostly right: a lawful header with, now and then, one thing changed."""
    opcode = draw(st.sampled_from([0, 1, 1, 2, 2, 8, 9, 10]))
    payload = draw(st.one_of(st.binary(max_size=140), texts.map(str.encode)))
    if opcode == 8 and draw(st.booleans()):
        code = draw(st.sampled_from([1000, 1001, 1005, 1006, 1011, 1015, 2000, 3000, 4999, 5000]))
        payload = code.to_bytes(2, "big") + payload[:123]
    if opcode >= 8:
        payload = payload[:125]
    fin = opcode >= 8 or draw(st.booleans())
    mask: bytes | None = MASK
    reserved, width = 0, None
    match draw(st.sampled_from(["", "", "", "", "", "opcode", "fin", "mask", "reserved", "width"])):
        case "opcode":
            opcode = draw(st.integers(0, 15))
        case "fin":
            fin = not fin
        case "mask":
            mask = None
        case "reserved":
            reserved = draw(st.integers(1, 7))
        case "width":
            width = draw(st.sampled_from([2, 8]))
    return frame(opcode, payload, fin=fin, mask=mask, reserved=reserved, width=width)


@given(st.lists(frames(), max_size=6), points)
def test_wsproto_says_the_same_of_frames_that_may_be_wrong(
    wire: list[bytes], splits: list[int]
) -> None:
    data = b"".join(wire)
    expected = read_by_wsproto(FrameProtocol(False, []), [data] if data else [])
    read = Read(MessageReader(True, LIMIT), split_at(data, splits))
    assert (read.messages, read.code) == expected


# --- messages from the one to the other


@given(messages, points, st.booleans())
def test_messages_of_wsproto_are_read_and_their_wire_kept(
    sent: list[str | bytes], splits: list[int], client: bool
) -> None:
    sender = FrameProtocol(client, [])
    data = b"".join(bytes(sender.send_data(message)) for message in sent)
    read = Read(MessageReader(client, LIMIT), split_at(data, splits))
    assert read.messages == [plain(message) for message in sent]
    assert read.wire == data


ANSWERS = [
    "permessage-deflate",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10",
]


@given(
    st.lists(st.lists(texts, min_size=1, max_size=4), max_size=6),
    points,
    st.booleans(),
    st.sampled_from(ANSWERS),
)
def test_compressed_fragments_of_wsproto_are_read_and_their_wire_kept(
    sent: list[list[str]], splits: list[int], client: bool, answer: str
) -> None:
    sender = FrameProtocol(client, [extension(answer)])
    data = b""
    for parts in sent:
        for place, part in enumerate(parts):
            data += bytes(sender.send_data(part, fin=place == len(parts) - 1))
    deflate = agreed([answer.encode()])
    assert deflate is not None
    inflater = Inflater(deflate.from_client if client else deflate.from_server)
    read = Read(MessageReader(client, LIMIT, inflater), split_at(data, splits))
    assert read.messages == [(TEXT, "".join(parts).encode()) for parts in sent]
    assert read.wire == data


@given(
    st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=4), max_size=6),
    st.booleans(),
    st.sampled_from(ANSWERS),
)
def test_compressed_fragments_of_ours_are_read_by_wsproto(
    sent: list[list[bytes]], client: bool, answer: str
) -> None:
    deflate = agreed([answer.encode()])
    assert deflate is not None
    deflater = Deflater(deflate.from_client if client else deflate.from_server)
    data = b""
    for parts in sent:
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            data += encode_frame(
                CONTINUATION if place else BINARY,
                deflater.feed(part, last),
                fin=last,
                compressed=not place,
                mask=MASK if client else None,
            )
    reader = FrameProtocol(not client, [extension(answer)])
    assert read_by_wsproto(reader, [data]) == ([(BINARY, b"".join(p)) for p in sent], None)


def test_wsproto_reads_a_window_as_small_as_was_agreed_on() -> None:
    compression = Compression(window_bits=9, takes_over=True)
    answer = "permessage-deflate; server_max_window_bits=9"
    deflater, reader = Deflater(compression), FrameProtocol(True, [extension(answer)])
    for number in range(20):
        message = bytes(range(256)) * 3 + b"%d" % number
        data = encode_frame(BINARY, deflater.feed(message, True), compressed=True)
        assert read_by_wsproto(reader, [data]) == ([(BINARY, message)], None)
