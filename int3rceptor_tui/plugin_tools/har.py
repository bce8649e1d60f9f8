"""Reading HAR 1.2 archives: bounded, checked, and turned into flows.

What a proxy would never have carried (data: and blob: URLs, CONNECT) is left out and counted.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from proxy_core.errors import ConfigError, PluginError
from proxy_core.model.connection import ClientConnection, ServerConnection
from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.headers import Field, Headers
from proxy_core.model.ids import ConnectionId, FlowId
from proxy_core.model.message import HTTP_2, HTTP_10, HTTP_11, RequestHead, ResponseHead
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host.files.module_file import read_file
from proxy_core.plugin_host.hook.edit_rules import HEADER_COUNT, is_reason, split_url
from proxy_core.plugin_host.recorded.rerun import Payload, Recording
from proxy_core.wire.content_coding import can_encode, decode_body, encode_body
from proxy_core.wire.websocket import BINARY

HAR_BYTES: Final = 64 * 1024 * 1024
ENTRIES: Final = 10_000
_BODY_BYTES: Final = 16 * 1024 * 1024
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F)))
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class HarError(ConfigError):
    """An archive that is not one, or is too large."""


class _Pair(msgspec.Struct):
    name: str
    value: str


class _Content(msgspec.Struct, rename="camel"):
    text: str | None = None
    encoding: str | None = None


class _Request(msgspec.Struct, rename="camel"):
    method: str
    url: str
    headers: list[_Pair]
    http_version: str = "HTTP/1.1"
    post_data: _Content | None = None


class _Response(msgspec.Struct, rename="camel"):
    status: int
    headers: list[_Pair]
    status_text: str = ""
    http_version: str = "HTTP/1.1"
    content: _Content | None = None


class _Message(msgspec.Struct, rename="camel"):
    type: str
    opcode: int
    data: str
    time: float = 0.0


class _Entry(msgspec.Struct, rename="camel"):
    request: _Request
    response: _Response
    started_date_time: str = ""
    server_address: str = msgspec.field(name="serverIPAddress", default="")
    connection: str | None = None
    messages: list[_Message] = msgspec.field(name="_webSocketMessages", default_factory=list)
    """Of a WebSocket, as browsers write them."""


class _Log(msgspec.Struct):
    entries: list[_Entry]


class _Archive(msgspec.Struct):
    log: _Log


@dataclass(frozen=True, slots=True)
class Recorded:
    """One exchange of an archive; `number` is its place there, from 1."""

    number: int
    request: RequestHead
    request_body: bytes
    response: ResponseHead | None
    response_body: bytes
    started: float
    """Seconds since the epoch."""
    server: str
    """The origin's address; empty where the archive names none."""
    connection: str
    """Exchanges with one value came over one connection."""

    messages: Sequence[WebSocketMessage] = ()

    def recording(self, connects: bool = True) -> Recording:
        """Make what is run again; `connects` is false where the connection stands already."""
        head = self.request
        server = None
        if self.response is not None:
            server = ServerConnection(ConnectionId(self.number), head.host, head.port)
            server.peer = (self.server, head.port) if self.server else None
        return Recording(
            Flow(FlowId(self.number), self._client(), head, self.started, _BODY_BYTES),
            Payload(self.request_body),
            self.response,
            Payload(self.response_body),
            server,
            self.started,
            self.started,
            bool(self.messages),
            self.messages,
            connects,
        )

    def finished(self) -> Flow:
        """Make the flow as it was in the end."""
        recording = self.recording()
        flow = recording.flow
        flow.request_body.feed(self.request_body)
        flow.response_body.feed(self.response_body)
        flow.response, flow.server = recording.response, recording.server
        flow.first_byte, flow.ended = recording.first_byte, recording.ended
        flow.state = FlowState.DONE
        if recording.is_websocket:
            flow.kind = FlowKind.WEBSOCKET
        return flow

    def _client(self) -> ClientConnection:
        """A client: the archive does not say who it was."""
        here = ("127.0.0.1", 8080)
        return ClientConnection(
            ConnectionId(self.number), ("192.0.2.1", 50_000), here, "regular", self.started
        )


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive held."""

    exchanges: Sequence[Recorded]
    skipped: int
    """Entries that no proxy would have carried."""


def read_har(path: Path) -> Archive:
    """Read an archive. Raises HarError."""
    try:
        data = read_file(path, HAR_BYTES)
    except PluginError as error:
        raise HarError(f"{error}; name a HAR archive of at most {HAR_BYTES} bytes") from error
    return parse_har(data, path.name)


def parse_har(data: bytes, name: str) -> Archive:
    """Read an archive's bytes; `name` is for messages. Raises HarError."""
    try:
        archive = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=_Archive)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HarError(f"{name} is not a HAR 1.2 archive: {error}") from error
    entries = archive.log.entries
    if len(entries) > ENTRIES:
        raise HarError(f"{name} has {len(entries)} entries; at most {ENTRIES} are taken, split it")
    exchanges = []
    for number, entry in enumerate(entries, 1):
        try:
            recorded = _recorded(number, entry)
        except ValueError as error:
            raise HarError(f"{name}, entry {number}: {error}") from error
        if recorded is not None:
            exchanges.append(recorded)
    return Archive(exchanges, len(entries) - len(exchanges))


