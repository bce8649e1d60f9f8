from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from proxy_core.ca import Authority, ServerContexts, load_authority
from proxy_core.ca.authority import CaKey
from proxy_core.ca.export import export
from proxy_core.ca.leaf import LeafIssuer
from proxy_core.ca.own_authority import load_own
from proxy_core.config import Settings
from proxy_core.errors import CaError
from tests.ca.certificates import handshake, make

DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


def key_pem(key: CaKey, passphrase: bytes = b"") -> bytes:
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)


def make_ca(
    key: CaKey,
    issuer: tuple[x509.Certificate, CaKey] | None = None,
    constraints: x509.NameConstraints | None = None,
    sign: bool = True,
    days: int = 100,
) -> x509.Certificate:
    number = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA {number}")])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(True, False, False, False, False, sign, True, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[0].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(now - 200 * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is not None:
        above = issuer[0].extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False
        )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    signer = issuer[1] if issuer else key
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, algorithm)


def put(directory: Path, certificate: x509.Certificate, key: CaKey, *chain: bytes) -> Path:
    file = directory / "own.pem"
    file.write_bytes(certificate.public_bytes(PEM) + b"".join(chain) + key_pem(key))
    file.chmod(0o600)
    return file


def trusting(*roots: x509.Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata="".join(root.public_bytes(PEM).decode() for root in roots))
    return context


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-256", "P-384", "RSA", "Ed25519"],
)
@pytest.mark.parametrize("host", ["good.example", "192.0.2.1", "2001:db8::1", "bücher.example"])
def test_clients_that_trust_it_accept_its_leaves(key: CaKey, host: str, tmp_path: Path) -> None:
    certificate = make_ca(key)
    authority = load_own(put(tmp_path, certificate, key), None, "")
    assert authority.repairs == ()
    server = ServerContexts(authority).for_host(host)
    name = "xn--bcher-kva.example" if "ü" in host else host
    assert handshake(server, trusting(certificate), name).version() == "TLSv1.3"


def test_clients_that_know_only_its_root_get_the_chain(tmp_path: Path) -> None:
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = make_ca(root_key)
    certificate = make_ca(key, (root, root_key))
    file = put(tmp_path, certificate, key, root.public_bytes(PEM))
    server = ServerContexts(load_own(file, None, "")).for_host("good.example")
    assert handshake(server, trusting(root), "good.example").version() == "TLSv1.3"


