"""Host functions misused: arguments that lie, storms that do not end, edits that must not stay.

Each returns what the host function answered, where that is an error, so that the log tells it.
"""

from __future__ import annotations

import struct
from typing import Final

from tests.plugin_host.guests import guest, importing, wasm
from tests.plugin_host.hostile.hostile import ENDLESS_FUEL, SPIN, Hostile

PAGE: Final = 65536
GET_BODY: Final = importing("host_get_body", 3)
SET_BODY: Final = importing("host_set_body", 2)
DELAY: Final = importing("host_delay", 1)
ASK: Final = importing("host_http_request", 4)
READ: Final = importing("host_read_file", 5)
KV_GET: Final = importing("host_kv_get", 4)
KV_SET: Final = importing("host_kv_set", 4)
COUNTER: Final = "(func ${0} (param i32 i32 i64) (result {1}))"
KV_ADD: Final = f'(import "env" "host_kv_add" {COUNTER.format("kv_add", "i64")})'
METRIC: Final = f'(import "env" "host_metric_add" {COUNTER.format("metric_add", "i32")})'
ANNOTATE: Final = importing("host_annotate", 4)
RANDOM: Final = importing("host_random", 2)
RESPOND: Final = importing("host_respond", 5)
GET_FIELD: Final = importing("host_get_field", 3)
SET_FIELD: Final = importing("host_set_field", 3)
SET_HEADER: Final = importing("host_set_header", 4)
GET_HEADERS: Final = importing("host_get_headers", 2)


def call(name: str, *numbers: int) -> str:
    return f"(call ${name} {' '.join(f'(i32.const {number})' for number in numbers)})"


def data(text: bytes, at: int = 0) -> str:
    escaped = "".join(f"\\{byte:02x}" for byte in text)
    return f'(data (i32.const {at}) "{escaped}")'


def answering(imports: str, expression: str, text: bytes = b"") -> bytes:
    """A module whose hook returns what a host function answers."""
    return guest(expression, imports=imports + data(text))


def storm(imports: str, expression: str) -> Hostile:
    """A hook that calls the host without end; each call begins with other bytes at 8."""
    body = (
        "(loop (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))"
        f" (drop {expression}) (br 0)) i32.const 0"
    )
    return Hostile(guest(body, imports=imports), "within 100 ms", ENDLESS_FUEL)


def refused(imports: str, expression: str, code: int, text: bytes = b"") -> Hostile:
    return Hostile(answering(imports, expression, text), f"failed with {code}")


def edited(imports: str, expression: str, end: str = "unreachable", text: bytes = b"x") -> bytes:
    """A module that edits something and then fails."""
    return guest(f"(drop {expression}) {end}", imports=imports + data(text))


def asking(text: bytes, code: int = -2) -> Hostile:
    return refused(ASK, call("http_request", 0, len(text), 1024, 1024), code, text)


def responding(block: bytes, status: int = 200, body: int = 0, code: int = -2) -> Hostile:
    return refused(RESPOND, call("respond", status, 0, len(block), 0, body), code, block)


def setting(name: bytes, value: bytes) -> Hostile:
    at = len(name)
    return refused(SET_HEADER, call("set_header", 0, at, at, len(value)), -2, name + value)


def block(*fields: tuple[bytes, bytes]) -> bytes:
    lengths = [len(part) for field in fields for part in field]
    texts = b"".join(part + b"\0" for field in fields for part in field)
    return struct.pack(f"<{1 + len(lengths)}I", len(fields), *lengths) + texts


_EVERY_FIELD: Final = "".join(
    f"(if (i32.ge_s (call $set_field (i32.const {number}) (i32.const 0) (i32.const {length}))"
    " (i32.const 0)) (then (return (i32.const 0))))"
    for number in (*range(40), -1, 2**31 - 1)
    for length in (1, 4, 40_000, PAGE)
)
_UNTIL_FULL: Final = (
    "(local $code i32) (loop $more"
    " (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))"
    " (local.set $code {}) (br_if $more (i32.ge_s (local.get $code) (i32.const 0))))"
    " (local.get $code)"
)

