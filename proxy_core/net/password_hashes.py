"""Hashes of passwords as `htpasswd` and `openssl passwd` write them.

bcrypt is a library's. The others are crypt's schemes, of which Python has none any more from 3.13
on: MD5 (`$1$`, and Apache's `$apr1$`), and SHA-256 and SHA-512 (`$5$`, `$6$`, after Ulrich
Drepper's "Unix crypt using SHA-256 and SHA-512"); and SHA-1 without a salt (`{SHA}`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import bcrypt

_LONGEST = 1024
"""Bytes of a password. Crypt's schemes take time by its square, and a client chooses it."""
MOST_ROUNDS = 1_000_000  # a second and more
_ITOA64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_B64 = "[./0-9A-Za-z]"
_SALT = "[!-#%-9;-~]"
_KNOWN = re.compile(
    rf"\$2[aby]\$\d\d\${_B64}{{53}}"
    r"|\{SHA\}[+/0-9A-Za-z]{27}="
    rf"|\$(?:apr1|1)\${_SALT}{{0,8}}\${_B64}{{22}}"
    rf"|\$5\$(?:rounds=\d{{1,9}}\$)?{_SALT}{{0,16}}\${_B64}{{43}}"
    rf"|\$6\$(?:rounds=\d{{1,9}}\$)?{_SALT}{{0,16}}\${_B64}{{86}}"
)
_ROUNDS = re.compile(r"rounds=(\d+)$")
_MD5_ORDER = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5), (11,))


def is_hash(stored: str) -> bool:
    """Tell whether this is a hash that `fits` can compare with."""
    return _KNOWN.fullmatch(stored) is not None


def rounds_of(stored: str) -> int:
    """Return how often a hash of SHA-256 or SHA-512 wants to be hashed anew; 0 for others."""
    if not stored.startswith(("$5$", "$6$")):
        return 0
    asked = _ROUNDS.match(stored.split("$")[2])
    return 5000 if asked is None else max(1000, int(asked[1]))


def fits(password: bytes, stored: str) -> bool:
    """Tell whether a password is the one that was hashed; for what `is_hash` is true of."""
    if len(password) > _LONGEST:
        return False
    if stored.startswith("$2"):
        try:
            return bcrypt.checkpw(password[:72], stored.encode())
        except ValueError:  # a cost that there cannot be, or a NUL
            return False
    if stored.startswith("{SHA}"):
        digest = hashlib.sha1(password, usedforsecurity=False).digest()
        return hmac.compare_digest(base64.b64encode(digest), stored[5:].encode())
    *_, salt, wanted = stored.split("$")
    if stored.startswith(("$5$", "$6$")):
        name = "sha256" if stored.startswith("$5$") else "sha512"
        made = _sha_crypt(name, password, salt.encode(), rounds_of(stored))
    else:
        made = _md5_crypt(password, salt.encode(), stored[: stored.index("$", 1) + 1].encode())
    return hmac.compare_digest(made.encode(), wanted.encode())


def _md5_crypt(password: bytes, salt: bytes, magic: bytes) -> str:
    def md5(data: bytes) -> bytes:
        return hashlib.md5(data, usedforsecurity=False).digest()

    start = password + magic + salt
    start += _stretched(md5(password + salt + password), len(password))
    bits = len(password)
    while bits:
        start += b"\0" if bits & 1 else password[:1]
        bits >>= 1
    final = md5(start)
    for turn in range(1000):
        final = md5(_mixed(turn, final, password, salt))
    return _shown(final, _MD5_ORDER)


def _sha_crypt(name: str, password: bytes, salt: bytes, rounds: int) -> str:
    def sha(data: bytes) -> bytes:
        return hashlib.new(name, data).digest()

    inner = sha(password + salt + password)
    start = password + salt + _stretched(inner, len(password))
    bits = len(password)
    while bits:
        start += inner if bits & 1 else password
        bits >>= 1
    final = sha(start)
    key = _stretched(sha(password * len(password)), len(password))
    grain = _stretched(sha(salt * (16 + final[0])), len(salt))
    for turn in range(rounds):
        final = sha(_mixed(turn, final, key, grain))
    return _shown(final, _SHA256_ORDER if name == "sha256" else _SHA512_ORDER)


def _mixed(turn: int, final: bytes, key: bytes, salt: bytes) -> bytes:
    """Return what is hashed in one of many rounds; the same in all of crypt's schemes."""
    mixed = key if turn & 1 else final
    if turn % 3:
        mixed += salt
    if turn % 7:
        mixed += key
    return mixed + (final if turn & 1 else key)


def _stretched(data: bytes, length: int) -> bytes:
    return (data * (length // len(data) + 1))[:length]


def _order(step: int, shift: int, last: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return how SHA's bytes are put into groups of three: each one on, and shifted in its turn."""
    groups: list[tuple[int, ...]] = [(0, step, 2 * step)]
    while len(groups) < step:
        following = [index + 1 for index in groups[-1]]
        groups.append((*following[shift:], *following[:shift]))
    return (*groups, last)


_SHA256_ORDER = _order(10, 2, (31, 30))
_SHA512_ORDER = _order(21, 1, (63,))


def _shown(digest: bytes, order: tuple[tuple[int, ...], ...]) -> str:
    text = ""
    for group in order:
        value = int.from_bytes(bytes(digest[index] for index in group), "big")
        for _ in range(len(group) + 1):
            text += _ITOA64[value & 63]
            value >>= 6
    return text
