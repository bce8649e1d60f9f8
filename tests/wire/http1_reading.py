"""What a reader makes of bytes, in a form in which two readers can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy_core.errors import RemoteProtocolError
from proxy_core.wire.events import EndOfMessage, RequestReceived, ResponseReceived
from proxy_core.wire.http1 import ConnectionClosed, RequestReader, ResponseReader

Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """One message; `complete` once its end was read. Field names in lower case."""

    start: tuple[bytes, ...]
    """Method, target and version; or version, status and reason."""
    fields: Fields
    keep_alive: bool | None = None
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    complete: bool = False


@dataclass
class Reading:
    """Everything that was read up to the end, a refusal, or a message that must be the last."""

    messages: list[Message] = field(default_factory=list)
    refusal: str | None = None
    status: int | None = None
    closed: bool = False


def lowered(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    return [(name.lower(), value) for name, value in fields]


def read_requests(pieces: Iterable[bytes], reader: RequestReader | None = None) -> Reading:
    """Feed `pieces` (b"" for the end of input) and collect what comes out."""
    reader = reader or RequestReader("http")
    reading = Reading()
    try:
        for piece in pieces:
            reader.receive_data(piece)
            while (event := reader.next_event()) is not None:
                match event:
                    case RequestReceived():
                        reading.messages.append(_request(event))
                    case ConnectionClosed():
                        reading.closed = True
                        return reading
                    case EndOfMessage():
                        if _end(reading.messages[-1], event):
                            return reading
                        reader.start_next()
                    case bytes():
                        reading.messages[-1].body += event
    except RemoteProtocolError as error:
        reading.refusal, reading.status = str(error), error.status
    return reading


def read_responses(
    pieces: Iterable[bytes], method: bytes = b"GET", reader: ResponseReader | None = None
) -> Reading:
    """The same for an origin's answers, each to a request with `method`."""
    reader = reader or ResponseReader()
    reader.expect(method)
    reading = Reading()
    try:
        for piece in pieces:
            reader.receive_data(piece)
            while (event := reader.next_event()) is not None:
                match event:
                    case ResponseReceived():
                        reading.messages.append(_response(event))
                        if event.informational:
                            reading.messages[-1].complete = True
                            reader.await_final()
                        elif event.upgrade is not None:
                            return reading
                    case ConnectionClosed():
                        reading.closed = True
                        return reading
                    case EndOfMessage():
                        if _end(reading.messages[-1], event):
                            return reading
                        reader.start_next()
                    case bytes():
                        reading.messages[-1].body += event
    except RemoteProtocolError as error:
        reading.refusal, reading.status = str(error), error.status
    return reading


def _request(event: RequestReceived) -> Message:
    start = tuple(event.head.raw.partition(b"\r\n")[0].split(b" "))
    return Message(start, lowered(event.head.headers.fields), event.keep_alive)


def _response(event: ResponseReceived) -> Message:
    head = event.head
    start = (head.version.encode(), b"%d" % head.status, head.reason)
    return Message(start, lowered(head.headers.fields), event.keep_alive)


def _end(message: Message, event: EndOfMessage) -> bool:
    """Note the end; return whether nothing may follow on the connection."""
    message.complete = True
    message.trailers = lowered(event.trailers or [])
    return not message.keep_alive or message.start[0] == b"CONNECT"


def every_split(data: bytes) -> Iterable[list[bytes]]:
    """Yield `data` in two pieces, cut at every byte, and in single bytes."""
    for cut in range(1, len(data)):
        yield [data[:cut], data[cut:]]
    yield [data[i : i + 1] for i in range(len(data))]
