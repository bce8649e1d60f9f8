from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from proxy_core.ca import Authority
from proxy_core.ca.onboarding import OwnPages


@pytest.fixture
def pages(tmp_path: Path) -> OwnPages:
    return OwnPages(Authority.load_or_create(tmp_path / "ca"))


def test_page_leads_to_the_certificate_and_to_the_steps(pages: OwnPages) -> None:
    head, body = pages.answer(b"GET", b"/?x")
    text = body.decode()
    assert head.status == 200
    assert head.headers.get(b"content-type") == b"text/html; charset=utf-8"
    assert head.headers.get(b"content-length") == b"%d" % len(body)
    for form in ("pem", "der", "p12"):
        assert f"/cert/{form}" in text
        assert pages.answer(b"GET", f"/cert/{form}".encode())[0].status == 200
    for name in ("Debian", "Fedora", "macOS", "Windows", "Android", "iOS", "Firefox", "Chromium"):
        assert name in text
    assert "<script" not in text


@pytest.mark.parametrize(
    ("path", "kind", "load"),
    [
        (b"/cert/pem", b"application/x-pem-file", x509.load_pem_x509_certificate),
        (b"/cert/der", b"application/x-x509-ca-cert", x509.load_der_x509_certificate),
    ],
)
def test_files_are_the_certificate(
    pages: OwnPages, path: bytes, kind: bytes, load: Callable[[bytes], x509.Certificate]
) -> None:
    head, body = pages.answer(b"GET", path)
    assert head.headers.get(b"content-type") == kind
    assert (head.headers.get(b"content-disposition") or b"").startswith(b"attachment; filename=")
    name = load(body).subject.rfc4514_string()
    assert "INT3RCEPTOR CA" in name


def test_head_has_the_length_and_no_body(pages: OwnPages) -> None:
    head, body = pages.answer(b"HEAD", b"/cert/der")
    assert body == b""
    assert int(head.headers.get(b"content-length") or b"0") > 100


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [(b"GET", b"/nothing", 404), (b"POST", b"/", 405), (b"GET", b"/cert/key", 404)],
)
def test_anything_else_is_refused(pages: OwnPages, method: bytes, path: bytes, status: int) -> None:
    assert pages.answer(method, path)[0].status == status