def test_key_may_be_elsewhere_and_encrypted(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    certificate, other = tmp_path / "ca.pem", tmp_path / "ca.key"
    certificate.write_bytes(make_ca(key).public_bytes(PEM))
    other.write_bytes(key_pem(key, b"open sesame"))
    other.chmod(0o600)
    assert load_own(certificate, other, "open sesame").repairs == ()
    with pytest.raises(CaError, match="is encrypted; set INT3_CA_PASSPHRASE"):
        load_own(certificate, other, "")
    with pytest.raises(CaError, match="does not open with this passphrase"):
        load_own(certificate, other, "wrong")
    other.write_bytes(key_pem(key))
    assert load_own(certificate, other, "needless").repairs == ()


def test_key_that_others_may_read_is_closed_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    file = put(tmp_path, make_ca(key), key)
    file.chmod(0o644)
    (told,) = load_own(file, None, "").repairs
    assert f"{file} was open to other users (mode 0644); it is 0600 now" in told
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_own(file, None, "").repairs == ()

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    file.chmod(0o440)
    monkeypatch.setattr(Path, "chmod", refuse)
    (told,) = load_own(file, None, "").repairs
    assert f"(mode 0440) and cannot be closed; chmod 600 {file}" in told


def test_key_may_come_through_a_pipe(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate, pipe = tmp_path / "ca.pem", tmp_path / "pipe"
    certificate.write_bytes(make_ca(key).public_bytes(PEM))
    os.mkfifo(pipe, 0o644)
    writer = threading.Thread(target=pipe.write_bytes, args=[key_pem(key)])
    writer.start()
    assert load_own(certificate, pipe, "").repairs == ()
    writer.join()


def test_mistakes_are_told_with_what_to_do(tmp_path: Path) -> None:
    key, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    leaf = make("leaf.example")
    mistakes: list[tuple[Callable[[], Path], str]] = [
        (lambda: put(tmp_path, make_ca(key), stranger), "do not belong together"),
        (lambda: put(tmp_path, leaf.certificate, leaf.key), "is no CA certificate"),
        (lambda: put(tmp_path, make_ca(key, sign=False), key), "is no CA certificate"),
        (lambda: put(tmp_path, make_ca(key, days=-1), key), "expired on"),
        (lambda: tmp_path / "none.pem", r"ca_cert: .* cannot be read \(no such file"),
        (lambda: tmp_path, "cannot be read"),
    ]
    for make_file, complaint in mistakes:
        with pytest.raises(CaError, match=complaint):
            load_own(make_file(), None, "")
    file = tmp_path / "text.pem"
    file.write_text("nothing")
    with pytest.raises(CaError, match="holds no certificate"):
        load_own(file, None, "")
    file.write_bytes(make_ca(key).public_bytes(PEM))
    with pytest.raises(CaError, match="holds no private key"):
        load_own(file, None, "")


def constrained(tmp_path: Path, constraints: x509.NameConstraints) -> LeafIssuer:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = make_ca(key, constraints=constraints)
    return LeafIssuer(load_own(put(tmp_path, certificate, key), None, ""))


@pytest.mark.parametrize("host", ["example.com", "a.b.example.com", "10.1.2.3"])
def test_hosts_within_name_constraints_are_signed_for(host: str, tmp_path: Path) -> None:
    permitted = [
        x509.DNSName("example.com"),
        x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
    ]
    excluded = [x509.DNSName("secret.example.com")]
    issuer = constrained(tmp_path, x509.NameConstraints(permitted, excluded))
    assert issuer.issue(host).issuer
    for outside in ("example.org", "notexample.com", "x.secret.example.com", "11.0.0.1"):
        with pytest.raises(CaError, match="its name constraints leave it out; pass this host"):
            issuer.issue(outside)


@pytest.mark.parametrize("host", ["a.example.com", "10.1.2.3"])
def test_clients_accept_what_is_signed_within_constraints(host: str, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    company = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Company")])
    permitted = [
        x509.DNSName("example.com"),
        x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
        x509.DirectoryName(company),
    ]
    certificate = make_ca(key, constraints=x509.NameConstraints(permitted, None))
    server = ServerContexts(load_own(put(tmp_path, certificate, key), None, "")).for_host(host)
    assert handshake(server, trusting(certificate), host).version() == "TLSv1.3"


def test_constraints_above_the_ca_are_kept_to(tmp_path: Path) -> None:
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    limits = x509.NameConstraints([x509.DNSName("example.com")], None)
    root = make_ca(root_key, constraints=limits)
    file = put(tmp_path, make_ca(key, (root, root_key)), key, root.public_bytes(PEM))
    issuer = LeafIssuer(load_own(file, None, ""))
    assert issuer.issue("example.com").issuer
    with pytest.raises(CaError, match="its name constraints leave it out"):
        issuer.issue("example.org")


def test_constraints_on_names_leave_addresses_alone(tmp_path: Path) -> None:
    issuer = constrained(tmp_path, x509.NameConstraints([x509.DNSName("example.com")], None))
    assert issuer.issue("192.0.2.1").issuer


def test_settings_say_which_ca(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    file = put(tmp_path, make_ca(key), key)
    settings = Settings(data_dir=tmp_path / "data", ca_cert=file)
    assert load_authority(settings).certificate_path == file == settings.ca_certificate
    assert not (tmp_path / "data").exists()
    with pytest.raises(CaError, match="ca_cert is not"):
        load_authority(Settings(data_dir=tmp_path / "data", ca_key=file))


def test_exports_are_what_platforms_read(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "ca")
    same = authority.certificate
    assert x509.load_pem_x509_certificate(export(authority, "pem")) == same
    assert x509.load_der_x509_certificate(export(authority, "der")) == same
    bare = pkcs12.load_pkcs12(export(authority, "p12"), None)
    assert bare.key is None
    assert [entry.certificate for entry in bare.additional_certs] == [same]
    whole = pkcs12.load_pkcs12(export(authority, "p12", True, "secret"), b"secret")
    assert whole.cert is not None
    assert whole.cert.certificate == same
    assert whole.key is not None
    for wrong in (
        {"form": "pem", "with_key": True},
        {"form": "p12", "with_key": True},
        {"form": "x"},
    ):
        with pytest.raises(CaError):
            export(authority, **wrong)


@pytest.mark.tools("openssl")
def test_openssl_verifies_leaves_strictly(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "ca")
    for host in (
        "good.example",
        "*.good.example",
        "192.0.2.1",
        "::1",
        "x" * 60 + ".y" * 20 + ".example",
    ):
        leaf = tmp_path / "leaf.pem"
        leaf.write_bytes(LeafIssuer(authority).issue(host).public_bytes(PEM))
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"]
        done = subprocess.run(
            [*command, str(authority.certificate_path), str(leaf)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
