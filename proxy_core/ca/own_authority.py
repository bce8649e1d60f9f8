"""A CA of the user's own: PEM files as other tools write them.

They are read, and never changed; but a key that is open to others is closed to them.
"""

from __future__ import annotations

import stat
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from proxy_core.ca.authority import Authority, CaKey, check_pair
from proxy_core.config import Settings
from proxy_core.errors import CaError

_OTHERS = 0o077
_NAME_BOTH = "name a CA's certificate with --ca-cert and its key with --ca-key"


def load_authority(settings: Settings) -> Authority:
    """Load the user's own CA where one is named, else ours, made first where there is none yet.

    Raises CaError.
    """
    if settings.ca_cert is not None:
        return load_own(settings.ca_cert, settings.ca_key, settings.ca_passphrase)
    if settings.ca_key is not None:
        raise CaError("ca_key is set and ca_cert is not; name the certificate too")
    return Authority.load_or_create(settings.ca_dir)


def load_own(certificate_file: Path, key_file: Path | None, passphrase: str) -> Authority:
    """Load a CA from its certificate, with the chain above behind it, and its key.

    The key lies in `key_file`, or else in `certificate_file`; `passphrase` is "" for one that is
    not encrypted. What the user should know is in the authority's `repairs`. Raises CaError.
    """
    pem = _read(certificate_file, "ca_cert")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CaError(
            f"ca_cert: {certificate_file} holds no certificate; name a PEM file that begins with "
            "the CA's"
        ) from error
    key_path = key_file or certificate_file
    key = _parse_key(pem if key_file is None else _read(key_file, "ca_key"), key_path, passphrase)
    told = check_pair(certificates[0], key, certificate_file, key_path, _NAME_BOTH)
    told.extend(_close(key_path))
    return Authority(
        certificates[0], key, certificate_file, tuple(told), chain=tuple(certificates[1:])
    )


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CaError(
            f"{setting}: {path} cannot be read ({(error.strerror or str(error)).lower()}); "
            "name a PEM file that this user may read"
        ) from error


def _close(path: Path) -> list[str]:
    """Close a key's file to other users; return what was done, or is to be done."""
    found = path.stat().st_mode
    if not stat.S_ISREG(found) or not found & _OTHERS:
        return []
    mode, closed = stat.S_IMODE(found), stat.S_IMODE(found) & ~_OTHERS
    told = f"the CA's key in {path} was open to other users (mode {mode:04o})"
    try:
        path.chmod(closed)
    except OSError:
        return [f"{told} and cannot be closed; chmod 600 {path}, or no site is safe from them"]
    return [f"{told}; it is {closed:04o} now. If they may have read it, use another CA"]


def _parse_key(pem: bytes, path: Path, passphrase: str) -> CaKey:
    try:
        key = serialization.load_pem_private_key(pem, passphrase.encode() or None)
    except TypeError as error:  # which says whether one is missing or too many
        if passphrase:
            return _parse_key(pem, path, "")
        raise CaError(f"ca_key: the key in {path} is encrypted; set INT3_CA_PASSPHRASE") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase and b"ENCRYPTED" in pem:
            raise CaError(
                f"ca_key: the key in {path} does not open with this passphrase; "
                "set the right one as INT3_CA_PASSPHRASE"
            ) from error
        raise CaError(f"ca_key: {path} holds no private key; name its PEM file") from error
    if not isinstance(key, CaKey):
        raise CaError(f"ca_key: the key in {path} is not EC, RSA or Ed25519; use such a CA")
    return key
