"""What is exported, read by the tools that people use: OpenSSL, NSS's and curl's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from proxy_core.ca import Authority
from proxy_core.ca.export import export
from proxy_core.ca.leaf import LeafIssuer


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.load_or_create(tmp_path / "ca")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.tools("openssl")
@pytest.mark.parametrize("with_key", [False, True], ids=["certificate", "with its key"])
def test_openssl_reads_the_p12(authority: Authority, tmp_path: Path, with_key: bool) -> None:
    file = tmp_path / "ca.p12"
    file.write_bytes(export(authority, "p12", with_key, "secret" if with_key else ""))
    password = "pass:secret" if with_key else "pass:"
    text = run("openssl", "pkcs12", "-in", str(file), "-passin", password, "-nodes")
    assert authority.certificate_pem.decode() in text
    assert ("-----BEGIN PRIVATE KEY-----" in text) is with_key


@pytest.mark.tools("openssl")
@pytest.mark.parametrize("form", ["pem", "der"])
def test_openssl_reads_the_certificate(authority: Authority, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"ca.{form}"
    file.write_bytes(export(authority, form))
    text = run("openssl", "x509", "-inform", form, "-in", str(file), "-noout", "-ext", "keyUsage")
    assert "Certificate Sign" in text


def nss(directory: Path) -> str:
    """Make an empty NSS database."""
    directory.mkdir()
    run("certutil", "-N", "-d", f"sql:{directory}", "--empty-password")
    return f"sql:{directory}"


@pytest.mark.tools("certutil", "pk12util")
@pytest.mark.parametrize("with_key", [False, True], ids=["certificate", "with its key"])
def test_nss_imports_the_p12(authority: Authority, tmp_path: Path, with_key: bool) -> None:
    file, database = tmp_path / "ca.p12", nss(tmp_path / "nss")
    password = "secret" if with_key else ""
    file.write_bytes(export(authority, "p12", with_key, password))
    run("pk12util", "-i", str(file), "-d", database, "-W", password)
    if with_key:  # a certificate alone is found under its subject, not its friendly name
        assert "INT3RCEPTOR CA" in run("certutil", "-L", "-d", database)


@pytest.mark.tools("certutil")
def test_nss_trusts_it_for_websites_and_verifies_a_leaf(
    authority: Authority, tmp_path: Path
) -> None:

    database = nss(tmp_path / "nss")
    steps = ("-A", "-d", database, "-t", "C,,", "-n", "int3rceptor-ca")  # as the magic host says
    run("certutil", *steps, "-i", str(authority.certificate_path))
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(LeafIssuer(authority).issue("good.example").public_bytes(Encoding.PEM))
    run("certutil", "-A", "-d", database, "-t", ",,", "-n", "leaf", "-i", str(leaf))
    valid = run("certutil", "-V", "-d", database, "-n", "leaf", "-u", "V")
    assert "certificate is valid" in valid
