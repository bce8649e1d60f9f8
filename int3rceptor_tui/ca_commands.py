"""`int3rceptor-tui ca ...`: where the certificate authority lies, and its forms for platforms."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from proxy_core.ca import Authority, load_authority
from proxy_core.ca.export import export
from proxy_core.config import Settings
from proxy_core.errors import CaError


def print_path(settings: Settings, program: str) -> int:
    """Print the certificate's path; make the CA first where there is none yet."""
    authority = _load(settings, program)
    sys.stdout.buffer.write(os.fsencode(authority.certificate_path) + b"\n")
    return 0


def write_export(
    settings: Settings,
    program: str,
    form: str,
    out: Path | None,
    with_key: bool,
    password_file: Path | None,
) -> int:
    """Write the CA in a form to stdout, or to `out`, whole or not at all. Raises CaError."""
    data = export(_load(settings, program), form, with_key, _password(password_file))
    if out is not None:
        _write(out, data, 0o600 if with_key else 0o644)
    elif form != "pem" and sys.stdout.isatty():
        raise CaError(f"{form} is nothing for a terminal; pass --out FILE, or redirect it")
    else:
        sys.stdout.buffer.write(data)
    return 0


def _load(settings: Settings, program: str) -> Authority:
    authority = load_authority(settings)
    if authority.is_new:
        print(f"{program}: made a new certificate authority", file=sys.stderr)
    for repair in authority.repairs:
        print(f"{program}: {repair}", file=sys.stderr)
    return authority


def _password(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CaError(f"{file} cannot be read ({str(reason).lower()}); name a text file") from error
    if not lines or not lines[0]:
        raise CaError(f"{file} holds no password; write it into the first line")
    return lines[0]


def _write(out: Path, data: bytes, mode: int) -> None:
    """Write a file in one step; what is no file, such as /dev/null or a pipe, as it is."""
    path = Path(os.path.realpath(out))
    try:
        if out.exists() and not out.is_file():
            out.write_bytes(data)
            return
    except OSError as error:
        raise _unwritten(out, error) from error
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise _unwritten(out, error) from error


def _unwritten(out: Path, error: OSError) -> CaError:
    reason = (error.strerror or str(error)).lower()
    return CaError(f"{out} cannot be written ({reason}); pass another --out")
