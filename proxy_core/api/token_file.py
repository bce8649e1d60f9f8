"""The API's token: made on first use, private from its first byte, read ever after.

The file is the secret's only place: nothing here, and nothing that is given the token, tells it.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxy_core.errors import ConfigError, PrivateFileError
from proxy_core.secret_files import publish, read_secret, secret_directory

_BYTES: Final = 32
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]{16,512}=*")  # RFC 6750, section 2.1
_REMEDY: Final = "make it a file of this user with mode 0600, or pass another --api-token-file"
_IF_READ: Final = "delete the file and start again, to have a new token made"


@dataclass(frozen=True, slots=True)
class Token:
    """A token and how it was come by; `repairs` are sentences that the user should see."""

    secret: bytes = field(repr=False)
    path: Path
    is_new: bool = False
    repairs: tuple[str, ...] = ()


def load_or_make_token(path: Path, data_dir: Path) -> Token:
    """Return the token in `path`; make one first where there is none.

    A directory for it is made, and closed to others, inside `data_dir` only. Permissions that are
    too wide are repaired and told. Raises PrivateFileError and ConfigError.
    """
    repairs: list[str] = []
    if path.is_relative_to(data_dir):
        repairs = secret_directory(path.parent)
    is_new = False
    for _ in range(3):
        found = read_secret(path, _IF_READ, _REMEDY, only_ours=True)
        if found is None:
            is_new = publish(path, secrets.token_urlsafe(_BYTES).encode() + b"\n", 0o600)
            continue
        repairs.extend(found[1])
        return Token(_checked(found[0], path), path, is_new, tuple(repairs))
    raise PrivateFileError(
        f"{path} vanishes while it is read; stop whatever removes it, or pass --api-token-file"
    )


def read_token(path: Path) -> bytes | None:
    """Return the token in `path` as a client needs it; None where there is no such file.

    Raises PrivateFileError and ConfigError.
    """
    found = read_secret(path, _IF_READ, _REMEDY, only_ours=True)
    return None if found is None else _checked(found[0], path)


def _checked(content: bytes, path: Path) -> bytes:
    secret = content.strip()
    if not _TOKEN.fullmatch(secret):
        raise ConfigError(
            f"{path} holds no token (16 to 512 letters, digits and ._~+/-); "
            "delete it to have one made, or pass another --api-token-file"
        )
    return secret
