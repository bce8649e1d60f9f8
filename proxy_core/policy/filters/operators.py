"""The operators of the filter language, one table; what they do is in `predicates`.

Names and meanings are mitmproxy's, except for those under EXTENSIONS (docs/filters.md).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Operand(enum.Enum):
    """What stands behind an operator."""

    NONE = "nothing"
    REGEX = "regex"
    NUMBER = "number"
    SIZE = "size"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: `~name`, its operand, and a line of help."""

    name: str
    operand: Operand
    help: str
    lines: bool = False
    """Of a regex: ^ and $ match at each line."""
    binary: bool = False
    """Of a regex: what it searches need not be text."""


def _plain(name: str, text: str) -> Operator:
    return Operator(name, Operand.NONE, text)


def _regex(name: str, text: str) -> Operator:
    return Operator(name, Operand.REGEX, text)


def _lines(name: str, text: str) -> Operator:
    return Operator(name, Operand.REGEX, text, lines=True)


def _bytes(name: str, text: str) -> Operator:
    return Operator(name, Operand.REGEX, text, binary=True)


_MITMPROXY = (
    _bytes("b", "body, or a WebSocket message, either way"),
    _bytes("bq", "request body, or a message from the client"),
    _bytes("bs", "response body, or a message from the server"),
    _lines("comment", "comment"),
    _regex("d", "host name of the request"),
    _regex("dst", "address of the server, host:port"),
    _lines("h", "header line, name: value, either way"),
    _lines("hq", "header line of the request"),
    _lines("hs", "header line of the response"),
    _regex("m", "method"),
    _regex("marker", "mark"),
    _lines("meta", "anything noted on the flow, name: value"),
    _regex("src", "address of the client, ip:port"),
    _regex("t", "content type, either way"),
    _regex("tq", "content type of the request"),
    _regex("ts", "content type of the response"),
    _regex("u", "URL"),
    Operator("c", Operand.NUMBER, "status: 404, 4xx, 400-499, >=400"),
    _plain("a", "asset: the response is CSS, JavaScript, an image or a font"),
    _plain("all", "every flow"),
    _plain("dns", "DNS: none here"),
    _plain("e", "failed"),
    _plain("http", "HTTP, WebSockets included"),
    _plain("marked", "marked"),
    _plain("q", "request without a response yet"),
    _plain("replay", "replayed"),
    _plain("replayq", "replayed request"),
    _plain("replays", "response served from a recording"),
    _plain("s", "has a response"),
    _plain("tcp", "tunnel of bytes"),
    _plain("udp", "UDP: none here"),
    _plain("websocket", "WebSocket"),
)

EXTENSIONS = (
    _regex("by", "who changed it: plugin NAME, rule NAME"),
    _regex("colour", "colour"),
    _lines("note", "what the proxy remarked about it"),
    _regex("tag", "tag"),
    _plain("held", "waits for you"),
    Operator("id", Operand.NUMBER, "number of the flow"),
    Operator("size", Operand.SIZE, "bytes of both bodies: >10k, 1m-5m"),
    Operator("sizeq", Operand.SIZE, "bytes of the request's body"),
    Operator("sizes", Operand.SIZE, "bytes of the response's body"),
    Operator("time", Operand.TIME, "from first byte to last: >500ms, 1s-5s"),
)

OPERATORS = {operator.name: operator for operator in (*_MITMPROXY, *EXTENSIONS)}
"""Every operator by its name."""
