"""Brings a certificate and its key into a TLS context, which takes them from files only."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from pathlib import Path

from proxy_core.errors import CaError

_NOWHERE = "/proc/self/fd/-1"


class ChainLoader:
    """Loads certificates that are all for one private key.

    In memory where the system has files there; else from a file of mode 0600 that lives for a
    moment. For one thread only.
    """

    def __init__(self, key_pem: bytes) -> None:
        self._key_pem = key_pem
        self._key_file = _MemoryFile.make()
        self._certificate_file = _MemoryFile.make()
        if self._key_file is not None:
            self._key_file.write(key_pem)
        self._can_replace: bool | None = None

    def load(self, context: ssl.SSLContext, chain_pem: bytes) -> None:
        """Bring a certificate, what is sent along with it, and the key. Raises CaError."""
        try:
            if self._key_file is not None and self._certificate_file is not None:
                self._certificate_file.write(chain_pem)
                context.load_cert_chain(self._certificate_file.path, self._key_file.path)
            else:
                self._load_from_disk(context, chain_pem)
        except OSError as error:  # ssl.SSLError is one
            raise CaError(
                f"a leaf certificate could not be put to use ({error}); "
                "see that the temporary directory can be written and files can be opened"
            ) from error

    def replace(self, context: ssl.SSLContext, chain_pem: bytes) -> bool:
        """Bring another certificate into a context that was loaded; return whether it worked.

        Sessions that have begun keep the one they began with. Reading the key takes OpenSSL 3.0
        half a millisecond. It is kept where the new certificate is for the same one, and that is
        in its place already when the key's file turns out not to be there. Nobody has promised
        this: the first time, a handshake has to prove it.
        """
        if self._certificate_file is None or self._can_replace is False:
            return False
        self._certificate_file.write(chain_pem)
        try:
            context.load_cert_chain(self._certificate_file.path, _NOWHERE)
        except FileNotFoundError as error:
            if error.filename is not None or not Path(self._certificate_file.path).exists():
                return False
            if self._can_replace is None:
                self._can_replace = _shows(context, chain_pem)
            return self._can_replace
        except OSError:
            return False
        return False

    def _load_from_disk(self, context: ssl.SSLContext, chain_pem: bytes) -> None:
        fd, path = tempfile.mkstemp(prefix="int3rceptor-")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(chain_pem + self._key_pem)
            context.load_cert_chain(path)
        finally:
            Path(path).unlink()


def _shows(context: ssl.SSLContext, chain_pem: bytes) -> bool:
    """Tell whether a client gets to see the first certificate of a chain, and its key fits."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server)
    with contextlib.suppress(ssl.SSLError):
        for side in (client, server, client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        first = chain_pem.decode().partition(ssl.PEM_FOOTER)[0] + ssl.PEM_FOOTER
        return client.getpeercert(True) == ssl.PEM_cert_to_DER_cert(first)
    return False


class _MemoryFile:
    """A file without a place on disk, which has a path all the same (Linux)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.path = f"/proc/self/fd/{fd}"

    @classmethod
    def make(cls) -> _MemoryFile | None:
        """Return a new empty file, or None where the system cannot make or name one."""
        try:
            file = cls(os.memfd_create("int3rceptor"))
        except (AttributeError, OSError):
            return None
        return file if Path(file.path).exists() else None

    def write(self, data: bytes) -> None:
        """Replace what is in the file."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, data, 0)

    def __del__(self) -> None:
        os.close(self._fd)
