"""The CA in the forms that platforms take: PEM, DER, PKCS #12."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from proxy_core.ca.authority import Authority
from proxy_core.errors import CaError

FORMATS = ("pem", "der", "p12")
_NAME = b"INT3RCEPTOR CA"


def export(authority: Authority, form: str, with_key: bool = False, password: str = "") -> bytes:
    """Return the CA's certificate as `pem`, `der` or `p12`; `with_key` its key too.

    A key leaves in PKCS #12 only, and under a password. Raises CaError.
    """
    certificate = authority.certificate
    if with_key and form != "p12":
        raise CaError(f"a key is exported as p12 only, not as {form}; pass --format p12")
    if with_key and not password:
        raise CaError("a key is exported under a password only; pass --password-file FILE")
    if form == "pem":
        return authority.certificate_pem
    if form == "der":
        return certificate.public_bytes(serialization.Encoding.DER)
    if form != "p12":
        raise CaError(f"there is no format {form!r}; use {', '.join(FORMATS)}")
    if with_key:
        return pkcs12.serialize_key_and_certificates(
            _NAME,
            authority.key,
            certificate,
            None,
            serialization.BestAvailableEncryption(password.encode()),
        )
    # As a trusted certificate without a key; many importers refuse one that has no encryption.
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(password.encode())
        if password
        else serialization.NoEncryption()
    )
    return pkcs12.serialize_java_truststore(
        [pkcs12.PKCS12Certificate(certificate, _NAME)], encryption
    )