def _recorded(number: int, entry: _Entry) -> Recorded | None:
    asked, answered = entry.request, entry.response
    scheme, colon, rest = asked.url.partition("://")
    wire_scheme = _SCHEMES.get(scheme.lower())
    if not colon or wire_scheme is None or asked.method == "CONNECT":
        return None
    if _TOKEN.fullmatch(asked.method) is None:
        raise ValueError(f"method {asked.method[:40]!r} is none")
    raw_url = quote(f"{wire_scheme}://{rest.partition('#')[0]}", safe=_VISIBLE).encode()
    parts = split_url(raw_url)
    if parts is None:
        raise ValueError(f"URL {asked.url[:200]!r} cannot be sent; it needs a host, and no user")
    _, authority, target = parts
    version = _version(asked.http_version)
    fields = Headers(_fields(asked.headers, version))
    head = RequestHead(asked.method.encode(), wire_scheme, authority, target, fields, version)
    response = _response(answered)
    return Recorded(
        number,
        head,
        _on_the_wire(_body(asked.post_data), head),
        response,
        _on_the_wire(_body(answered.content), response),
        _time(entry.started_date_time),
        entry.server_address.strip("[]"),
        entry.connection or f"{wire_scheme}://{authority.decode('latin-1')}",
        [_message(message) for message in entry.messages],
    )


def _response(answered: _Response) -> ResponseHead | None:
    if answered.status <= 0:  # what browsers write where nothing came
        return None
    if not 100 <= answered.status <= 599:
        raise ValueError(f"status {answered.status} is none; it must be from 100 to 599")
    reason = answered.status_text.encode()
    if not is_reason(reason):
        raise ValueError(f"status text {answered.status_text[:40]!r} cannot be sent")
    version = _version(answered.http_version)
    fields = _fields(answered.headers, version)
    return ResponseHead(answered.status, reason, Headers(fields), version)


def _fields(pairs: list[_Pair], version: str) -> list[Field]:
    fields: list[Field] = []
    for pair in pairs:
        if pair.name.startswith(":"):
            continue  # HTTP/2's pseudo-header fields, which browsers write among the others
        if _TOKEN.fullmatch(pair.name) is None:
            raise ValueError(f"header name {pair.name[:40]!r} cannot be sent")
        name = pair.name.lower() if version == HTTP_2 else pair.name
        for value in pair.value.split("\n"):  # which is how browsers join repeated fields
            text = value.strip(" \t\r")
            if _NOT_IN_VALUES.search(text) is not None:
                raise ValueError(f"header {pair.name[:40]!r} has a control character in its value")
            fields.append((name.encode(), text.encode()))
    if len(fields) > HEADER_COUNT:
        raise ValueError(f"{len(fields)} headers; at most {HEADER_COUNT} are taken")
    return fields


def _version(text: str) -> str:
    lowered = text.lower()
    if lowered == "http/1.0":
        return HTTP_10
    return HTTP_2 if lowered.startswith(("h2", "h3", "http/2", "http/3")) else HTTP_11


def _body(content: _Content | None) -> bytes:
    if content is None or not content.text:
        return b""
    if content.encoding == "base64":
        try:
            return base64.b64decode(content.text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"a body is not base64: {error}") from error
    return content.text.encode()


def _on_the_wire(body: bytes, head: RequestHead | ResponseHead | None) -> bytes:
    """Return a body with its content codings, which archives keep without them."""
    field = None if head is None else head.headers.get(b"content-encoding")
    if not body or field is None:
        return body
    encoding = field.decode("latin-1")
    is_coded = not decode_body(body, encoding).notes
    return body if is_coded or not can_encode(encoding) else encode_body(body, encoding)


def _message(message: _Message) -> WebSocketMessage:
    if message.opcode == BINARY:
        data = _body(_Content(message.data, "base64"))
    else:
        data = message.data.encode()
    return WebSocketMessage(
        message.type == "send", message.opcode, message.time, data[:_BODY_BYTES], len(data)
    )


def _time(text: str) -> float:
    try:
        at = datetime.datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
