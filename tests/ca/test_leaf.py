from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy_core.ca.authority import CERTIFICATE_NAME, KEY_NAME, Authority
from proxy_core.ca.leaf import LeafIssuer
from proxy_core.errors import CaError
from tests.ca.certificates import make

LONG_NAME = ".".join(["a" * 60] * 4)
HOSTS = [
    "example.com",
    "localhost",
    "*.example.com",
    "under_score.example",
    "127.0.0.1",
    "::1",
    "bücher.example",
    LONG_NAME,
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def issuer(authority: Authority) -> LeafIssuer:
    return LeafIssuer(authority)


def names(leaf: x509.Certificate) -> list[str]:
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in found]


def common_names(leaf: x509.Certificate) -> list[str | bytes]:
    return [a.value for a in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


@pytest.mark.parametrize(
    ("host", "name", "kind"),
    [
        ("Example.COM", "example.com", x509.DNSName),
        ("example.com.", "example.com", x509.DNSName),
        ("*.example.com", "*.example.com", x509.DNSName),
        ("bücher.example", "xn--bcher-kva.example", x509.DNSName),
        ("*.bücher.example", "*.xn--bcher-kva.example", x509.DNSName),
        ("STRASSE.example", "strasse.example", x509.DNSName),
        ("straße.example", "xn--strae-oqa.example", x509.DNSName),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", x509.DNSName),
        ("_dmarc.example-.com", "_dmarc.example-.com", x509.DNSName),
        ("192.0.2.7", "192.0.2.7", x509.IPAddress),
        ("2001:DB8::0:1", "2001:db8::1", x509.IPAddress),
        ("[2001:db8::1]", "2001:db8::1", x509.IPAddress),
        ("fe80::1%eth0", "fe80::1", x509.IPAddress),
    ],
)
def test_leaf_names_its_host(
    issuer: LeafIssuer, host: str, name: str, kind: type[x509.GeneralName]
) -> None:
    leaf = issuer.issue(host)
    alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names(leaf) == [name]
    assert [type(n) for n in alternative] == [kind]
    assert common_names(leaf) == [name]


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "..",
        "a..b",
        ".example.com",
        "*",
        "*.",
        "a.*.example",
        "*.*.example",
        "f*.example",
        "with space.example",
        "nul\0.example",
        "new\nline.example",
        "a/b",
        "a:80",
        "[::1",
        "a" * 64 + ".example",
        "a." * 127 + "a",
        "x" * 300,
        "ü" * 300,
        "\ud800.example",
        "xn--\N{SNOWMAN}.example",
        "日" * 60 + ".example",
        "1.2.3.4,DNS:other",
    ],
)
def test_host_that_no_certificate_can_name_is_refused(issuer: LeafIssuer, host: str) -> None:
    with pytest.raises(CaError, match="is no host name that a certificate can carry") as refusal:
        issuer.issue(host)
    assert str(refusal.value).isascii()
    assert str(refusal.value).isprintable()


def test_name_too_long_for_a_common_name_stands_in_a_critical_extension(
    issuer: LeafIssuer,
) -> None:
    leaf = issuer.issue(LONG_NAME)
    assert common_names(leaf) == []
    assert names(leaf) == [LONG_NAME]
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_leaf_is_what_clients_want_of_a_server(authority: Authority, issuer: LeafIssuer) -> None:
    leaf = issuer.issue("example.com")
    extensions = leaf.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    ca_id = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    issuer_id = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert issuer_id.key_identifier == ca_id.value.digest
    own_id = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert own_id == x509.SubjectKeyIdentifier.from_public_key(leaf.public_key())
    leaf.verify_directly_issued_by(authority.certificate)


def test_leaf_lives_at_most_199_days_from_a_little_ago(issuer: LeafIssuer) -> None:
    leaf = issuer.issue("example.com")
    now = datetime.datetime.now(datetime.UTC)
    assert leaf.not_valid_before_utc <= now - datetime.timedelta(hours=1)
    assert leaf.not_valid_after_utc > now + datetime.timedelta(days=190)
    both_ends = datetime.timedelta(seconds=1)
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc + both_ends
    assert lifetime <= datetime.timedelta(days=199)


def test_leaf_does_not_outlive_its_ca(tmp_path: Path) -> None:
    pair = make("mine", ca=True, end_in_days=40)
    (tmp_path / KEY_NAME).write_bytes(pair.key_pem)
    (tmp_path / CERTIFICATE_NAME).write_bytes(pair.pem)
    leaf = LeafIssuer(Authority.load_or_create(tmp_path)).issue("example.com")
    assert leaf.not_valid_after_utc == pair.certificate.not_valid_after_utc
    assert leaf.not_valid_before_utc >= pair.certificate.not_valid_before_utc


def test_leaves_share_a_key_and_differ_in_serial_number(issuer: LeafIssuer) -> None:
    one, other = issuer.issue("one.example"), issuer.issue("other.example")
    assert one.public_key() == other.public_key()
    assert one.serial_number != other.serial_number
    assert serialization.load_pem_private_key(issuer.key_pem, None).public_key() == one.public_key()


@pytest.mark.tools("openssl")
@pytest.mark.parametrize("host", HOSTS)
def test_openssl_accepts_leaf_strictly(
    authority: Authority, issuer: LeafIssuer, tmp_path: Path, host: str
) -> None:
    leaf = issuer.issue(host)
    file = tmp_path / "leaf.pem"
    file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    strictly = ["-x509_strict", "-purpose", "sslserver", "-check_ss_sig", "-CAfile"]
    run = subprocess.run(
        ["openssl", "verify", *strictly, authority.certificate_path, file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout.strip()) == (0, f"{file}: OK"), run.stderr
