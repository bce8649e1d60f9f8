"""Who may use the proxy by name: `user:password`, or a file in htpasswd's format."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt

from proxy_core.errors import ConfigError

_MAX_FILE = 4 * 1024 * 1024
_ITOA64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BCRYPT = ("$2y$", "$2b$", "$2a$")
_MAX_REMEMBERED = 256
_AS_GIVEN = "surrogateescape"
"""For bytes that are no UTF-8, on the command line as in the field."""


class Passwords:
    """Checks names and passwords; what was right once is remembered, for bcrypt takes 50 ms.

    What has to be looked at closer is, on one thread of its own: whoever tries passwords out keeps
    only those waiting who do the same.
    """

    def __init__(self, setting: str) -> None:
        """Take `user:password` or `@FILE`. Raises ConfigError."""
        if setting.startswith("@"):
            self._stored: Mapping[str, str] = _read(Path(setting[1:]).expanduser())
            self._plain = False
        else:
            user, colon, password = setting.partition(":")
            if not colon or not user:
                raise ConfigError("proxy_auth: not USER:PASSWORD; write that, or @FILE")
            self._stored = {user: password}
            self._plain = True
        self._first = next(iter(self._stored.values()))
        self._right: dict[bytes, None] = {}
        self._thread = ThreadPoolExecutor(1, "passwords")

    async def admit(self, user: str, password: str) -> bool:
        """As `accept`, without holding up the loop."""
        if self._plain or _digest(user, password) in self._right:
            return self.accept(user, password)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self.accept, user, password)

    async def admit_header(self, value: bytes | None) -> bool:
        """Tell whether a Proxy-Authorization field (RFC 7617) is somebody's."""
        given = _read_field(value)
        return given is not None and await self.admit(*given)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def accept(self, user: str, password: str) -> bool:
        """Tell whether this is somebody; takes as long for an unknown name."""
        known = user in self._stored
        stored = self._stored.get(user, self._first)
        if self._plain:
            return hmac.compare_digest(_bytes(password), _bytes(stored)) and known
        seen = _digest(user, password)
        if seen in self._right:
            return True
        if not _fits(password, stored) or not known:
            return False
        if len(self._right) >= _MAX_REMEMBERED:
            del self._right[next(iter(self._right))]
        self._right[seen] = None
        return True


def _read_field(value: bytes | None) -> tuple[str, str] | None:
    scheme, _, encoded = (value or b"").strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode(errors=_AS_GIVEN)
    except binascii.Error:
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


def _digest(user: str, password: str) -> bytes:
    return hashlib.sha256(_bytes(f"{len(user)}:{user}:{password}")).digest()


def _read(path: Path) -> dict[str, str]:
    try:
        if path.stat().st_size > _MAX_FILE:
            raise ConfigError(f"proxy_auth: {path} is too large; name an htpasswd file")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"proxy_auth: {path} cannot be read ({str(reason).lower()}); name an htpasswd file"
        ) from error
    stored = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, password = line.strip().partition(":")
        if not colon or not user or not password.startswith(("$apr1$", "{SHA}", *_BCRYPT)):
            raise ConfigError(
                f"proxy_auth: line {number} of {path} is none of htpasswd's -m, -s or -B; "
                "make it with htpasswd -B"
            )
        stored[user] = password
    if not stored:
        raise ConfigError(f"proxy_auth: {path} names nobody; add somebody with htpasswd -B")
    return stored


def _bytes(text: str) -> bytes:
    return text.encode(errors=_AS_GIVEN)


def _fits(password: str, stored: str) -> bool:
    given = _bytes(password)
    if stored.startswith("{SHA}"):
        digest = hashlib.sha1(given, usedforsecurity=False).digest()
        return hmac.compare_digest(base64.b64encode(digest), stored[5:].encode())
    if stored.startswith("$apr1$"):
        salt = stored.split("$")[2]
        hashed = _apr1(given, salt.encode())
        return hmac.compare_digest(hashed.encode(), stored.rpartition("$")[2].encode())
    try:
        return bcrypt.checkpw(given[:72], stored.encode())
    except ValueError:  # no bcrypt hash after all
        return False


def _apr1(password: bytes, salt: bytes) -> str:
    """Return Apache's MD5 of a password: a thousand rounds, mixed as crypt's `$1$` does it."""
    salt = salt[:8]

    def md5(data: bytes) -> bytes:
        return hashlib.md5(data, usedforsecurity=False).digest()

    inner = md5(password + salt + password)
    start = password + b"$apr1$" + salt
    start += (inner * (len(password) // 16 + 1))[: len(password)]
    bits = len(password)
    while bits:
        start += b"\0" if bits & 1 else password[:1]
        bits >>= 1
    final = md5(start)
    for turn in range(1000):
        mixed = password if turn & 1 else final
        if turn % 3:
            mixed += salt
        if turn % 7:
            mixed += password
        mixed += final if turn & 1 else password
        final = md5(mixed)
    shown = ""
    for first, second, third in ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)):
        value = final[first] << 16 | final[second] << 8 | final[third]
        for _ in range(4):
            shown += _ITOA64[value & 63]
            value >>= 6
    value = final[11]
    return shown + _ITOA64[value & 63] + _ITOA64[value >> 6]
