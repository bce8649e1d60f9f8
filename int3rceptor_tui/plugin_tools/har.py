"""Reading HAR 1.2 archives: bounded, checked, and turned into flows.

What a proxy would never have carried (data: and blob: URLs, CONNECT) is left out, and so is what
cannot be sent; an archive is taken as long as something is left of it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from int3rceptor_tui.plugin_tools.har_format import (
    Content,
    Entry,
    HarError,
    Message,
    Pair,
    Response,
    bytes_of,
    entries_of,
    entry_of,
    form_of,
    text_of,
)
from int3rceptor_tui.view_model.body_text import charset_of
from proxy_core.errors import PluginError
from proxy_core.model.connection import ClientConnection, ServerConnection
from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.headers import Field, Headers
from proxy_core.model.ids import ConnectionId, FlowId
from proxy_core.model.message import HTTP_2, HTTP_10, HTTP_11, RequestHead, ResponseHead
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.model.words import counted
from proxy_core.plugin_host.files.module_file import read_file
from proxy_core.plugin_host.hook.edit_rules import HEADER_COUNT, is_reason, split_url
from proxy_core.plugin_host.recorded.rerun import Payload, Recording
from proxy_core.wire.content_coding import can_encode, decode_body, encode_body
from proxy_core.wire.websocket import BINARY, TEXT

HAR_BYTES: Final = 256 * 1024 * 1024
_BODY_BYTES: Final = 16 * 1024 * 1024
_LATEST: Final = 2.0**63 / 1e9
"""Seconds since the epoch that a plugin's clock can show."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F)))
_AS_BROWSERS: Final = {"iso8859-1": "cp1252", "ascii": "cp1252"}
"""What browsers take these charsets for."""
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class _NeverCarried(ValueError):
    """An entry that is nothing for a proxy."""


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
class LeftOut:
    """An entry that cannot be run again, and why; `expected` where no proxy would carry it."""

    number: int
    why: str
    expected: bool


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive held."""

    exchanges: Sequence[Recorded]
    left_out: Sequence[LeftOut]


def read_har(path: Path) -> Archive:
    """Read an archive. Raises HarError."""
    try:
        data = read_file(path, HAR_BYTES)
    except PluginError as error:
        raise HarError(
            f"--flows {path}: {error}; name a HAR archive of at most {HAR_BYTES} bytes"
        ) from error
    return parse_har(data, path.name)


def parse_har(data: bytes, name: str) -> Archive:
    """Read an archive's bytes; `name` is for messages. Raises HarError.

    It is wrong as a whole where nothing of it can be run, and something should.
    """
    exchanges: list[Recorded] = []
    left_out: list[LeftOut] = []
    for number, raw in enumerate(entries_of(data, name), 1):
        try:
            exchanges.append(_recorded(number, entry_of(raw)))
        except ValueError as error:
            left_out.append(LeftOut(number, str(error), isinstance(error, _NeverCarried)))
    odd = [one for one in left_out if not one.expected]
    if odd and not exchanges:
        more = f"; nor can {counted(len(odd) - 1, 'other')}" if len(odd) > 1 else ""
        raise HarError(f"{name}, entry {odd[0].number} cannot be run: {odd[0].why}{more}")
    return Archive(exchanges, left_out)


def _recorded(number: int, entry: Entry) -> Recorded:
    asked, answered = entry.request, entry.response or Response()
    if asked.method == "CONNECT":
        raise _NeverCarried("a tunnel")
    if _TOKEN.fullmatch(asked.method) is None:
        raise ValueError(f"method {asked.method[:40]!r} is none")
    scheme, authority, target = _url(asked.url)
    version = _version(text_of(asked.http_version))
    fields = Headers(_fields(asked.headers, version))
    head = RequestHead(asked.method.encode(), scheme, authority, target, fields, version)
    response = _response(answered)
    return Recorded(
        number,
        head,
        _on_the_wire(_body(asked.post_data, head), head),
        response,
        _on_the_wire(_body(answered.content, response), response),
        _time(text_of(entry.started_date_time)),
        _address(text_of(entry.server_address)),
        text_of(entry.connection) or f"{scheme}://{authority.decode('latin-1')}",
        [_message(message) for message in entry.messages or () if _was_sent(message)],
    )


def _url(url: str) -> tuple[str, bytes, bytes]:
    scheme, colon, rest = url.partition("://")
    wire_scheme = _SCHEMES.get(scheme.lower())
    if not colon or wire_scheme is None:
        raise _NeverCarried(f"URL {url[:40]!r} is not for a proxy")
    rest = rest.partition("#")[0]
    end = re.search("[/?]|$", rest).start()  # type: ignore[union-attr]  # the end is always there
    authority = rest[:end].rpartition("@")[2]  # a user and password are sent in a header
    if not authority.isascii():
        authority = authority.encode("idna").decode()
    text = quote(f"{wire_scheme}://{authority}{rest[end:]}", _VISIBLE, errors="surrogateescape")
    parts = split_url(text.encode())
    if parts is None:
        raise ValueError(f"URL {url[:200]!r} cannot be sent; it needs a host")
    return parts


def _response(answered: Response) -> ResponseHead | None:
    status = answered.status or 0
    if status <= 0:  # what browsers write where nothing came
        return None
    if not 100 <= status <= 599:
        raise ValueError(f"status {status} is none; it must be from 100 to 599")
    text = text_of(answered.status_text)
    reason = bytes_of(text)
    if not is_reason(reason):
        raise ValueError(f"status text {text[:40]!r} cannot be sent")
    version = _version(text_of(answered.http_version))
    return ResponseHead(status, reason, Headers(_fields(answered.headers, version)), version)


def _fields(pairs: list[Pair] | None, version: str) -> list[Field]:
    fields: list[Field] = []
    for pair in pairs or ():
        if pair.name.startswith(":"):
            continue  # HTTP/2's pseudo-header fields, which browsers write among the others
        name = pair.name.strip()
        if _TOKEN.fullmatch(name) is None:
            raise ValueError(f"header name {pair.name[:40]!r} cannot be sent")
        if version == HTTP_2:
            name = name.lower()
        for value in text_of(pair.value).split("\n"):  # how browsers join repeated fields
            text = value.strip(" \t\r")
            if _NOT_IN_VALUES.search(text) is not None:
                raise ValueError(f"header {name[:40]!r} has a control character in its value")
            fields.append((name.encode(), bytes_of(text)))
    if len(fields) > HEADER_COUNT:
        raise ValueError(f"{len(fields)} headers; at most {HEADER_COUNT} are taken")
    return fields


def _version(text: str) -> str:
    lowered = text.lower()
    if lowered == "http/1.0":
        return HTTP_10
    return HTTP_2 if lowered.startswith(("h2", "h3", "http/2", "http/3")) else HTTP_11


def _body(content: Content | None, head: RequestHead | ResponseHead | None) -> bytes:
    if content is None:
        return b""
    declared = None if head is None else head.headers.get(b"content-type")
    kind = text_of(content.mime_type) if declared is None else declared.decode("latin-1")
    if not content.text:
        return form_of(content, kind) if content.params else b""
    if text_of(content.encoding).lower() == "base64":
        return _decoded(content.text)
    return _in_charset(content.text, kind)


def _in_charset(text: str, content_type: str) -> bytes:
    """Return a body's bytes, which archives keep as text; UTF-8 where its charset has no such."""
    charset = charset_of(content_type)
    for name in () if charset is None else (charset, _AS_BROWSERS.get(charset)):
        if name is not None:
            with contextlib.suppress(LookupError, ValueError):
                return text.encode(name, "surrogateescape")
    return bytes_of(text)


