"""Generated HTTP/1 messages: sound ones, and what a hostile or careless peer makes of them.

Seeded generators rather than strategies: a differential test wants thousands of messages a second,
and these are short enough to be read without shrinking.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random

ROUNDS = int(os.environ.get("INT3_TEST_FUZZ_ROUNDS", "1500"))
"""Messages a test generates; more of them find rarer things."""

TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TEXT = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
NASTY = [
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"\x0b", b"\x7f", b"\x80", b"\xff",
    b"0", b"1", b"a", b"A", b"_", b"-", b"+", b'"', b"/", b"#", b"chunked", b"HTTP/1.1", b"Host: x",
    b"\r\n ", b"\r\n\r\n", b"\n\n", b"\r\n\t", b" :", b"Content-Length: 3\r\n", b"\r\nA: b\rC: d",
    b"Transfer-Encoding: chunked\r\n", b"\nContent-Length: 5\r\n", b"\nTransfer-Encoding: x\n",
]  # fmt: skip

_MEANINGFUL = (
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"upgrade",
    b"te",
    b"expect",
)

Maker = Callable[[Random], bytes]


def field_lines(rng: Random) -> bytes:
    """Zero or more lines that mean nothing to framing."""
    return b"".join(_field_line(rng) for _ in range(rng.randint(0, 3)))


def _field_line(rng: Random) -> bytes:
    name = bytes(rng.choices(TOKEN, k=rng.randint(1, 8)))
    if name.lower() in _MEANINGFUL:
        name += b"-x"
    value = bytes(rng.choices(TEXT, k=rng.randint(0, 12)))
    return name + b":" + rng.choice((b"", b" ", b"\t", b"  ")) + value + b"\r\n"


def chunked(rng: Random, body: bytes) -> bytes:
    """The body in chunks of any sizes, with or without extensions and trailers."""
    out = []
    while body:
        size = rng.randint(1, len(body))
        digits = rng.choice((b"%x", b"%X", b"0%x", b"000%X")) % size
        extension = rng.choice((b"", b"", b";a", b';a="b"', b" "))
        out.append(digits + extension + b"\r\n" + body[:size] + b"\r\n")
        body = body[size:]
    out.append(rng.choice((b"0", b"000", b"0;x")) + b"\r\n")
    return b"".join(out) + field_lines(rng) + b"\r\n"


def _framed(rng: Random) -> tuple[bytes, bytes]:
    """Framing lines and the body that fits them."""
    body = rng.randbytes(rng.randint(0, 20))
    kind = rng.randint(0, 2)
    if kind == 0:
        return b"", b""
    if kind == 1:
        return b"Content-Length:%b%d\r\n" % (rng.choice((b"", b" ", b"\t")), len(body)), body
    name = rng.choice((b"Transfer-Encoding", b"transfer-encoding"))
    return name + b": " + rng.choice((b"chunked", b"Chunked")) + b"\r\n", chunked(rng, body)


def _connection(rng: Random) -> bytes:
    options = (b"", b"", b"", b"close", b"keep-alive", b"keep-alive, x-private", b"x, Close")
    option = rng.choice(options)
    return b"Connection: " + option + b"\r\n" if option else b""


def request(rng: Random) -> bytes:
    """One sound request."""
    method = rng.choice((b"GET", b"POST", b"PUT", b"OPTIONS", b"DELETE", b"HEAD"))
    target = rng.choice((b"/", b"/a/b?c=d", b"//x", b"http://h/x?y", b"http://h:8080", b"/%20'~"))
    framing, body = _framed(rng)
    version = rng.choice((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"))
    if framing.lower().startswith(b"transfer"):
        version = b"HTTP/1.1"
    lines = [b"Host: h\r\n", framing, _connection(rng), field_lines(rng)]
    rng.shuffle(lines)
    return method + b" " + target + b" " + version + b"\r\n" + b"".join(lines) + b"\r\n" + body


def response(rng: Random) -> bytes:
    """One sound response to GET."""
    status = rng.choice((b"200 OK", b"404 Not Found", b"500 ", b"299 \xe4", b"201", b"304 No"))
    framing, body = _framed(rng)
    if status.startswith(b"304"):
        body = b""
    elif not framing:
        framing = b"Content-Length: 0\r\n"
    lines = [framing, _connection(rng), field_lines(rng)]
    rng.shuffle(lines)
    return b"HTTP/1.1 " + status + b"\r\n" + b"".join(lines) + b"\r\n" + body


def mutate(rng: Random, data: bytes) -> bytes:
    """Put a few bytes in, take some out, double or replace some."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randint(0, len(data))
        to = min(len(data), at + rng.choice((0, 1, 1, 2, 4, 8, 20)))
        nasty = rng.choice(NASTY)
        kind = rng.randint(0, 3)
        if kind == 0:
            data = data[:at] + nasty + data[at:]
        elif kind == 1:
            data = data[:at] + data[to:]
        elif kind == 2:
            data = data[:to] + data[at:to] + data[to:]
        else:
            data = data[:at] + nasty + data[to:]
    return data


def sound(make: Maker, seed: int, rounds: int = ROUNDS) -> Iterator[bytes]:
    """Yield one to three sound messages at a time."""
    rng = Random(seed)
    for _ in range(rounds):
        yield b"".join(make(rng) for _ in range(rng.randint(1, 3)))


def broken(make: Maker, seed: int, rounds: int = ROUNDS) -> Iterator[bytes]:
    """Yield one or two messages at a time with something wrong, most of the time."""
    rng = Random(seed)
    for _ in range(rounds):
        yield mutate(rng, b"".join(make(rng) for _ in range(rng.randint(1, 2))))
