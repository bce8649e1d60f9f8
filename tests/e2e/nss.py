"""Makes a certificate database as Chromium reads it (NSS), in which one CA is trusted.

`certutil` does the same, but is seldom there; the library comes with every Chromium on Linux. To be
run as a program: a process can set NSS up only once.
"""

from __future__ import annotations

import ctypes
import ssl
import sys
from pathlib import Path

_VALID_CA, _TRUSTED_CA = 1 << 3, 1 << 4


class _Trust(ctypes.Structure):
    _fields_ = (("ssl", ctypes.c_uint), ("email", ctypes.c_uint), ("signing", ctypes.c_uint))


def make_database(directory: Path, certificate: bytes) -> None:
    """Make a database in an empty directory; `certificate` is the CA's, DER."""
    nss, smime = (ctypes.CDLL(name) for name in ("libnss3.so", "libsmime3.so"))
    for function in (
        nss.PK11_GetInternalKeySlot,
        nss.CERT_GetDefaultCertDB,
        smime.CERT_DecodeCertFromPackage,
    ):
        function.restype = ctypes.c_void_p
    _check(nss.NSS_InitReadWrite(f"sql:{directory}".encode()))
    slot = ctypes.c_void_p(nss.PK11_GetInternalKeySlot())
    _check(nss.PK11_InitPin(slot, None, b""))
    decoded = ctypes.c_void_p(smime.CERT_DecodeCertFromPackage(certificate, len(certificate)))
    assert decoded.value, "NSS does not read the certificate"
    _check(nss.PK11_ImportCert(slot, decoded, ctypes.c_ulong(0), b"CA", 0))
    trust = _Trust(_VALID_CA | _TRUSTED_CA, 0, 0)
    database = ctypes.c_void_p(nss.CERT_GetDefaultCertDB())
    _check(nss.CERT_ChangeCertTrust(database, decoded, ctypes.byref(trust)))
    nss.CERT_DestroyCertificate(decoded)
    nss.PK11_FreeSlot(slot)
    _check(nss.NSS_Shutdown())


def _check(status: int) -> None:
    assert status == 0, "NSS refused"


if __name__ == "__main__":
    make_database(
        Path(sys.argv[1]), ssl.PEM_cert_to_DER_cert(Path(sys.argv[2]).read_text(encoding="ascii"))
    )
