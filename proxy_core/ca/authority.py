"""The certificate authority: made on first run, loaded ever after, and what it signs.

Two files in one directory of mode 0700: `int3rceptor-ca.key` (PKCS #8 PEM, mode 0600) and
`int3rceptor-ca.pem`, the certificate that clients are told to trust. The key is published first
and the certificate follows from it, so that whatever interrupts a first run, or runs beside it,
there is one CA in the end.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy_core.ca.constraints import check_constraints, constraints_of
from proxy_core.errors import CaError, PrivateFileError
from proxy_core.secret_files import publish, read_secret, secret_directory

CERTIFICATE_NAME = "int3rceptor-ca.pem"
KEY_NAME = "int3rceptor-ca.key"

CaKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_LIFETIME = datetime.timedelta(days=3650)
_BACKDATED = datetime.timedelta(days=1)  # clients' clocks are not ours
_WARN_BEFORE_EXPIRY = datetime.timedelta(days=30)
_ATTEMPTS = 3
_IF_READ = "delete the CA's files and let clients trust a new one"
_RENEW = "move both files away to have a new CA made, which clients then must trust"


class Authority:
    """A CA that signs leaves.

    `repairs` are sentences that the user should see: permissions that were too wide, an end that
    is near. `is_new` tells that it was made just now, and that no client trusts it yet.
    """

    def __init__(
        self,
        certificate: x509.Certificate,
        key: CaKey,
        certificate_path: Path,
        repairs: tuple[str, ...] = (),
        is_new: bool = False,
        chain: tuple[x509.Certificate, ...] = (),
    ) -> None:
        """`chain` are the certificates above `certificate`, for clients that know only a root."""
        self.certificate = certificate
        self._chain = chain
        self._constraints = constraints_of((certificate, *chain))
        self.certificate_path = certificate_path
        self.repairs = repairs
        self.is_new = is_new
        self._key = key
        self._issuer_id = _issuer_id(certificate)

    @classmethod
    def load_or_create(cls, directory: Path) -> Authority:
        """Load the CA in `directory`; make one first where there is none.

        Permissions that are too wide are repaired and told in `repairs`. Raises CaError where the
        files cannot be had, read, understood or matched.
        """
        try:
            return cls._load_or_create(directory)
        except PrivateFileError as error:
            raise CaError(str(error)) from error

    @classmethod
    def _load_or_create(cls, directory: Path) -> Authority:
        repairs = secret_directory(directory)
        is_new = False
        certificate_path, key_path = directory / CERTIFICATE_NAME, directory / KEY_NAME
        for _ in range(_ATTEMPTS):
            found = read_secret(key_path, _IF_READ)
            certificate_pem = _read_certificate(certificate_path)
            if found is None:
                if certificate_pem is not None:
                    raise CaError(
                        f"{certificate_path} is there but its key {key_path} is not; put the key "
                        "back, or move the certificate away to have a new CA made"
                    )
                is_new = publish(key_path, _new_key_pem(), 0o600)
                continue
            key_pem, key_repairs = found
            repairs.extend(key_repairs)
            key = _parse_key(key_pem, key_path)
            if certificate_pem is None:
                publish(certificate_path, _pem(_self_signed(key)), 0o644)
                continue
            certificate = _parse_certificate(certificate_pem, certificate_path)
            repairs.extend(check_pair(certificate, key, certificate_path, key_path))
            return cls(certificate, key, certificate_path, tuple(repairs), is_new)
        raise CaError(
            f"the files in {directory} vanish while they are read; "
            "stop whatever removes them, or pass another --data-dir"
        )

    @property
    def certificate_pem(self) -> bytes:
        """The CA certificate as PEM."""
        return _pem(self.certificate)

    @property
    def sent_along_pem(self) -> bytes:
        """What clients get behind a leaf, PEM: nothing where they trust the CA itself."""
        if self.certificate.issuer == self.certificate.subject:
            return b""
        return b"".join(_pem(certificate) for certificate in (self.certificate, *self._chain))

    @property
    def fingerprint(self) -> bytes:
        """The SHA-256 digest of the certificate."""
        return self.certificate.fingerprint(hashes.SHA256())

    @property
    def is_constrained(self) -> bool:
        """Whether it may sign for some names only (RFC 5280, section 4.2.1.10)."""
        return bool(self._constraints)

    @property
    def key(self) -> CaKey:
        """The private key: for export only."""
        return self._key

    def sign(
        self, builder: x509.CertificateBuilder, name: x509.DNSName | x509.IPAddress
    ) -> x509.Certificate:
        """Sign a certificate for `name` whose subject, key, times and own extensions are set.

        Issuer, serial number and authority key identifier are filled in. Raises CaError where the
        name constraints of the CA, or of one above it, leave the name out.
        """
        check_constraints(self._constraints, name)
        return (
            builder.issuer_name(self.certificate.subject)
            .serial_number(x509.random_serial_number())
            .add_extension(self._issuer_id, critical=False)
            .sign(self._key, _hash_for(self._key))
        )


def _hash_for(key: CaKey) -> hashes.SHA256 | hashes.SHA384 | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None  # it has its own
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()


def _new_key_pem() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _self_signed(key: CaKey) -> x509.Certificate:
    """Make the certificate of a new CA; CAs differ in name, as stores look them up by it."""
    public_key = key.public_key()
    key_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "INT3RCEPTOR"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"INT3RCEPTOR CA {key_id.digest.hex()[:8]}"),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(key_id, critical=False)
        .sign(key, _hash_for(key))
    )


_CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _read_certificate(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CaError(
            f"{path} cannot be read ({error.strerror}); let this user read it, "
            "or pass another --data-dir"
        ) from error


def _parse_key(pem: bytes, path: Path) -> CaKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CaError(
            f"{path} holds no private key that can be read without a passphrase; restore it, "
            f"or {_RENEW}"
        ) from error
    if not isinstance(key, CaKey):
        raise CaError(f"{path} holds no EC, RSA or Ed25519 key; restore it, or {_RENEW}")
    return key


def _parse_certificate(pem: bytes, path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CaError(
            f"{path} holds no certificate; restore it, or delete it to have it made again "
            "from the CA's key"
        ) from error


def check_pair(
    certificate: x509.Certificate,
    key: CaKey,
    certificate_path: Path,
    key_path: Path,
    remedy: str = _RENEW,
) -> list[str]:
    """Raise CaError where the pair cannot sign leaves; return what the user should know of it."""
    if certificate.public_key() != key.public_key():
        raise CaError(
            f"{certificate_path} and {key_path} do not belong together; restore the pair, "
            f"or {remedy}"
        )
    if not _may_sign(certificate):
        raise CaError(f"{certificate_path} is no CA certificate; restore the CA's, or {remedy}")
    expiry = certificate.not_valid_after_utc
    left = expiry - datetime.datetime.now(datetime.UTC)
    if left <= datetime.timedelta(0):
        raise CaError(f"{certificate_path} expired on {expiry:%Y-%m-%d}; {remedy}")
    if left < _WARN_BEFORE_EXPIRY:
        return [f"{certificate_path} expires on {expiry:%Y-%m-%d}; {remedy}"]
    return []


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        extensions = certificate.extensions
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except (x509.ExtensionNotFound, ValueError):
        return False
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _issuer_id(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(_public_key(certificate))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


def _public_key(
    certificate: x509.Certificate,
) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey:
    key = certificate.public_key()
    # `check_pair` saw to it.
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey)
    return key
