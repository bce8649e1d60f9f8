from __future__ import annotations

import ssl
import warnings
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy_core.errors import (
    ConfigError,
    ConnectionLost,
    ConnectionTimeout,
    TlsError,
    UpstreamError,
)
from proxy_core.net.upstream_tls import TlsPolicy, UpstreamTls, describe_tls_error
from tests.ca.certificates import Pair, handshake, make, server_context

CA = make("The CA", ca=True)
INTERMEDIATE = make("The intermediate", ca=True, issuer=CA)
OTHER_CA = make("Another CA", ca=True)
GOOD = make("good.example", issuer=CA)
CONTEXT = UpstreamTls().context()


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_bytes(CA.pem)
    return file


def failure(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> ssl.SSLError:
    with pytest.raises(ssl.SSLError) as refusal:
        handshake(server, client, host)
    return refusal.value


def test_certificate_of_the_given_ca_is_accepted(ca_file: Path, tmp_path: Path) -> None:
    side = handshake(
        server_context(GOOD, tmp_path), UpstreamTls(TlsPolicy(ca_file)).context(), "good.example"
    )
    assert side.version() == "TLSv1.3"


def test_address_in_the_certificate_is_accepted(ca_file: Path, tmp_path: Path) -> None:
    server = server_context(make("192.0.2.1", issuer=CA), tmp_path)
    assert handshake(server, UpstreamTls(TlsPolicy(ca_file)).context(), "192.0.2.1").version()


REFUSED = [
    (make("expired.example", issuer=CA, begin_in_days=-9, end_in_days=-1), "has expired"),
    (make("early.example", issuer=CA, begin_in_days=1), "is not valid yet"),
    (make("self.example"), "is self-signed"),
    (make("unknown.example", issuer=OTHER_CA), "comes from a CA that is not known here"),
    (make("client.example", issuer=CA, usage=ExtendedKeyUsageOID.CLIENT_AUTH), "not made for serv"),
]


@pytest.mark.parametrize(("pair", "fact"), REFUSED)
def test_bad_certificate_is_refused_and_passes_with_insecure(
    pair: Pair, fact: str, ca_file: Path, tmp_path: Path
) -> None:
    host = str(pair.certificate.subject.rfc4514_string().removeprefix("CN="))
    server = server_context(pair, tmp_path)
    context = UpstreamTls(TlsPolicy(ca_file)).context()
    text = describe_tls_error(failure(server, context, host), host, context)
    assert text.startswith(f"the certificate of {host} ")
    assert fact in text
    assert "--insecure" in text
    insecure = UpstreamTls(TlsPolicy(ca_file, insecure=True))
    assert insecure.context().verify_mode is ssl.CERT_NONE
    assert handshake(server, insecure.context(), host).version() == "TLSv1.3"


@pytest.mark.parametrize(
    ("host", "fact"),
    [("other.example", "is for other names"), ("192.0.2.1", "is for other addresses")],
)
def test_certificate_for_another_host_is_refused_and_passes_with_insecure(
    host: str, fact: str, ca_file: Path, tmp_path: Path
) -> None:
    server = server_context(GOOD, tmp_path)
    context = UpstreamTls(TlsPolicy(ca_file)).context()
    text = describe_tls_error(failure(server, context, host), host, context)
    assert text.startswith(f"the certificate of {host} {fact}; pass --insecure")
    assert handshake(server, UpstreamTls(TlsPolicy(insecure=True)).context(), host).version()


def test_root_sent_along_but_not_trusted_is_refused(tmp_path: Path) -> None:
    leaf = make("good.example", issuer=OTHER_CA)
    file = tmp_path / "chain.pem"
    file.write_bytes(leaf.pem + OTHER_CA.pem + leaf.key_pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    context = UpstreamTls().context()
    error = failure(server, context, "good.example")
    text = describe_tls_error(error, "good.example", context)
    assert "comes from a CA that is not trusted here" in text
    assert "--upstream-ca FILE" in text


def test_intermediate_may_be_trusted_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "intermediate.pem"
    file.write_bytes(INTERMEDIATE.pem)
    server = server_context(make("good.example", issuer=INTERMEDIATE), tmp_path)
    assert handshake(server, UpstreamTls(TlsPolicy(file)).context(), "good.example").version()


@pytest.fixture
def old_server(tmp_path: Path) -> ssl.SSLContext:
    server = server_context(GOOD, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1_1
    server.set_ciphers("DEFAULT@SECLEVEL=0")
    return server


def test_tls_1_1_is_refused_and_passes_with_insecure(
    old_server: ssl.SSLContext, ca_file: Path
) -> None:
    context = UpstreamTls(TlsPolicy(ca_file)).context()
    text = describe_tls_error(failure(old_server, context, "x"), "x", context)
    assert text.startswith("x speaks no TLS version from 1.2 on; pass --upstream-tls-min 1.0 ")
    for policy in (TlsPolicy(insecure=True), TlsPolicy(insecure_hosts=("^good",))):
        lax = UpstreamTls(policy).context((), "good.example", 443)
        assert handshake(old_server, lax, "good.example").version() == "TLSv1.1"


def test_lowest_version_that_was_asked_for_is_kept_to_with_insecure(
    old_server: ssl.SSLContext,
) -> None:
    context = UpstreamTls(TlsPolicy(insecure=True, minimum="1.2")).context()
    failure(old_server, context, "good.example")


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (TlsPolicy(minimum="1.3"), "x speaks no TLS version from 1.3 on; pass --upstream-tls-min"),
        (TlsPolicy(maximum="1.2"), "x speaks no TLS version from 1.2 to 1.2; pass --upstream-tls"),
        (TlsPolicy(insecure=True), "x speaks no TLS version from 1.0 on; use a newer server"),
    ],
)
def test_versions_that_were_offered_are_told(policy: TlsPolicy, text: str) -> None:
    told = describe_tls_error(answered_with(alert(70)), "x", UpstreamTls(policy).context())
    assert told.startswith(text)


def test_protocols_are_offered_in_the_order_given(ca_file: Path, tmp_path: Path) -> None:
    server = server_context(GOOD, tmp_path)
    server.set_alpn_protocols(["http/1.1"])
    upstream = UpstreamTls(TlsPolicy(ca_file))
    both = handshake(server, upstream.context(("h2", "http/1.1")), "good.example")
    assert both.selected_alpn_protocol() == "http/1.1"
    none = handshake(server, upstream.context(), "good.example")
    assert none.selected_alpn_protocol() is None


def test_context_is_made_once_for_each_list_of_protocols() -> None:
    upstream = UpstreamTls()
    made = upstream.context(("h2", "http/1.1"))
    assert upstream.context(("h2", "http/1.1")) is made
    assert upstream.context(("http/1.1",)) is not made


def test_lists_that_clients_make_up_share_a_context(ca_file: Path, tmp_path: Path) -> None:
    server = server_context(GOOD, tmp_path)
    server.set_alpn_protocols(["p1", "p2"])
    upstream = UpstreamTls(TlsPolicy(ca_file))
    for name in ("p1", "p2"):
        context = upstream.context((name,))
        assert handshake(server, context, "good.example").selected_alpn_protocol() == name
    assert upstream.context(("p3",)) is context
    assert upstream.context(("h2",)) is not context


def test_contexts_kept_are_bounded(tmp_path: Path) -> None:
    file = tmp_path / "mine.pem"
    file.write_bytes(GOOD.pem + GOOD.key_pem)
    certificates = {}
    for number in range(40):
        certificates[f"h{number}"] = tmp_path / f"{number}.pem"
        certificates[f"h{number}"].symlink_to(file)
    upstream = UpstreamTls(TlsPolicy(insecure=True, client_certs=certificates))
    made = upstream.context((), "h0")
    for host in certificates:
        upstream.context((), host)
    assert len(upstream._contexts) == 16
    assert upstream.context((), "h0") is not made


def test_systems_roots_are_trusted(ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ssl.get_default_verify_paths()
    monkeypatch.setenv(paths.openssl_cafile_env, str(ca_file))
    assert CA.certificate.serial_number in {
        int(str(root["serialNumber"]), 16) for root in UpstreamTls().context().get_ca_certs()
    }


@pytest.mark.parametrize(
    "content",
    [
        CA.pem,
        "# Zertifikat für alle\n".encode() + OTHER_CA.pem + "# ü\n".encode() + CA.pem,
        ssl.PEM_cert_to_DER_cert(CA.pem.decode()),
    ],
    ids=["pem", "bundle with comments", "der"],
)
def test_upstream_ca_file_is_read(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "ca"
    file.write_bytes(content)
    server = server_context(GOOD, tmp_path)
    assert handshake(server, UpstreamTls(TlsPolicy(file)).context(), "good.example").version()


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize(
    "content", [b"", b"nonsense", GOOD.key_pem, CA.pem[:200]], ids=["empty", "text", "key", "cut"]
)
def test_upstream_ca_file_without_a_certificate_is_refused(
    content: bytes, insecure: bool, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"upstream_ca: .*ca\.pem holds no certificate; name"):
        UpstreamTls(TlsPolicy(file, insecure))


def test_upstream_ca_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.pem cannot be read \(no such file"):
        UpstreamTls(TlsPolicy(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="cannot be read"):
        UpstreamTls(TlsPolicy(tmp_path))


def answered_with(data: bytes) -> BaseException:
    """What a client says to a server that answers its hello with `data`."""
    incoming = ssl.MemoryBIO()
    client = UpstreamTls().context().wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="x")
    incoming.write(data)
    if not data:
        incoming.write_eof()
    with pytest.raises(ssl.SSLError) as refusal:
        client.do_handshake()
    return refusal.value


def alert(description: int) -> bytes:
    return b"\x15\x03\x03\x00\x02\x02" + bytes([description])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (answered_with(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "x does not speak TLS on this port"),
        (answered_with(b""), "x closed the connection during the TLS handshake"),
        (answered_with(alert(40)), "x found no cipher or protocol that both sides accept"),
        (answered_with(alert(70)), "x speaks no TLS version from 1.2 on"),
        (answered_with(alert(112)), "x serves nothing under that name"),
        (answered_with(alert(116)), "x wants a client certificate"),
        (answered_with(alert(120)), "x accepts none of the protocols offered"),
        (answered_with(alert(80)), "TLS with x failed: tlsv1 alert internal error"),
        (ConnectionResetError(104, "reset"), "x closed the connection during"),
        (TimeoutError(), "x did not finish the TLS handshake in time"),
        (ConnectionLost("x"), "x closed the connection during"),
        (TlsError("the peer closed the connection during"), "x closed the connection during"),
        (ConnectionTimeout("x"), "x did not finish the TLS handshake in time"),
        (UnicodeError("label too long"), "x is no name that TLS can ask for (label too long)"),
        (OSError("odd"), "TLS with x failed: odd"),
    ],
)
def test_failed_handshake_is_told_in_words(error: BaseException, text: str) -> None:
    told = describe_tls_error(error, "x", CONTEXT)
    assert told.startswith(text)
    assert "; " in told


def test_error_of_ours_is_told_by_its_cause() -> None:
    error = UpstreamError("handshake")
    error.__cause__ = TimeoutError()
    assert "in time" in describe_tls_error(error, "x", CONTEXT)


def test_host_with_braces_is_shown_as_it_is() -> None:
    assert describe_tls_error(TimeoutError(), "{x}", CONTEXT).startswith("{x} did not finish")


def test_unknown_verify_code_shows_openssls_words() -> None:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = 999, "something new"
    told = describe_tls_error(error, "h", CONTEXT)
    assert told.startswith("the certificate of h is refused: something")


# --- what the user wants otherwise


def test_some_hosts_may_be_let_off(ca_file: Path, tmp_path: Path) -> None:
    upstream = UpstreamTls(TlsPolicy(ca_file, insecure_hosts=(r"\.lax\.example:8443$",)))
    server = server_context(make("self.example"), tmp_path)
    lax = upstream.context((), "a.lax.example", 8443)
    assert handshake(server, lax, "a.lax.example").version() == "TLSv1.3"
    for host, port in (("a.lax.example", 443), ("lax.example.org", 8443)):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(server, upstream.context((), host, port), host)


def test_older_versions_may_be_allowed(old_server: ssl.SSLContext, ca_file: Path) -> None:
    context = UpstreamTls(TlsPolicy(ca_file, minimum="1.1")).context()
    assert handshake(old_server, context, "good.example").version() == "TLSv1.1"


def test_newer_versions_may_be_kept_out(ca_file: Path, tmp_path: Path) -> None:
    context = UpstreamTls(TlsPolicy(ca_file, maximum="1.2")).context()
    server = server_context(GOOD, tmp_path)
    assert handshake(server, context, "good.example").version() == "TLSv1.2"


def test_ciphers_may_be_named(ca_file: Path, tmp_path: Path) -> None:
    name = "ECDHE-ECDSA-AES256-GCM-SHA384"
    context = UpstreamTls(TlsPolicy(ca_file, maximum="1.2", ciphers=name)).context()
    side = handshake(server_context(GOOD, tmp_path), context, "good.example")
    cipher = side.cipher()
    assert cipher is not None
    assert cipher[0] == name


def test_policies_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("nothing")
    for policy, complaint in (
        (TlsPolicy(minimum="1.3", maximum="1.2"), "upstream_tls_min = 1.3 is above"),
        (TlsPolicy(maximum="1.1"), "upstream_tls_min = 1.2 is above"),
        (TlsPolicy(ciphers="NONSENSE"), "OpenSSL knows none of them"),
        (TlsPolicy(client_certs={"*": tmp_path / "none.pem"}), r"client_certs: .* cannot be read"),
        (TlsPolicy(client_certs={"*": text}), "holds no certificate with its key"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            UpstreamTls(policy)


def test_an_encrypted_client_key_is_refused_without_asking_the_terminal(tmp_path: Path) -> None:
    pair = make("client.example", issuer=CA)
    file = tmp_path / "mine.pem"
    encrypted = pair.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    file.write_bytes(pair.pem + encrypted)
    with pytest.raises(ConfigError, match="unencrypted; put both into one PEM file"):
        UpstreamTls(TlsPolicy(client_certs={"client.example": file}))