def _decoded(text: str) -> bytes:
    packed = "".join(text.split())
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a body is not base64: {error}") from error


def _on_the_wire(body: bytes, head: RequestHead | ResponseHead | None) -> bytes:
    """Return a body with its content codings, which archives keep without them."""
    field = None if head is None else head.headers.get(b"content-encoding")
    if not body or field is None:
        return body
    encoding = field.decode("latin-1")
    is_coded = not decode_body(body, encoding).notes
    return body if is_coded or not can_encode(encoding) else encode_body(body, encoding)


def _was_sent(message: Message) -> bool:
    """Whether it is a message; browsers write errors among them, and others control frames."""
    return message.type in ("send", "receive") and message.opcode in (TEXT, BINARY)


def _message(message: Message) -> WebSocketMessage:
    data = _decoded(message.data) if message.opcode == BINARY else bytes_of(message.data)
    return WebSocketMessage(
        message.type == "send", message.opcode, message.time or 0.0, data[:_BODY_BYTES], len(data)
    )


def _address(text: str) -> str:
    """Return an address; some tools write a name there, or nothing."""
    try:
        return str(ipaddress.ip_address(text.strip("[] ")))
    except ValueError:
        return ""


def _time(text: str) -> float:
    try:
        at = datetime.datetime.fromisoformat(text)
        seconds = (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return seconds if 0 <= seconds < _LATEST else 0.0