HOST_CALLS: Final[dict[str, Hostile]] = {
    # storms
    "storm of bodies read": storm(GET_BODY, call("get_body", 0, 0, PAGE)),
    "storm of bodies written": storm(SET_BODY, call("set_body", 8, 4)),
    "storm of delays": storm(DELAY, call("delay", 60_000)),
    "storm of requests": storm(ASK, call("http_request", 0, PAGE, 0, PAGE)),
    "storm of files": storm(READ, call("read_file", 0, 4096, 0, 0, PAGE)),
    "storm of keys": storm(KV_SET, call("kv_set", 8, 4, 0, 1)),
    "storm of values": storm(KV_SET, call("kv_set", 0, 1, 0, PAGE)),
    "storm of values read": storm(KV_GET, call("kv_get", 0, 1, 0, PAGE)),
    "storm of counts": storm(
        KV_ADD, "(call $kv_add (i32.const 8) (i32.const 4) (i64.const 0x7fffffffffffffff))"
    ),
    "storm of metrics": storm(
        METRIC, "(call $metric_add (i32.const 8) (i32.const 4) (i64.const -1))"
    ),
    "storm of annotations": storm(ANNOTATE, call("annotate", 0, 3, 0, 4096)),
    "storm of responses": storm(RESPOND, call("respond", 200, 0, 0, 0, PAGE)),
    "storm of fields": storm(GET_FIELD, call("get_field", 1, 0, PAGE)),
    "storm of header blocks": storm(GET_HEADERS, call("get_headers", 0, PAGE)),
    # too much
    "body beyond 16 MiB": refused(SET_BODY, call("set_body", 0, 16 * 1024 * 1024 + 1), -4),
    "body past the end": refused(SET_BODY, call("set_body", 1, PAGE), -3),
    "body into past the end": refused(GET_BODY, call("get_body", 0, 1, PAGE), -3),
    "delay of an hour": refused(DELAY, call("delay", 3_600_000), -4),
    "delay of 49 days": refused(DELAY, call("delay", -1), -4),
    "too many random bytes": refused(RANDOM, call("random", 0, PAGE + 1), -4),
    "key beyond its limit": refused(KV_SET, call("kv_set", 0, 1025, 0, 1), -4),
    "value beyond its limit": refused(KV_SET, call("kv_set", 0, 1, 0, 1024 * 1024 + 1), -4),
    "keys without end": Hostile(
        answering(KV_SET, _UNTIL_FULL.format(call("kv_set", 8, 4, 0, 1000))),
        "failed with -4",
        "[limits]\nkv_bytes = 100000",
    ),
    "metrics without end": refused(
        METRIC,
        _UNTIL_FULL.format("(call $metric_add (i32.const 8) (i32.const 4) (i64.const 1))"),
        -4,
    ),
    "metric with a long name": refused(
        METRIC, "(call $metric_add (i32.const 0) (i32.const 257) (i64.const 1))", -4
    ),
    "annotation beyond its limit": refused(ANNOTATE, call("annotate", 0, 3, 0, 4097), -4, b"tag"),
    "annotation of another kind": refused(
        ANNOTATE, call("annotate", 0, 8, 0, 8), -2, b"\x1b[2Jtags"
    ),
    # other origins, which nobody granted
    "asking without a grant": asking(b"GET http://127.0.0.1/\n\n"),
    "asking with a line break in a value": asking(b"GET http://a/\nA: b\rC: d\n\n"),
    "asking with fields of its own framing": asking(b"GET http://a/\nContent-Length: 9\n\n"),
    "asking with another host": asking(b"GET http://a/\r\nHost: b\r\n\r\n"),
    "asking for a second request": asking(
        b"GET http://a/ HTTP/1.1\r\n\r\nGET http://b/ HTTP/1.1\r\n\r\n"
    ),
    "asking by CONNECT": asking(b"CONNECT http://a/\n\n"),
    "asking for a file": asking(b"GET file:///etc/passwd\n\n"),
    "asking with nothing": asking(b" \n\n"),
    "asking with bytes that are no text": asking(b"GET http://\xff\xfe/\n\n"),
    "asking with 1 MiB and more": refused(ASK, call("http_request", 0, 1024 * 1024 + 1, 0, 0), -4),
    "asking past the end": refused(ASK, call("http_request", 1, PAGE, 0, 0), -3),
    "asking into past the end": refused(ASK, call("http_request", 0, 1, 1, PAGE), -3),
    # files, which nobody granted
    "reading without a grant": refused(
        READ, call("read_file", 0, 11, 0, 1024, 1024), -2, b"/etc/passwd"
    ),
    # responses that lie
    "response of status 0": responding(b"", status=0),
    "response of status -1": responding(b"", status=-1),
    "response of status 101": responding(b"", status=101),
    "response of status 600": responding(b"", status=600),
    "response without a body that has one": responding(b"", status=204, body=1),
    "response with more fields than it says": responding(block((b"a", b"b"))[:-1]),
    "response with fewer fields than it says": responding(b"\2" + block((b"a", b"b"))[1:]),
    "response with 4 billion fields": responding(b"\xff" * 4 + block((b"a", b"b"))[4:]),
    "response with a field of 4 GiB": responding(
        struct.pack("<3I", 1, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(10)
    ),
    "response with no zero behind a name": responding(block((b"a", b"b")).replace(b"a\0", b"aa")),
    "response with a broken line": responding(block((b"a", b"b\r\nc: d"))),
    "response with another length": responding(block((b"content-length", b"5"))),
    "response with trailing bytes": responding(block((b"a", b"b")) + b"\0"),
    "response with headers of 1 MiB": refused(
        RESPOND, call("respond", 200, 0, 1024 * 1024, 0, 0), -4
    ),
    "response of 16 MiB and more": refused(
        RESPOND, call("respond", 200, 0, 0, 0, 16 * 1024 * 1024 + 1), -4
    ),
    # heads that would break the message
    "header with a broken line": setting(b"X", b"a\r\nB: c"),
    "header with a zero": setting(b"X", b"a\0b"),
    "header with a name that ends": setting(b"X: y", b"z"),
    "header with an empty name": setting(b"", b"z"),
    "header with a name in another alphabet": setting("é".encode(), b"z"),
    "header that frames": setting(b"Transfer-Encoding", b"chunked"),
    "header that names the host": setting(b"HOST", b"elsewhere"),
    "garbage in every field": Hostile(
        guest(_EVERY_FIELD + "i32.const -9", imports=SET_FIELD + data(b"\0\xff\r\n")),
        "failed with -9",
    ),
    # edits that must not stay
    "body and then a trap": Hostile(edited(SET_BODY, call("set_body", 0, 1)), "trapped"),
    "body and then a failure": Hostile(
        edited(SET_BODY, call("set_body", 0, 1), "i32.const -1"), "failed with -1"
    ),
    "body and then no fuel": Hostile(
        edited(SET_BODY, call("set_body", 0, 1), f"{SPIN} i32.const 0"), "used up its fuel"
    ),
    "delay and then a trap": Hostile(edited(DELAY, call("delay", 60_000)), "trapped"),
    "URL and then a trap": Hostile(
        edited(SET_FIELD, call("set_field", 1, 0, 9), text=b"http://b/"), "trapped"
    ),
    "other message and then a trap": Hostile(
        edited(SET_FIELD, call("set_field", 16, 0, 7), text=b"request"), "trapped"
    ),
}


def _function(body: str, more: str = "") -> bytes:
    return wasm(f'(module {more} (func (export "on_request") (result i32) {body}))')


def _nested(depth: int) -> str:
    return "(block " * depth + ")" * depth


ODD_SHAPES: Final[dict[str, bytes]] = {
    "a table of 50,000 branches": _function(
        f"(block (br_table {'0 ' * 50_000} (i32.const 7))) i32.const 0"
    ),
    "20,000 locals": _function(f"(local {'i64 ' * 20_000}) i32.const 0"),
    "500 nested blocks": _function(f"{_nested(500)} i32.const 0"),
    "10,000 pieces of data": wasm(
        '(module (memory (export "memory") 1)'
        + "".join(f'(data (i32.const {at}) "x")' for at in range(10_000))
        + '(func (export "on_request") (result i32) i32.const 0))'
    ),
    "10,000 elements": _function(
        "i32.const 0", f"(table funcref (elem {'$f ' * 10_000})) (func $f)"
    ),
    "20,000 functions": _function("i32.const 0", "(func)" * 20_000),
    "5,000 types": _function(
        "i32.const 0", "".join(f"(type (func (param {'i32 ' * (n % 50)})))" for n in range(5_000))
    ),
    "1000 parameters": _function("i32.const 0", f"(func (param {'i32 ' * 1000}))"),
    "5,000 globals": _function("i32.const 0", "(global (mut i64) (i64.const 1))" * 5_000),
    "900 exports": _function(
        "i32.const 0", "(func $f)" + "".join(f'(export "e{n}" (func $f))' for n in range(900))
    ),
    "10,000 constants in a row": _function("(drop (i64.const 1))" * 10_000 + " i32.const 0"),
}
"""Modules that are valid, and of a shape that no compiler makes: they are loaded, or refused."""
