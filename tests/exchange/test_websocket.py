from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.config import Limits
from proxy_core.errors import RemoteProtocolError
from proxy_core.exchange.held import Decision, HeldFlows
from proxy_core.exchange.hooks import Hooks
from proxy_core.exchange.tunnel import TunnelTimes
from proxy_core.exchange.websocket import WebSockets, compression_of
from proxy_core.model.connection import ClientConnection
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Headers
from proxy_core.model.ids import ConnectionId, FlowId
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.verdict import CONTINUE, Block, Hold, Respond, Verdict
from proxy_core.model.websocket import WebSocketEnd, WebSocketMessage
from proxy_core.wire.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    MessageReader,
    encode_close,
)
from proxy_core.wire.websocket_deflate import Compression, Deflate, Inflater
from tests.exchange.pipes import Pipe
from tests.waiting import until
from tests.wire.websocket_frames import MASK, Read, frame

LIMITS = Limits(
    captured_body=100, websocket_message=5000, websocket_held=1000, websocket_captured=100_000
)
PLAIN = Deflate(Compression(), Compression())


def said(opcode: int, payload: bytes = b"", **more: object) -> bytes:
    """A client's frame."""
    return frame(opcode, payload, mask=MASK, **more)  # type: ignore[arg-type]


class Joined:
    """Two sides, the flow between them, and what is known of it."""

    def __init__(
        self,
        limits: Limits = LIMITS,
        deflate: Deflate | None = None,
        farewell: float = 5.0,
        news_interval: float = 3600.0,
        times: TunnelTimes | None = None,
        attended: bool = True,
    ) -> None:
        self.client, self.server = Pipe(), Pipe()
        peer = ClientConnection(ConnectionId(1), ("127.0.0.1", 1), ("127.0.0.1", 2), "regular", 0.0)
        head = RequestHead(b"GET", "http", b"h", b"/")
        self.flow = Flow(FlowId(7), peer, head, 0.0, limits.captured_body)
        self.hooks = Hooks()
        self.sockets = WebSockets(
            self.hooks, limits, times, farewell=farewell, news_interval=news_interval
        )
        self.deflate = deflate
        self.told_of: list[int] = []
        self.held = HeldFlows(attended=attended)
        self.over = asyncio.Event()

    async def run(self) -> None:
        await self.sockets.carry(
            self.flow,
            self.client,
            self.server,
            self.deflate,
            self._noted,
            self._hold if self.held.attended else None,
        )
        self.over.set()

    async def _hold(self, flow: Flow) -> Decision:
        return await self.held.wait(flow.id)

    def _noted(self, flow: Flow) -> None:
        assert flow is self.flow
        assert flow.web_socket is not None
        self.told_of.append(flow.web_socket.count)

    @property
    def log(self) -> list[WebSocketMessage]:
        assert self.flow.web_socket is not None
        return self.flow.web_socket.snapshot()

    @property
    def end(self) -> WebSocketEnd | None:
        assert self.flow.web_socket is not None
        return self.flow.web_socket.end

    @property
    def seen(self) -> list[tuple[str, int, bytes]]:
        return [("c" if m.from_client else "s", m.opcode, m.payload) for m in self.log]

    def at_server(self) -> list[tuple[int, bytes]]:
        """What the server makes of what it was sent."""
        inflater = Inflater(self.deflate.from_client) if self.deflate else None
        read = Read(MessageReader(True, 10_000_000, inflater), [self.server.sent])
        assert read.code is None
        return read.messages

    def at_client(self) -> list[tuple[int, bytes]]:
        inflater = Inflater(self.deflate.from_server) if self.deflate else None
        read = Read(MessageReader(False, 10_000_000, inflater), [self.client.sent])
        assert read.code is None
        return read.messages


@asynccontextmanager
async def joined(
    limits: Limits = LIMITS,
    deflate: Deflate | None = None,
    farewell: float = 5.0,
    news_interval: float = 3600.0,
    times: TunnelTimes | None = None,
    attended: bool = True,
) -> AsyncIterator[Joined]:
    """Join two sides; both hang up at the end of the test."""
    sides = Joined(limits, deflate, farewell, news_interval, times, attended)
    async with asyncio.TaskGroup() as group:
        group.create_task(sides.run())
        await asyncio.sleep(0)
        yield sides
        sides.client.hang_up()
        sides.server.hang_up()


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- nobody asked to see anything


