from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
import time
from pathlib import Path

import pytest

from proxy_core.ca import contexts as module
from proxy_core.ca.authority import Authority
from proxy_core.ca.contexts import ServerContexts
from proxy_core.errors import CaError
from tests.ca.certificates import handshake


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def contexts(authority: Authority) -> ServerContexts:
    return ServerContexts(authority)


def client(authority: Authority, *alpn: str) -> ssl.SSLContext:
    """A client as strict as Python 3.13's default, on every Python."""
    context = ssl.create_default_context(cafile=authority.certificate_path)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ("example.com", "example.com"),
        ("*.example.com", "www.example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        (".".join(["a" * 60] * 4), ".".join(["a" * 60] * 4)),
    ],
)
def test_strict_client_accepts_the_context(
    authority: Authority, contexts: ServerContexts, wanted: str, asked: str
) -> None:
    side = handshake(contexts.for_host(wanted), client(authority), asked)
    assert side.version() == "TLSv1.3"


def test_client_that_wanted_another_host_refuses(
    authority: Authority, contexts: ServerContexts
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(contexts.for_host("one.example"), client(authority), "other.example")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("h2", "http/1.1"), "h2"),
        (("http/1.1", "h2"), "h2"),
        (("http/1.1",), "http/1.1"),
        (("acme/7",), None),
        ((), None),
    ],
)
def test_protocol_is_chosen_from_what_the_client_offers(
    authority: Authority, contexts: ServerContexts, offered: tuple[str, ...], chosen: str | None
) -> None:
    side = handshake(contexts.for_host("x.example"), client(authority, *offered), "x.example")
    assert side.selected_alpn_protocol() == chosen


def test_tls_1_2_is_spoken(authority: Authority, contexts: ServerContexts) -> None:
    old = client(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(contexts.for_host("x.example"), old, "x.example").version() == "TLSv1.2"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_1_1_is_not_spoken(authority: Authority, contexts: ServerContexts) -> None:
    old = client(authority)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    server = contexts.for_host("x.example")
    server.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises(ssl.SSLError) as refusal:
        handshake(server, old, "x.example")
    assert refusal.value.reason == "UNSUPPORTED_PROTOCOL"
    server.minimum_version = ssl.TLSVersion.TLSv1_1
    assert handshake(server, old, "x.example").version() == "TLSv1.1"


def test_session_is_resumed(authority: Authority, contexts: ServerContexts) -> None:
    context = client(authority)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()

    def connect(session: ssl.SSLSession | None) -> ssl.SSLObject:
        server = contexts.for_host("x.example").wrap_bio(to_server, to_client, server_side=True)
        side = context.wrap_bio(to_client, to_server, server_hostname="x.example", session=session)
        for _ in range(3):
            for end in (side, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        server.write(b"!")
        assert side.read() == b"!"  # and, before it, the ticket
        return side

    first = connect(None)
    assert not first.session_reused
    assert connect(first.session).session_reused


def test_context_is_made_once_a_host(contexts: ServerContexts) -> None:
    made = contexts.for_host("example.com")
    assert contexts.for_host("EXAMPLE.com") is made
    assert contexts.for_host("other.example") is not made


def test_least_recently_used_context_is_made_over_for_another_host(authority: Authority) -> None:
    contexts = ServerContexts(authority, size=2)
    a, b = contexts.for_host("a.example"), contexts.for_host("b.example")
    assert contexts.for_host("a.example") is a
    strict = client(authority)
    for name in ("c.example", "d.example", "b.example"):
        context = contexts.for_host(name)
        assert len(contexts) == 2
        assert context in (a, b)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            strict.maximum_version = version
            assert handshake(context, strict, name).version() == version.name.replace("v1_", "v1.")
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(context, strict, "a.example")


def test_session_that_has_begun_keeps_its_certificate(authority: Authority) -> None:
    contexts = ServerContexts(authority, size=1)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = contexts.for_host("a.example").wrap_bio(to_server, to_client, server_side=True)
    contexts.for_host("b.example")
    side = client(authority).wrap_bio(to_client, to_server, server_hostname="a.example")
    for end in (side, server, side, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    assert server.version() == "TLSv1.3"


def test_where_contexts_cannot_be_made_over_new_ones_are_made(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a Python that looks for the key before it takes the certificate."""
    load = ssl.SSLContext.load_cert_chain

    def look_first(self: ssl.SSLContext, certificate: str, key: str) -> None:
        Path(key).stat()
        load(self, certificate, key)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look_first)
    contexts = ServerContexts(authority, size=1)
    made = contexts.for_host("a.example")
    for name in ("b.example", "c.example"):
        context = contexts.for_host(name)
        assert context is not made
        assert handshake(context, client(authority), name).version() == "TLSv1.3"


@pytest.mark.parametrize("passed", [module._MAX_AGE + 1, -1.0])
def test_leaf_that_grew_old_is_made_anew(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, passed: float
) -> None:
    contexts = ServerContexts(authority)
    now = [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def leaf() -> bytes | None:
        strict = client(authority)
        return handshake(contexts.for_host("a.example"), strict, "a.example").getpeercert(True)

    first = leaf()
    assert leaf() == first
    now[0] += passed
    assert leaf() != first


def test_refused_host_is_not_kept(contexts: ServerContexts) -> None:
    with pytest.raises(CaError):
        contexts.for_host("no host")
    assert len(contexts) == 0


def test_without_memory_files_the_key_is_on_disk_for_a_moment_only(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    contexts = ServerContexts(authority)
    side = handshake(contexts.for_host("x.example"), client(authority), "x.example")
    assert side.version() == "TLSv1.3"
    assert list(tmp_path.iterdir()) == []


def test_temporary_directory_that_is_gone_is_a_ca_error(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(CaError, match="temporary directory"):
        ServerContexts(authority).for_host("x.example")
