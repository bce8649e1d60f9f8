"""Leaf certificates (RFC 5280): one key per process, one certificate per host.

At most 199 days, the longest that clients are going to accept of a server.
"""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy_core.ca.authority import Authority
from proxy_core.ca.names import general_name

LIFETIME = datetime.timedelta(days=199)
"""From `notBefore`, which lies in the past, to `notAfter`."""
_BACKDATED = datetime.timedelta(days=1)  # clients' clocks are not ours
_MAX_COMMON_NAME = 64  # RFC 5280, appendix A.1, ub-common-name

_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_EXTENDED_USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


class LeafIssuer:
    """Makes leaf certificates, all for one new P-256 key."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        key = ec.generate_private_key(ec.SECP256R1())
        self.key_pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,  # OpenSSL reads it 5 % quicker
            serialization.NoEncryption(),
        )
        """The leaves' private key, unencrypted."""
        public_key = key.public_key()
        key_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
        self._template = (
            x509.CertificateBuilder()
            .public_key(public_key)
            .add_extension(_USAGE, critical=True)
            .add_extension(_EXTENDED_USAGE, critical=False)
            .add_extension(key_id, critical=False)
        )

    def issue(self, host: str) -> x509.Certificate:
        """Sign a leaf for a DNS name or IP address. Raises CaError where `host` is neither."""
        name = general_name(host)
        common_name = str(name.value)
        # A subject is a name that constraints have to allow too, and OpenSSL takes for a DNS name.
        has_subject = len(common_name) <= _MAX_COMMON_NAME and not self._authority.is_constrained
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if has_subject else []
        authority = self._authority.certificate
        begin = datetime.datetime.now(datetime.UTC) - _BACKDATED
        return self._authority.sign(
            self._template.subject_name(x509.Name(subject))
            # The second less is because both ends count (RFC 5280, section 4.1.2.5).
            .not_valid_before(max(begin, authority.not_valid_before_utc))
            .not_valid_after(
                min(begin + LIFETIME - datetime.timedelta(seconds=1), authority.not_valid_after_utc)
            )
            # Without a subject the alternative name is all there is (section 4.2.1.6).
            .add_extension(x509.SubjectAlternativeName([name]), critical=not has_subject),
            name,
        )