async def test_messages_pass_as_they_came_and_are_recorded() -> None:
    up = said(TEXT, b"hello") + said(PING, b"?") + said(BINARY, b"\0\1")
    down = frame(PONG, b"?") + frame(TEXT, b"hi")
    async with joined() as sides:
        sides.client.say(up)
        await sides.server.heard(up)
        sides.server.say(down)
        await sides.client.heard(down)
        assert sides.seen == [
            ("c", TEXT, b"hello"),
            ("c", PING, b"?"),
            ("c", BINARY, b"\0\1"),
            ("s", PONG, b"?"),
            ("s", TEXT, b"hi"),
        ]
        assert [message.size for message in sides.log] == [5, 1, 2, 1, 2]
        assert all(message.at > 1_600_000_000 for message in sides.log)
        assert (sides.flow.request_body.size, sides.flow.response_body.size) == (len(up), len(down))
        assert not sides.flow.request_body.kept
        assert len(sides.server.writes) == 1


async def test_fragments_go_on_one_by_one_and_are_joined_for_view() -> None:
    first, second = said(TEXT, b"to", fin=False), said(CONTINUATION, b"gether")
    async with joined() as sides:
        sides.client.say(first)
        await sides.server.heard(first)
        assert sides.log == []
        sides.client.say(said(PING) + second)
        await sides.server.heard(first + said(PING) + second)
        assert sides.seen == [("c", PING, b""), ("c", TEXT, b"together")]


async def test_a_part_of_a_frame_goes_on_before_the_rest_has_come() -> None:
    wire = frame(BINARY, bytes(range(250)) * 8)
    async with joined() as sides:
        for start in range(0, len(wire), 700):
            sides.server.say(wire[start : start + 700])
            await sides.client.heard(wire[: start + 700])
        (message,) = sides.log
        assert (message.size, message.payload) == (2000, bytes(range(100)))


async def test_a_receiver_that_does_not_read_stops_the_sender() -> None:
    async with joined() as sides:
        sides.server.stop_reading()
        for _ in range(5):
            sides.client.say(said(TEXT, b"x"))
        await settle()
        assert sides.client.waiting == 4
        # The other direction does not mind.
        sides.server.say(frame(TEXT, b"y"))
        await sides.client.heard(frame(TEXT, b"y"))
        sides.server.read_on()
        await sides.server.heard(said(TEXT, b"x") * 5)


async def test_compressed_messages_pass_as_they_came_and_are_read() -> None:
    hello = bytes.fromhex("f248cdc9c90700")
    wire = said(TEXT, hello, reserved=4) + said(TEXT, bytes.fromhex("f200110000"), reserved=4)
    async with joined(deflate=PLAIN) as sides:
        sides.client.say(wire)
        await sides.server.heard(wire)
        assert sides.seen == [("c", TEXT, b"Hello")] * 2
        assert all(message.compressed for message in sides.log)


async def test_only_the_beginning_of_a_large_message_is_kept() -> None:
    async with joined() as sides:
        sides.server.say(frame(TEXT, b"x" * 4000))
        await sides.client.heard(frame(TEXT, b"x" * 4000))
        assert (sides.log[0].size, len(sides.log[0].payload)) == (4000, 100)


async def test_one_large_expansion_leaves_others_their_turn() -> None:
    turns = 0
    limits = Limits(websocket_message=100_000_000, captured_body=100)
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(bytes(60_000_000)) + packer.flush(zlib.Z_SYNC_FLUSH)
    async with joined(limits, PLAIN) as sides:
        wire = frame(BINARY, packed[:-4], reserved=4)
        sides.server.say(wire)
        while len(sides.client.sent) < len(wire):
            turns += 1
            await asyncio.sleep(0)
        assert turns > 3
        assert sides.log[0].size == 60_000_000


async def test_many_tiny_messages_at_once_leave_others_their_turn() -> None:
    turns = 0
    async with joined() as sides:
        wire = frame(BINARY, b"") * 10_000
        sides.server.say(wire)
        while len(sides.client.sent) < len(wire):
            turns += 1
            await asyncio.sleep(0)
        assert turns > 30


# --- the end


async def test_the_closing_handshake_passes_and_says_why() -> None:
    close, answer = said(CLOSE, encode_close(3001, "bye")), frame(CLOSE, encode_close(1000, ""))
    async with joined() as sides:
        sides.client.say(close)
        await sides.server.heard(close)
        sides.server.say(answer)
        await sides.client.heard(answer)
        assert not sides.client.eof_written
        sides.server.hang_up()
        await sides.client.ended()
        sides.client.hang_up()
        await sides.over.wait()
    assert sides.end == WebSocketEnd("client", 3001, "bye")
    assert sides.flow.error is None
    assert sides.client.closed
    assert sides.server.closed
    assert [message.opcode for message in sides.log] == [CLOSE, CLOSE]


