"""What the demo site serves: bytes that are the same every time, and cheap to make."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator

import brotli
import zstandard

PIECE = 64 * 1024

_BLOCK = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(PIECE // 32))

_NAMES = ("Ada", "Barbara", "Claude", "Donald", "Edsger", "Frances", "Grace", "Hedy", "Ivan")

PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Demo shop</title>
  <link rel="stylesheet" href="/assets/style.css">
  <script src="/assets/app.js" defer></script>
</head>
<body>
  <h1>Demo shop</h1>
  <p>Everything on this page is made by a small server on your own machine.</p>
  <img src="/images/logo.png" alt="logo">
</body>
</html>
"""

STYLE = "body { font: 16px/1.5 sans-serif; margin: 2rem auto; max-width: 40rem }\n" * 40

SCRIPT = "const users = await (await fetch('/api/users')).json();\nconsole.log(users);\n" * 60


def pattern(size: int) -> Iterator[bytes]:
    """Yield `size` bytes in pieces; each piece is numbered, so that a swap of two shows."""
    for number in range(-(-size // PIECE)):
        piece = number.to_bytes(8, "big") + _BLOCK[8:]
        yield piece[: size - number * PIECE]


def pattern_sha256(size: int) -> str:
    """Return the hash of `pattern(size)`, hexadecimal."""
    digest = hashlib.sha256()
    for piece in pattern(size):
        digest.update(piece)
    return digest.hexdigest()


def as_json(value: object) -> bytes:
    """Return a JSON document."""
    return json.dumps(value, separators=(",", ":")).encode()


def user(number: int) -> dict[str, object]:
    """Return the user of that number."""
    name = _NAMES[number % len(_NAMES)]
    return {
        "id": number,
        "name": name,
        "email": f"{name.lower()}{number}@example.com",
        "roles": ["admin", "editor"] if number % 4 == 0 else ["reader"],
        "balance": number * 137 % 10_000 / 100,
        "active": number % 5 != 0,
    }


@functools.cache
def picture(edge: int = 64) -> bytes:
    """Return a PNG of `edge` x `edge` pixels: a colour gradient."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(
        b"\0" + b"".join(bytes((x * 255 // edge, y * 255 // edge, 160)) for x in range(edge))
        for y in range(edge)
    )
    header = struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "br": lambda data: bytes(brotli.compress(data, quality=5)),
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "deflate": zlib.compress,
}
