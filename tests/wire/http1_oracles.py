"""The same bytes as h11 and llhttp (by way of httptools) read them."""

from __future__ import annotations

import h11
import httptools

from tests.wire.http1_reading import Message, Reading, lowered

_LIMIT = 1_000_000


def h11_requests(data: bytes) -> Reading:
    """Read requests as an h11 server does that answers each with 204."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LIMIT)
    reading = Reading()

    def answer() -> bool:
        connection.send(h11.Response(status_code=204, headers=[]))
        connection.send(h11.EndOfMessage())
        return connection.our_state is h11.DONE

    connection.receive_data(data)
    _collect(connection, reading, answer)
    return reading


def h11_responses(data: bytes) -> Reading:
    """Read responses as an h11 client does that asks for each with GET."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LIMIT)
    reading = Reading()

    def ask() -> None:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
        connection.send(h11.EndOfMessage())

    def ask_again() -> bool:
        return connection.our_state is h11.DONE

    ask()
    connection.receive_data(data)
    while _collect(connection, reading, ask_again, once=True):
        ask()
    return reading


def _collect(
    connection: h11.Connection, reading: Reading, between: object, *, once: bool = False
) -> bool:
    """Collect events; return whether another message may be read on the connection."""
    assert callable(between)
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                start = (event.method, event.target, b"HTTP/" + event.http_version)
                reading.messages.append(Message(start, _fields(event)))
            elif isinstance(event, h11.Response | h11.InformationalResponse):
                version = b"HTTP/" + event.http_version
                start = (version, b"%d" % event.status_code, event.reason)
                reading.messages.append(Message(start, _fields(event)))
                reading.messages[-1].complete = isinstance(event, h11.InformationalResponse)
            elif isinstance(event, h11.Data):
                reading.messages[-1].body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                message = reading.messages[-1]
                message.complete = True
                message.trailers = lowered(event.headers.raw_items())
                message.keep_alive = connection.their_state is not h11.MUST_CLOSE
                if message.start[0] == b"CONNECT" or not between():
                    return False
                connection.start_next_cycle()
                if once:
                    return True
            elif isinstance(event, h11.ConnectionClosed):
                reading.closed = True
                return False
            else:
                return False
    except h11.RemoteProtocolError as error:
        reading.refusal = str(error)
    except h11.LocalProtocolError:  # start_next_cycle: the connection is not to be used again
        pass
    return False


def _fields(
    event: h11.Request | h11.Response | h11.InformationalResponse,
) -> list[tuple[bytes, bytes]]:
    return lowered(event.headers.raw_items())


class _Collector:
    """The callbacks that llhttp makes."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._url = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser | None = None

    def on_message_begin(self) -> None:
        self._url, self._fields = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_status(self, status: bytes) -> None:
        pass

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading.messages and not self._reading.messages[-1].complete:
            self._reading.messages[-1].trailers.append((name.lower(), value.rstrip(b" \t")))
        else:
            self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        parser = self.parser
        assert parser is not None
        version = b"HTTP/" + parser.get_http_version().encode()
        if isinstance(parser, httptools.HttpRequestParser):
            start: tuple[bytes, ...] = (parser.get_method(), self._url, version)
        else:
            start = (version, b"%d" % parser.get_status_code())
        self._reading.messages.append(Message(start, self._fields))
        self._reading.messages[-1].keep_alive = parser.should_keep_alive()
        self._fields = []

    def on_body(self, body: bytes) -> None:
        self._reading.messages[-1].body += body

    def on_message_complete(self) -> None:
        self._reading.messages[-1].complete = True


def llhttp_requests(data: bytes) -> Reading:
    """Read requests as llhttp does; what follows an upgrade or CONNECT is left."""
    return _llhttp(data, httptools.HttpRequestParser)


def llhttp_responses(data: bytes) -> Reading:
    """Read responses as llhttp does."""
    return _llhttp(data, httptools.HttpResponseParser)


def _llhttp(data: bytes, kind: type) -> Reading:
    reading = Reading()
    collector = _Collector(reading)
    collector.parser = kind(collector)
    try:
        collector.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        reading.closed = True
    except httptools.HttpParserError as error:
        reading.refusal = str(error)
    return reading