async def test_an_end_without_a_close_frame_is_passed_on_as_one() -> None:
    async with joined() as sides:
        sides.server.hang_up()
        await sides.client.ended()
        sides.client.say(said(TEXT, b"still"))
        await sides.server.heard(said(TEXT, b"still"))
    assert sides.end == WebSocketEnd("server", 1006)
    assert sides.flow.error is None
    assert sides.client.sent == b""


async def test_a_connection_that_breaks_ends_the_other_and_is_told() -> None:
    async with joined() as sides:
        sides.client.say(said(TEXT, b"half", fin=False))
        await sides.server.heard(said(TEXT, b"half", fin=False))
        sides.client.break_off()
        await sides.over.wait()
    assert sides.flow.error == "from the client: the connection was reset"
    assert sides.server.aborted
    assert sides.end == WebSocketEnd("client", 1006)
    assert [(m.payload, m.cut) for m in sides.log] == [(b"half", True)]


async def test_a_break_behind_the_closing_handshake_is_no_failure() -> None:
    async with joined() as sides:
        sides.client.say(said(CLOSE))
        sides.server.say(frame(CLOSE))
        await sides.client.heard(frame(CLOSE))
        sides.client.break_off()
    assert sides.flow.error is None
    assert sides.end == WebSocketEnd("client", 1005)


async def test_sides_that_do_not_end_after_closing_are_ended() -> None:
    async with joined(farewell=0.02) as sides:
        sides.client.say(said(CLOSE))
        sides.server.say(frame(CLOSE))
        await sides.over.wait()
        assert sides.client.closed
        assert sides.server.closed
        assert sides.flow.error is None


async def test_a_receiver_that_never_reads_is_given_up() -> None:
    async with joined(times=TunnelTimes(blocked=0.01)) as sides:
        sides.client.stop_reading()
        sides.server.say(frame(TEXT, b"x"))
        await sides.over.wait()
    assert sides.flow.error == "the client did not read for 0.01 s"
    assert sides.client.aborted
    assert sides.server.aborted


async def test_a_web_socket_on_which_nothing_comes_is_given_up() -> None:
    async with joined(times=TunnelTimes(idle=0.01)) as sides:
        sides.server.say(frame(TEXT, b"half", fin=False))
        await sides.over.wait()
    assert sides.flow.error == "nothing came through the WebSocket for 0.01 s"
    assert sides.client.aborted
    assert sides.log[0].cut


async def test_a_web_socket_that_is_cancelled_breaks_both_connections() -> None:
    sides = Joined()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(sides.run())
        sides.client.say(said(TEXT, b"x"))
        await sides.server.heard(said(TEXT, b"x"))
        running.cancel()
    assert sides.client.aborted
    assert sides.server.aborted
    assert not await sides.sockets.inject(FlowId(7), True, TEXT, b"over")


# --- who breaks the protocol


async def test_a_client_that_breaks_the_protocol_is_told_and_the_server_as_well() -> None:
    async with joined() as sides:
        sides.client.say(said(TEXT, b"good") + frame(TEXT, b"not masked"))
        await sides.client.ended()
        await sides.server.ended()
        # What still comes is thrown away.
        sides.client.say(b"\xff" * 100)
        sides.server.say(frame(TEXT, b"late"))
    ((opcode, payload),) = sides.at_client()
    assert (opcode, payload[:2]) == (CLOSE, (1002).to_bytes(2, "big"))
    assert b"not masked" in payload
    first, (opcode, payload) = sides.at_server()
    assert first == (TEXT, b"good")
    assert (opcode, payload[:2]) == (CLOSE, (1001).to_bytes(2, "big"))
    assert sides.flow.error == "the client broke the WebSocket protocol: a frame is not masked"
    assert sides.end == WebSocketEnd("proxy", 1002, "a frame is not masked")
    assert [message.injected for message in sides.log] == [False, True, True]


@pytest.mark.parametrize(
    ("wire", "code"),
    [(frame(TEXT, b"\xff"), 1007), (frame(BINARY, bytes(5001)), 1009), (frame(11), 1002)],
)
async def test_a_server_that_breaks_the_protocol_is_told_and_the_client_as_well(
    wire: bytes, code: int
) -> None:
    async with joined() as sides:
        sides.server.say(wire)
        await sides.client.ended()
        await sides.server.ended()
    assert sides.at_server()[0][1][:2] == code.to_bytes(2, "big")
    assert sides.at_client()[0][1][:2] == (1001).to_bytes(2, "big")
    assert sides.flow.error is not None
    assert sides.flow.error.startswith("the server broke")


