"""A connection that is put away and taken out again is one that never was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import h2.events
import pytest
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field
from proxy_core.wire import http2_folded
from proxy_core.wire.events import RequestReceived
from proxy_core.wire.http2 import Http2Engine
from proxy_core.wire.http2_budget import Http2Budget
from proxy_core.wire.http2_codes import CANCEL
from tests.wire.test_http2 import GET, POST, Notes, engine, library

OK: list[Field] = [(b":status", b"200")]
NAMES = [b"x-a", b"x-b", b"user-agent", b"accept", b"set-cookie", b"etag"]


class Fields(Notes):
    """Notes the fields of requests too."""

    def on_request(self, stream_id: int, received: RequestReceived) -> None:
        super().on_request(stream_id, received)
        self.told.append(("fields", stream_id, tuple(received.head.headers.fields)))


@dataclass
class Pair:
    """A client, and the server side of its connection, which may be put away between requests."""

    folds: bool
    client: H2Connection = field(default_factory=lambda: library(client_side=True))
    notes: Fields = field(default_factory=Fields)
    seen: list[object] = field(default_factory=list)
    now: float = 0.0
    folded: int = 0

    def __post_init__(self) -> None:
        self.server = Http2Engine(False, self.notes, budget=self.budget())
        self.notes.engine = self.server
        self.server.begin()
        self.exchange()

    def budget(self) -> Http2Budget:
        return Http2Budget(2000, 400, lambda: self.now)

    def exchange(self) -> None:
        """Carry what either side has to say until neither has more."""
        while there := self.client.data_to_send():
            while self.server.receive_data(there):
                there = b""
            for event in self.client.receive_data(self.server.take()):
                self.seen.append(shape(event))
        for event in self.client.receive_data(self.server.take()):
            self.seen.append(shape(event))

    def rest(self) -> None:
        """Let time pass; what can be put away is."""
        self.now += 100.0
        folded = self.server.fold() if self.folds else None
        if folded is not None:
            self.folded += 1
            self.server = Http2Engine(False, self.notes, budget=self.budget(), folded=folded)
            self.notes.engine = self.server

    def ask(self, fields: list[Field], body: bytes, answer: list[Field], size: int) -> int:
        number: int = self.client.get_next_available_stream_id()
        self.client.send_headers(number, [*(POST if body else GET), *fields], not body)
        if body:
            self.client.send_data(number, body, True)
        self.exchange()
        self.server.send_fields(number, [*OK, *answer], not size)
        if size:
            room = min(size, self.server.room(number), self.server.max_frame)
            self.seen.append(("room", room))
            if room:
                self.server.send_data(number, bytes(room), True)
            else:
                self.server.reset(number, CANCEL)
        self.exchange()
        self.server.forget(number)
        return number


def shape(event: object) -> tuple[object, ...]:
    """What can be compared of an event."""
    if isinstance(event, h2.events.RemoteSettingsChanged):
        return (
            "settings",
            sorted((key, each.new_value) for key, each in event.changed_settings.items()),
        )
    kept = ("stream_id", "headers", "data", "error_code", "last_stream_id", "delta", "ping_data")
    return type(event).__name__, *[getattr(event, name, None) for name in kept]


fields = st.lists(
    st.tuples(st.sampled_from(NAMES), st.binary(max_size=60).map(bytes.hex).map(str.encode)),
    max_size=6,
)
steps = st.lists(
    st.one_of(
        st.just(("rest",)),
        st.tuples(
            st.just("ask"), fields, st.binary(max_size=300), fields, st.sampled_from([0, 5, 9000])
        ),
        st.tuples(st.just("ping"), st.binary(min_size=8, max_size=8)),
        st.tuples(st.just("window"), st.integers(1, 100_000)),
        st.tuples(
            st.just("settings"),
            st.sampled_from(
                [
                    (SettingCodes.INITIAL_WINDOW_SIZE, 0),
                    (SettingCodes.INITIAL_WINDOW_SIZE, 70_000),
                    (SettingCodes.HEADER_TABLE_SIZE, 0),
                    (SettingCodes.HEADER_TABLE_SIZE, 100),
                    (SettingCodes.HEADER_TABLE_SIZE, 9999),
                    (SettingCodes.MAX_FRAME_SIZE, 20_000),
                    (SettingCodes.MAX_CONCURRENT_STREAMS, 7),
                ]
            ),
        ),
        st.just(("client gives up",)),
        st.just(("server gives up",)),
    ),
    max_size=25,
)


def take(pair: Pair, step: tuple[object, ...]) -> None:
    match step:
        case ("rest",):
            pair.rest()
        case ("ask", list(asked), bytes(body), list(answer), int(size)):
            pair.ask(asked, body, answer, size)
        case ("ping", bytes(data)):
            pair.client.ping(data)
        case ("window", int(size)):
            pair.client.increment_flow_control_window(size)
        case ("settings", (SettingCodes() as code, int(value))):
            pair.client.update_settings({code: value})
        case ("client gives up",):
            number = pair.client.get_next_available_stream_id()
            pair.client.send_headers(number, GET)
            pair.client.reset_stream(number)
            pair.exchange()
            pair.server.forget(number)
        case ("server gives up",):
            number = pair.client.get_next_available_stream_id()
            pair.client.send_headers(number, POST)
            pair.exchange()
            pair.server.reset(number, CANCEL)
            pair.server.forget(number)
        case _:
            raise AssertionError(step)
    pair.exchange()


@given(steps)
def test_a_connection_that_rests_is_like_one_that_never_does(
    steps: list[tuple[object, ...]],
) -> None:
    resting, awake = Pair(folds=True), Pair(folds=False)
    for step in steps:
        for pair in (resting, awake):
            take(pair, step)
        assert resting.notes.told == awake.notes.told
        assert resting.seen == awake.seen
    assert resting.folded == steps.count(("rest",))
    assert resting.server.peer_max_streams == awake.server.peer_max_streams
    assert resting.server.max_frame == awake.server.max_frame


def test_tables_of_the_size_of_real_ones_survive() -> None:
    pair = Pair(folds=True)
    for number in range(200):
        added = [(b"x-%d" % number, b"v" * (number % 90)), (b"cookie", b"c" * 50)]
        pair.ask(added, b"", added, 0)
        if number % 3 == 0:
            pair.rest()
    assert pair.folded == 67
    assert [note[0] for note in pair.notes.told].count("request") == 200


def test_body_behind_the_reset_of_its_stream_is_forgiven_after_a_rest_too() -> None:
    pair = Pair(folds=True)
    number = pair.client.get_next_available_stream_id()
    pair.client.send_headers(number, POST)
    pair.exchange()
    pair.client.send_data(number, b"on its way")
    on_its_way = pair.client.data_to_send()
    pair.server.reset(number, CANCEL)
    pair.server.forget(number)
    pair.exchange()
    pair.rest()
    assert pair.folded == 1
    pair.server.receive_data(on_its_way)
    assert pair.server.take() == b""
    pair.ask([], b"", [], 0)


def open_stream(pair: Pair) -> None:
    pair.client.send_headers(1, POST)
    pair.exchange()


def half_a_frame(pair: Pair) -> None:
    pair.server.receive_data(b"\0\0")


def unsent(pair: Pair) -> None:
    pair.client.ping(b"12345678")
    pair.server.receive_data(pair.client.data_to_send())


def nuisance(pair: Pair) -> None:
    for _ in range(20):
        pair.client.ping(b"12345678")
    pair.exchange()


def closed(pair: Pair) -> None:
    pair.server.close()
    pair.server.take()


@pytest.mark.parametrize("what", [open_stream, half_a_frame, unsent, nuisance, closed])
def test_what_is_under_way_keeps_a_connection_from_rest(what: Callable[[Pair], None]) -> None:
    pair = Pair(folds=True)
    pair.now += 10.0
    assert pair.server.fold() is not None
    what(pair)
    assert pair.server.fold() is None


def test_a_client_that_has_not_said_hello_cannot_be_put_away() -> None:
    server, _ = engine(client_side=False)
    server.take()
    assert server.fold() is None
    with pytest.raises(RemoteProtocolError):
        server.receive_data(b"GET / HTTP/1.1\r\n\r\n")


def test_the_library_keeps_nothing_that_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    assert http2_folded.is_understood()
    pair = Pair(folds=True)
    pair.now += 10.0
    http2_folded.is_understood.cache_clear()
    monkeypatch.setitem(http2_folded._UNDERSTOOD, "connection", {"streams"})
    try:
        assert pair.server.fold() is None
    finally:
        http2_folded.is_understood.cache_clear()
