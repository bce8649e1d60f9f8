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

from proxy_core.errors import ConfigError
from proxy_core.net.password_hashes import MOST_ROUNDS, fits, is_hash, rounds_of

_MAX_FILE = 4 * 1024 * 1024
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
        if not fits(_bytes(password), stored) or not known:
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
        where = f"proxy_auth: line {number} of {path}"
        if not colon or not user:
            raise ConfigError(f"{where} is not USER:HASH; make it with htpasswd -B")
        if not is_hash(password):
            raise ConfigError(
                f"{where} has no hash that is taken (bcrypt, SHA-512, SHA-256, MD5 or {{SHA}}; "
                "plain text and DES are not); make it anew with htpasswd -B"
            )
        if rounds_of(password) > MOST_ROUNDS:
            raise ConfigError(
                f"{where} asks for {rounds_of(password)} rounds, of which {MOST_ROUNDS} are taken; "
                "make it anew with htpasswd -B"
            )
        stored[user] = password
    if not stored:
        raise ConfigError(f"proxy_auth: {path} names nobody; add somebody with htpasswd -B")
    return stored


def _bytes(text: str) -> bytes:
    return text.encode(errors=_AS_GIVEN)