async def test_who_has_got_half_a_frame_sees_the_connection_end() -> None:
    half = frame(TEXT, b"a" * 100 + b"\xff" + b"b" * 100)[:60]
    async with joined() as sides:
        sides.server.say(half)
        await sides.client.heard(half)
        sides.server.say(b"\xff")
        await sides.client.ended()
    assert sides.client.sent == half
    assert sides.at_server()[0][1][:2] == (1007).to_bytes(2, "big")


async def test_who_has_got_a_close_frame_gets_no_other() -> None:
    async with joined() as sides:
        sides.server.say(frame(CLOSE, encode_close(1000, "")))
        await sides.client.heard(frame(CLOSE, encode_close(1000, "")))
        sides.client.say(said(3))
        await sides.client.ended()
    assert sides.client.sent == frame(CLOSE, encode_close(1000, ""))
    assert sides.end == WebSocketEnd("server", 1000)


async def test_a_side_that_goes_on_after_breaking_the_protocol_is_ended() -> None:
    async with joined(farewell=0.02) as sides:
        sides.client.say(said(3))
        await sides.over.wait()
        assert sides.client.closed


# --- a hook


class Seer:
    """A hook that remembers what it saw, and does what it is told."""

    def __init__(self, sides: Joined) -> None:
        self.seen: list[tuple[int, bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.edits: dict[bytes, bytes] = {}
        self.verdicts: dict[bytes, Verdict] = {}
        sides.hooks.websocket_message = self

    async def __call__(self, flow: Flow, message: WebSocketMessage) -> Verdict:
        payload = message.payload
        self.seen.append((message.opcode, payload))
        self.asked.set()
        await self.gate.wait()
        message.payload = self.edits.get(payload, payload)
        return self.verdicts.get(payload, CONTINUE)


async def test_a_hook_sees_whole_messages_and_holds_them() -> None:
    first, second = said(TEXT, b"to", fin=False), said(CONTINUATION, b"gether")
    async with joined() as sides:
        seer = Seer(sides)
        seer.gate.clear()
        sides.client.say(first)
        sides.client.say(said(PING, b"now"))
        await sides.server.heard(said(PING, b"now"))  # control frames wait for nobody
        sides.client.say(second)
        await seer.asked.wait()
        assert sides.server.sent == said(PING, b"now")
        seer.gate.set()
        await sides.server.heard(said(PING, b"now") + first + second)
        assert seer.seen == [(TEXT, b"together")]
        assert sides.seen[1] == ("c", TEXT, b"together")


async def test_a_hook_edits_what_the_server_gets() -> None:
    async with joined() as sides:
        seer = Seer(sides)
        seer.edits[b"secret"] = b"*" * 300
        sides.client.say(said(BINARY, b"secret") + said(TEXT, b"other"))
        while not sides.server.sent.endswith(said(TEXT, b"other")):
            await sides.server.change()
        assert sides.at_server() == [(BINARY, b"*" * 300), (TEXT, b"other")]
        edited, other = sides.log
        assert (edited.edited, edited.size, edited.payload) == (True, 300, b"*" * 100)
        assert not other.edited


@pytest.mark.parametrize("deflate", [None, PLAIN])
async def test_a_long_edit_leaves_others_their_turn(deflate: Deflate | None) -> None:
    limits = Limits(websocket_message=100_000_000, captured_body=100)
    long = "é".encode() * 3_000_000
    async with joined(limits, deflate) as sides:
        seer = Seer(sides)
        seer.edits[b"short"] = long
        wire = said(TEXT, b"short")
        if deflate is not None:
            packer = zlib.compressobj(wbits=-15)
            packed = packer.compress(b"short") + packer.flush(zlib.Z_SYNC_FLUSH)
            wire = said(TEXT, packed[:-4], reserved=4)
        sides.client.say(wire)
        await until(lambda: bool(sides.server.sent))
        assert await sides.sockets.inject(sides.flow.id, True, BINARY, b"behind")
        turns = 0
        while len(sides.log) < 2:
            turns += 1
            await asyncio.sleep(0)
        assert turns > 50
        assert sides.at_server() == [(TEXT, long), (BINARY, b"behind")]


async def test_a_long_edit_of_text_is_text_at_every_seam_or_not_sent() -> None:
    limits = Limits(websocket_message=100_000_000, captured_body=100)
    async with joined(limits) as sides:
        seer = Seer(sides)
        seer.edits[b"a"] = b"x" + "é".encode() * 1_000_000
        seer.edits[b"b"] = seer.edits[b"a"][:-1]
        sides.client.say(said(TEXT, b"a") + said(TEXT, b"b"))
        await until(lambda: len(sides.log) == 2)
        assert sides.at_server() == [(TEXT, seer.edits[b"a"]), (TEXT, b"b")]
        assert [message.edited for message in sides.log] == [True, False]


async def test_a_hook_drops_what_the_client_does_not_get() -> None:
    async with joined() as sides:
        seer = Seer(sides)
        seer.verdicts[b"no"] = Block("plugin censor")
        answer = Respond("plugin censor", ResponseHead(200))
        seer.verdicts[b"yes"] = answer  # no verdict on a message: it goes on
        sides.server.say(frame(TEXT, b"no") + frame(TEXT, b"yes"))
        await sides.client.heard(frame(TEXT, b"yes"))
        assert [(m.payload, m.dropped) for m in sides.log] == [(b"no", True), (b"yes", False)]
        assert sides.flow.notes == ("messages dropped by plugin censor",)


async def test_a_held_message_waits_for_the_user_and_what_follows_it_with_it() -> None:
    async with joined() as sides:
        seer = Seer(sides)
        seer.verdicts[b"wait"] = Hold("plugin censor")
        seer.edits[b"wait"] = b"edited"
        sides.server.say(frame(TEXT, b"wait") + frame(TEXT, b"behind"))
        await until(lambda: sides.held.ids())
        assert sides.client.sent == b""
        assert sides.flow.web_socket is not None
        waiting = sides.flow.web_socket.held
        assert waiting is not None
        assert waiting.payload == b"edited"
        # The other direction goes on meanwhile, and we may still send.
        sides.client.say(said(TEXT, b"up"))
        await sides.server.heard(said(TEXT, b"up"))
        assert await sides.sockets.inject(FlowId(7), False, TEXT, b"ours")
        assert sides.at_client() == [(TEXT, b"ours")]
        assert sides.held.decide(FlowId(7), Decision.RESUME)
        await sides.client.heard(
            frame(TEXT, b"ours") + frame(TEXT, b"edited") + frame(TEXT, b"behind")
        )
        assert sides.flow.web_socket.held is None
        assert sides.flow.notes == ("held by plugin censor",)


async def test_no_message_is_held_where_nobody_decides() -> None:
    async with joined(attended=False) as sides:
        seer = Seer(sides)
        seer.verdicts[b"wait"] = Hold("plugin censor")
        sides.server.say(frame(TEXT, b"wait") + frame(TEXT, b"wait"))
        await sides.client.heard(frame(TEXT, b"wait") + frame(TEXT, b"wait"))
        note = "not held for plugin censor, as there is no console to let it go on"
        assert sides.flow.notes == (note,)


async def test_one_message_of_a_flow_is_held_at_a_time() -> None:
    async with joined() as sides:
        seer = Seer(sides)
        seer.verdicts[b"up"] = seer.verdicts[b"down"] = Hold("plugin censor")
        sides.client.say(said(TEXT, b"up"))
        await until(lambda: sides.held.ids())
        sides.server.say(frame(TEXT, b"down"))
        await settle()
        assert len(seer.seen) == 2
        assert sides.held.decide(FlowId(7), Decision.RESUME)
        await sides.server.heard(said(TEXT, b"up"))
        await until(lambda: sides.held.ids())
        assert sides.client.sent == b""
        assert sides.held.decide(FlowId(7), Decision.RESUME)
        await sides.client.heard(frame(TEXT, b"down"))
        assert sides.flow.notes == ("held by plugin censor",)


async def test_killing_a_held_message_ends_the_web_socket() -> None:
    async with joined() as sides:
        seer = Seer(sides)
        seer.verdicts[b"wait"] = Hold("plugin censor")
        sides.server.say(frame(TEXT, b"wait") + frame(TEXT, b"behind"))
        await until(lambda: sides.held.ids())
        assert sides.held.decide(FlowId(7), Decision.KILL)
        await sides.over.wait()
        assert sides.client.sent == b""
        assert sides.client.aborted
        assert sides.server.aborted
        assert sides.flow.error == "killed by the user"
        assert sides.end == WebSocketEnd("proxy", 1006)
        assert [(m.payload, m.dropped, m.by) for m in sides.log] == [(b"wait", True, ("the user",))]


async def test_a_held_message_of_a_connection_that_is_ended_is_let_go() -> None:
    async with joined(times=TunnelTimes(0.05, 0.05)) as sides:
        seer = Seer(sides)
        seer.verdicts[b"wait"] = Hold("plugin censor")
        sides.server.say(frame(TEXT, b"wait"))
        await sides.over.wait()
        assert sides.held.ids() == []
        assert sides.flow.error == "nothing came through the WebSocket for 0.05 s"
        assert [(m.payload, m.cut) for m in sides.log] == [(b"wait", True)]


async def test_text_is_not_edited_into_something_else() -> None:
    async with joined() as sides:
        seer = Seer(sides)
        seer.edits[b"a"] = b"\xff"
        sides.server.say(frame(TEXT, b"a"))
        await sides.client.heard(frame(TEXT, b"a"))
        assert not sides.log[0].edited
        assert sides.log[0].payload == b"a"
        assert "UTF-8" in sides.flow.notes[0]


async def test_a_message_too_large_for_the_hook_streams_on_unseen() -> None:
    parts = [frame(TEXT, b"x" * 400, fin=False), *[frame(CONTINUATION, b"x" * 400, fin=False)] * 3]
    async with joined() as sides:
        seer = Seer(sides)
        for part in parts[:2]:
            sides.server.say(part)
        await settle()
        assert sides.client.sent == b""
        sides.server.say(parts[2])
        await sides.client.heard(b"".join(parts[:3]))
        sides.server.say(parts[3])
        await sides.client.heard(b"".join(parts))
        sides.server.say(frame(CONTINUATION) + frame(TEXT, b"small"))
        await sides.client.heard(b"".join(parts) + frame(CONTINUATION) + frame(TEXT, b"small"))
        assert seer.seen == [(TEXT, b"small")]
        assert sides.flow.notes == ("messages of more than 1000 bytes went on unseen by plugins",)
        assert (sides.log[0].size, len(sides.log[0].payload)) == (1600, 100)


async def test_fragments_of_nothing_are_not_held_for_ever() -> None:
    async with joined() as sides:
        Seer(sides)
        sides.server.say(frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) * 600)
        await sides.client.heard(frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) * 600)


