"""TLS contexts for the client's side, one per host, the least recently used forgotten first.

Making one costs about 0.8 ms with OpenSSL 3.0, most of it OpenSSL reading the key; a handshake
costs 0.25 ms. A root CA's certificate is not sent along: whoever accepts the leaf has it.
"""

from __future__ import annotations

import os
import ssl
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from proxy_core.ca.authority import Authority
from proxy_core.ca.leaf import LeafIssuer
from proxy_core.errors import CaError

ALPN = ("h2", "http/1.1")
_MAX_AGE = 7 * 24 * 3600.0  # far below a leaf's life: a proxy may run for months


class ServerContexts:
    """Server contexts whose leaves `authority` signed.

    For one thread only. At most `size` hosts are kept, about 20 KiB each.
    """

    def __init__(self, authority: Authority, size: int = 512) -> None:
        self._size = max(1, size)
        self._sent_along = authority.sent_along_pem
        self._issuer = LeafIssuer(authority)
        self._chains = _ChainLoader(self._issuer.key_pem)
        self._contexts: dict[str, tuple[ssl.SSLContext, float]] = {}

    def for_host(self, host: str) -> ssl.SSLContext:
        """Return the context to answer a client with that wants `host`.

        `host` is a DNS name, A-labels or not, or an IP address. Raises CaError where no
        certificate can name it.
        """
        key = host.lower()
        now = time.time()
        found = self._contexts.pop(key, None)
        if found is None or not 0 <= now - found[1] < _MAX_AGE:
            found = (self._make(key), now)
            if len(self._contexts) >= self._size:
                del self._contexts[next(iter(self._contexts))]
        self._contexts[key] = found
        return found[0]

    def _make(self, host: str) -> ssl.SSLContext:
        leaf = self._issuer.issue(host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.num_tickets = 1  # of the usual two each costs a tenth of a handshake
        context.set_alpn_protocols(ALPN)
        pem = leaf.public_bytes(serialization.Encoding.PEM)
        self._chains.load(context, pem + self._sent_along)
        return context

    def __len__(self) -> int:
        return len(self._contexts)


class _ChainLoader:
    """Brings a certificate and its key into a context, which takes them from files only.

    In memory where the system has that; else in a file of mode 0600 that lives for a moment.
    """

    def __init__(self, key_pem: bytes) -> None:
        self._key_pem = key_pem
        self._key_file = _MemoryFile.make()
        self._certificate_file = _MemoryFile.make()
        if self._key_file is not None:
            self._key_file.write(key_pem)

    def load(self, context: ssl.SSLContext, certificate_pem: bytes) -> None:
        try:
            if self._key_file is not None and self._certificate_file is not None:
                self._certificate_file.write(certificate_pem)
                context.load_cert_chain(self._certificate_file.path, self._key_file.path)
            else:
                self._load_from_disk(context, certificate_pem)
        except OSError as error:  # ssl.SSLError is one
            raise CaError(
                f"a leaf certificate could not be put to use ({error}); "
                "see that the temporary directory can be written and files can be opened"
            ) from error

    def _load_from_disk(self, context: ssl.SSLContext, certificate_pem: bytes) -> None:
        fd, path = tempfile.mkstemp(prefix="int3rceptor-")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(certificate_pem + self._key_pem)
            context.load_cert_chain(path)
        finally:
            Path(path).unlink()


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