async def test_a_message_that_was_held_when_the_end_came_is_not_sent() -> None:
    async with joined() as sides:
        Seer(sides)
        sides.server.say(frame(TEXT, b"half", fin=False) + frame(CLOSE))
        await sides.client.heard(frame(CLOSE))
        assert [(m.opcode, m.cut) for m in sides.log] == [(TEXT, True), (CLOSE, False)]


async def test_a_hook_that_comes_in_the_middle_of_a_message_sees_the_next() -> None:
    async with joined() as sides:
        sides.server.say(frame(TEXT, b"a", fin=False))
        await sides.client.heard(frame(TEXT, b"a", fin=False))
        seer = Seer(sides)
        wire = frame(CONTINUATION, b"b") + frame(TEXT, b"c")
        sides.server.say(wire)
        await sides.client.heard(frame(TEXT, b"a", fin=False) + wire)
        assert seer.seen == [(TEXT, b"c")]


# --- a hook, and compression


class Packer:
    """A sender that compresses, with one memory for all its messages."""

    def __init__(self, bits: int = 15) -> None:
        self._deflate = zlib.compressobj(wbits=-bits)

    def __call__(self, text: bytes, fin: bool = True, opcode: int = TEXT) -> bytes:
        packed = self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return said(opcode, packed[:-4] if fin else packed, fin=fin, reserved=4 if opcode else 0)


@pytest.mark.parametrize("fate", ["edited", "dropped"])
async def test_what_follows_a_compressed_message_that_was_changed_can_still_be_read(
    fate: str,
) -> None:
    pack = Packer()
    long = b"the quick brown fox jumps over the lazy dog"
    async with joined(deflate=PLAIN) as sides:
        seer = Seer(sides)
        untouched = pack(long)
        sides.client.say(untouched)
        await sides.server.heard(untouched)
        if fate == "edited":
            seer.edits[long + b"2"] = b"changed"
        else:
            seer.verdicts[long + b"2"] = Block("x")
        sides.client.say(pack(long + b"2"))
        sides.client.say(pack(long + b"2 and more"))
        await settle()
        # Even when nobody looks any more: the receiver's memory remains another one.
        sides.hooks.websocket_message = None
        sides.client.say(pack(long + b"2 and", fin=False))
        await settle()
        sides.client.say(pack(b" more", opcode=CONTINUATION))
        sides.client.say(said(TEXT, b"not compressed"))
        await settle()
    changed = [(TEXT, b"changed")] if fate == "edited" else []
    more = (TEXT, long + b"2 and more")
    assert sides.at_server() == [
        (TEXT, long),
        *changed,
        more,
        more,
        (TEXT, b"not compressed"),
    ]
    assert len(sides.server.sent) < 300  # compressed anew, not left open
    assert sides.flow.error is None


async def test_a_large_message_behind_a_changed_one_streams_on_compressed_anew() -> None:
    pack = Packer()
    async with joined(deflate=PLAIN) as sides:
        seer = Seer(sides)
        seer.edits[b"0123456789" * 5] = b"changed"
        sides.client.say(pack(b"0123456789" * 5))
        sides.client.say(pack(b"0123456789" * 90, fin=False))
        await settle()
        before = len(sides.server.sent)
        sides.client.say(pack(b"0123456789" * 90, fin=False, opcode=CONTINUATION))
        await settle()
        assert len(sides.server.sent) > before
        sides.client.say(pack(b"", opcode=CONTINUATION))
        await settle()
    assert sides.at_server() == [(TEXT, b"changed"), (TEXT, b"0123456789" * 180)]


async def test_messages_without_memory_stay_as_they_came_behind_a_changed_one() -> None:
    forgetful = Deflate(Compression(takes_over=False), Compression(takes_over=False))
    async with joined(deflate=forgetful) as sides:
        seer = Seer(sides)
        seer.edits[b"one"] = b"changed"
        untouched = Packer()(b"two")
        sides.client.say(Packer()(b"one") + untouched)
        await settle()
        assert sides.server.sent.endswith(untouched)
        assert sides.at_server() == [(TEXT, b"changed"), (TEXT, b"two")]


async def test_a_window_too_small_for_us_means_messages_that_are_not_compressed() -> None:
    tiny = Deflate(Compression(window_bits=8), Compression())
    wire = said(TEXT, bytes.fromhex("f248cdc9c90700"), reserved=4)
    async with joined(deflate=tiny) as sides:
        seer = Seer(sides)
        seer.edits[b"Hello"] = b"changed"
        sides.client.say(wire)
        await settle()
        assert Read(MessageReader(True, 1000), [sides.server.sent]).messages == [(TEXT, b"changed")]


FATES = st.sampled_from(["pass", "edit", "drop", "unseen"])


@given(
    st.lists(
        st.tuples(
            FATES,
            st.booleans(),
            st.lists(st.text("abc €", max_size=60).map(str.encode), min_size=1, max_size=3),
        ),
        max_size=8,
    ),
    st.booleans(),
    st.integers(1, 50),
)
def test_the_receiver_can_read_whatever_becomes_of_messages(
    script: list[tuple[str, bool, list[bytes]]], takes_over: bool, chunk: int
) -> None:
    """Edited, dropped, unseen, too large to hold, compressed and not, in any order."""
    compression = Compression(takes_over=takes_over)

    async def play() -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
        limits = Limits(websocket_held=100)
        expected = []
        pack = Packer()
        async with joined(limits, Deflate(compression, compression)) as sides:
            for fate, packed, parts in script:
                whole = b"".join(parts)
                seer = Seer(sides)
                seer.edits = {whole: b"edited"} if fate == "edit" else {}
                seer.verdicts = {whole: Block("x")} if fate == "drop" else {}
                if fate == "unseen":
                    sides.hooks.websocket_message = None
                if not takes_over:
                    pack = Packer()
                wire = b""
                for place, part in enumerate(parts):
                    last, opcode = place == len(parts) - 1, CONTINUATION if place else TEXT
                    wire += pack(part, last, opcode) if packed else said(opcode, part, fin=last)
                for start in range(0, len(wire), chunk):
                    sides.client.say(wire[start : start + chunk])
                while sides.client.waiting:
                    await settle()
                await settle()
                asked = bool(seer.seen)
                if fate == "edit" and asked:
                    expected.append((TEXT, b"edited"))
                elif not (fate == "drop" and asked):
                    expected.append((TEXT, whole))
            assert sides.flow.error is None
        return sides.at_server(), expected

    got, expected = asyncio.run(play())
    assert got == expected


# --- messages of our own


async def test_a_message_is_injected_towards_either_side() -> None:
    async with joined() as sides:
        assert await sides.sockets.inject(FlowId(7), True, TEXT, b"up")
        assert await sides.sockets.inject(FlowId(7), False, BINARY, b"down")
        assert sides.at_server() == [(TEXT, b"up")]
        assert sides.at_client() == [(BINARY, b"down")]
        assert sides.seen == [("c", TEXT, b"up"), ("s", BINARY, b"down")]
        assert all(message.injected for message in sides.log)


async def test_a_message_is_injected_behind_the_one_under_way() -> None:
    first, second = frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b")
    async with joined() as sides:
        sides.server.say(first)
        await sides.client.heard(first)
        assert await sides.sockets.inject(FlowId(7), False, TEXT, b"mine")
        assert sides.client.sent == first
        sides.server.say(second + frame(TEXT, b"next"))
        await sides.client.heard(first + second + frame(TEXT, b"mine") + frame(TEXT, b"next"))


@pytest.mark.parametrize("from_client", [True, False])
async def test_a_long_message_of_our_own_leaves_others_their_turn(from_client: bool) -> None:
    payload = "é".encode() * (1024 * 1024)
    async with joined(Limits()) as sides, asyncio.TaskGroup() as group:
        injecting = group.create_task(sides.sockets.inject(FlowId(7), from_client, TEXT, payload))
        turns = 0
        while not injecting.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 8
        assert await injecting
        there = sides.at_server() if from_client else sides.at_client()
        assert there == [(TEXT, payload)]


async def test_a_long_message_of_our_own_that_comes_too_late_is_refused() -> None:
    async with joined(Limits()) as sides, asyncio.TaskGroup() as group:
        injecting = group.create_task(
            sides.sockets.inject(FlowId(7), True, BINARY, bytes(2 * 1024 * 1024))
        )
        await asyncio.sleep(0)
        sides.client.say(said(CLOSE))
        await sides.server.heard(said(CLOSE))
        assert not await injecting
        assert sides.server.sent == said(CLOSE)
        assert not any(message.injected for message in sides.log)


async def test_a_hook_may_inject_while_it_holds_a_message() -> None:
    async with joined() as sides:

        async def answer(flow: Flow, message: WebSocketMessage) -> Verdict:
            assert await sides.sockets.inject(flow.id, not message.from_client, TEXT, b"no")
            assert await sides.sockets.inject(flow.id, message.from_client, TEXT, b"first")
            return CONTINUE

        sides.hooks.websocket_message = answer
        sides.client.say(said(TEXT, b"then"))
        await settle()
        assert sides.at_client() == [(TEXT, b"no")]
        assert sides.at_server() == [(TEXT, b"first"), (TEXT, b"then")]


async def test_what_cannot_be_injected_is_refused() -> None:
    async with joined() as sides:
        inject = sides.sockets.inject
        assert not await inject(FlowId(8), True, TEXT, b"another flow")
        assert not await inject(FlowId(7), True, TEXT, b"\xff")
        assert not await inject(FlowId(7), True, CLOSE, b"")
        assert not await inject(FlowId(7), True, BINARY, bytes(1001))
        sides.server.stop_reading()
        assert not await inject(FlowId(7), True, BINARY, b"x")
        assert await inject(FlowId(7), False, BINARY, b"x")
        sides.server.read_on()
        sides.client.say(said(CLOSE))
        await settle()
        assert not await inject(FlowId(7), True, BINARY, b"x")
        assert sides.server.sent == said(CLOSE)
    assert not await sides.sockets.inject(FlowId(7), True, TEXT, b"over")


# --- what is told


async def test_news_of_many_messages_come_at_once_and_then_not_for_a_while() -> None:
    async with joined() as sides:
        for count in range(1, 50):
            sides.client.say(said(TEXT, b"x"))
            await sides.server.heard(said(TEXT, b"x") * count)
            assert sides.told_of == [1]


async def test_news_of_the_last_message_come_without_another() -> None:
    async with joined(news_interval=0.01) as sides:
        for count in range(1, 50):
            sides.client.say(said(TEXT, b"x"))
            await sides.server.heard(said(TEXT, b"x") * count)
        await until(lambda: sides.told_of[-1] == 49)


async def test_the_oldest_messages_are_forgotten_beyond_the_bound() -> None:
    limits = Limits(captured_body=100, websocket_captured=2000)
    async with joined(limits) as sides:
        for _ in range(100):
            sides.client.say(said(BINARY, b"x" * 200))
        await sides.server.heard(said(BINARY, b"x" * 200) * 100)
        log = sides.flow.web_socket
        assert log is not None
        assert log.count == 100
        assert log.forgotten == 100 - len(log.snapshot())
        assert 0 < len(log.snapshot()) < 10
        assert log.bytes <= 2000
        assert sides.flow.weight > log.bytes


# --- the handshake


def handshake(version: bytes | None, *extensions: bytes) -> Deflate | None:
    fields = [] if version is None else [(b"Sec-WebSocket-Version", version)]
    request = RequestHead(b"GET", "http", b"h", b"/", Headers(fields))
    answers = Headers([(b"sec-websocket-extensions", value) for value in extensions])
    return compression_of(request, ResponseHead(101, b"", answers))


def test_the_handshake_says_how_messages_are_compressed() -> None:
    assert handshake(b"13") is None
    assert handshake(None) is None
    assert handshake(b"13", b"permessage-deflate") == PLAIN


@pytest.mark.parametrize("answer", [(b"8",), (b"13", b"x-snappy"), (b"13", b"a;;b")])
def test_a_handshake_that_nobody_can_follow_is_told(answer: tuple[bytes, ...]) -> None:
    with pytest.raises(RemoteProtocolError):
        handshake(*answer)
