"""Ways to be a proxy: SOCKS, another proxy in between, bytes, several at once; and whom not to."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from int3rceptor_tui.demo.certificate import OriginCertificate
from tests.ca.certificates import make
from tests.e2e.conftest import StartProxy
from tests.e2e.harness import BackgroundOrigin, Curl, Nginx, ProxyProcess

pytestmark = pytest.mark.tools("curl")

CA = make("The clients' CA", ca=True)


@pytest.fixture
def direct(tmp_path: Path) -> Curl:
    """Curl with no proxy of its own."""
    return Curl(None, tmp_path)


@pytest.fixture
def roots(certificate: OriginCertificate) -> tuple[str, str]:
    return ("--upstream-ca", str(certificate.ca_file))


# --- SOCKS 5


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
def test_socks_carries_http_https_and_http2(
    kind: str,
    start_proxy: StartProxy,
    origin: BackgroundOrigin,
    direct: Curl,
    roots: tuple[str, str],
) -> None:
    proxy = start_proxy("--mode", "socks5", *roots)
    through = ("-x", f"{kind}://127.0.0.1:{proxy.port}", "--cacert", str(proxy.ca))
    for url, version in (
        (f"http://127.0.0.1:{origin.http}/headers", "1.1"),
        (f"https://localhost:{origin.https}/headers", "2"),
    ):
        answer = direct(url, *through)
        assert (answer.status, answer.version) == (200, version), answer.problem


def test_socks_asks_for_the_password_where_there_is_one(
    start_proxy: StartProxy, origin: BackgroundOrigin, direct: Curl
) -> None:
    proxy = start_proxy("--mode", "socks5", "--proxy-auth", "me:secret")
    url = f"http://127.0.0.1:{origin.http}/"
    address = f"127.0.0.1:{proxy.port}"
    assert direct(url, "-x", f"socks5://me:secret@{address}").status == 200
    for wrong in (f"socks5://me:other@{address}", f"socks5://{address}"):
        assert direct(url, "-x", wrong).problem


def test_a_proxy_behind_socks_is_asked_as_the_client_asks_it(
    start_proxy: StartProxy, origin: BackgroundOrigin, direct: Curl
) -> None:
    socks = start_proxy("--mode", "socks5")
    other = start_proxy("--proxy-auth", "me:secret")
    url = f"http://127.0.0.1:{origin.http}/headers"
    through = ("--preproxy", f"socks5h://127.0.0.1:{socks.port}", "-x", other.url)
    assert direct(url, *through, "--proxy-user", "me:secret").status == 200
    asked = direct(url, *through, "--proxy-user", "me:secret", "--proxy-anyauth")
    assert asked.status == 200, asked.problem
    assert direct(url, *through, "--proxy-user", "me:wrong").status == 407
    itself = ("--preproxy", f"socks5h://127.0.0.1:{socks.port}", "-x", f"127.0.0.1:{socks.port}")
    assert direct(url, *itself).status == 508


def test_socks_carries_what_is_no_http(start_proxy: StartProxy, origin: BackgroundOrigin) -> None:
    proxy = start_proxy("--mode", "socks5")
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
        client.sendall(b"\x05\x01\x00")
        assert client.recv(2) == b"\x05\x00"
        client.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + origin.echo.to_bytes(2, "big"))
        assert client.recv(10)[:2] == b"\x05\x00"
        assert client.recv(100) == b"220 speak, friend\r\n"
        client.sendall(b"friend")
        assert client.recv(100) == b"friend"


# --- another proxy in between


def test_everything_goes_through_the_parent_that_asks_for_a_password(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path, roots: tuple[str, str]
) -> None:
    parent = start_proxy("--proxy-auth", "me:sec@ret", *roots)
    mode = f"upstream:http://me:sec%40ret@127.0.0.1:{parent.port}"
    proxy = start_proxy("--mode", mode, "--upstream-ca", str(parent.ca))
    curl = Curl(proxy, tmp_path)
    for url, version in (
        (f"http://127.0.0.1:{origin.http}/headers", "1.1"),
        (f"https://localhost:{origin.https}/headers", "2"),
    ):
        answer = curl(url)
        assert (answer.status, answer.version) == (200, version), answer.problem
        assert "proxy-authorization" not in answer.body.decode().lower()
    body = "x" * 100_000
    assert curl(f"http://127.0.0.1:{origin.http}/echo", "-d", body).body == body.encode()


def test_parent_may_be_spoken_to_in_tls(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path, roots: tuple[str, str]
) -> None:
    parent = start_proxy(*roots)
    proxy = start_proxy(
        *("--mode", f"upstream:https://localhost:{parent.port}"),
        *("--upstream-ca", str(parent.ca)),
    )
    curl = Curl(proxy, tmp_path)
    for url in (f"http://127.0.0.1:{origin.http}/", f"https://localhost:{origin.https}/"):
        assert curl(url).status == 200
    body = "x" * 100_000
    assert curl(f"https://localhost:{origin.https}/echo", "-d", body).body == body.encode()


def test_parent_that_refuses_is_told_with_the_remedy(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    parent = start_proxy("--proxy-auth", "me:secret")
    proxy = start_proxy("--mode", f"upstream:http://127.0.0.1:{parent.port}")
    curl = Curl(proxy, tmp_path)
    for url in (f"https://localhost:{origin.https}/", f"http://localhost:{origin.http}/"):
        answer = curl(url)
        assert answer.status == 502
        assert b"407" in answer.body
        assert b"upstream:http://USER:PASSWORD@HOST:PORT" in answer.body


# --- bytes, and names


def test_reverse_mode_for_bytes(
    start_proxy: StartProxy, origin: BackgroundOrigin, roots: tuple[str, str]
) -> None:
    plain = start_proxy("--mode", f"reverse:tcp://127.0.0.1:{origin.echo}")
    with socket.create_connection(("127.0.0.1", plain.port), timeout=10) as client:
        assert client.recv(100) == b"220 speak, friend\r\n"
        client.sendall(b"friend")
        assert client.recv(100) == b"friend"
    secured = start_proxy("--mode", f"reverse:tls://localhost:{origin.https1}", *roots)
    with socket.create_connection(("127.0.0.1", secured.port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_reverse_mode_may_keep_the_host_and_connect_elsewhere(
    start_proxy: StartProxy, origin: BackgroundOrigin, direct: Curl
) -> None:
    proxy = start_proxy(
        *("--mode", "reverse:http://nowhere.invalid", "--keep-host"),
        *("--connect-address", f"127.0.0.1:{origin.http}"),
    )
    answer = direct(f"http://127.0.0.1:{proxy.port}/headers", "-H", "Host: mine.example")
    assert answer.status == 200, answer.problem
    fields = json.loads(answer.body)["fields"]
    assert ["host", "mine.example"] in [[name.lower(), value] for name, value in fields]


def test_several_modes_run_at_once(
    start_proxy: StartProxy, origin: BackgroundOrigin, direct: Curl
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    proxy = start_proxy("--mode", "regular", "--mode", f"socks5@127.0.0.1:{free}")
    url = f"http://127.0.0.1:{origin.http}/"
    assert direct(url, "-x", f"http://127.0.0.1:{proxy.port}").status == 200
    assert direct(url, "-x", f"socks5://127.0.0.1:{free}").status == 200


# --- TLS left alone


@pytest.mark.parametrize(
    "arguments",
    [("--ignore-hosts", "^localhost:"), ("--allow-hosts", r"\.example$")],
    ids=["ignored", "not allowed"],
)
def test_tls_that_is_to_be_left_alone_is(
    arguments: tuple[str, str],
    start_proxy: StartProxy,
    origin: BackgroundOrigin,
    certificate: OriginCertificate,
    direct: Curl,
) -> None:
    proxy = start_proxy(*arguments)
    through = ("-x", proxy.url, "--cacert", str(certificate.ca_file))
    assert direct(f"https://localhost:{origin.https}/", *through).status == 200


def test_hosts_whose_clients_refuse_our_certificate_are_learnt(
    start_proxy: StartProxy,
    origin: BackgroundOrigin,
    certificate: OriginCertificate,
    direct: Curl,
) -> None:
    proxy = start_proxy("--auto-passthrough")
    through = ("-x", proxy.url, "--cacert", str(certificate.ca_file))
    url = f"https://localhost:{origin.https}/"
    assert direct(url, *through).problem
    assert direct(url, *through).problem
    assert direct(url, *through).status == 200


# --- never to itself, never for everybody


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.9.9.9",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
    ],
)
def test_proxy_never_dials_itself(host: str, proxy: ProxyProcess) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
        where = f"{host}:{proxy.port}".encode()
        client.sendall(b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (where, where))
        assert client.recv(1000).startswith(b"HTTP/1.1 508 ")


def test_password_is_asked_for_and_not_passed_on(
    start_proxy: StartProxy, origin: BackgroundOrigin, direct: Curl, roots: tuple[str, str]
) -> None:
    proxy = start_proxy("--proxy-auth", "me:secret", *roots)
    url = f"http://127.0.0.1:{origin.http}/headers"
    refused = direct(url, "-x", proxy.url)
    assert refused.status == 407
    right = f"http://me:secret@127.0.0.1:{proxy.port}"
    answer = direct(url, "-x", right)
    assert answer.status == 200
    assert b"bWU6" not in answer.body
    secure = f"https://localhost:{origin.https}/"
    trust = ("--cacert", str(proxy.ca))
    assert direct(secure, "-x", right, *trust).status == 200
    assert "407" in direct(secure, "-x", proxy.url, *trust).problem


def test_passwords_may_come_from_an_htpasswd_file(
    start_proxy: StartProxy, origin: BackgroundOrigin, direct: Curl, tmp_path: Path
) -> None:
    digest = base64.b64encode(bytes.fromhex("e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4")).decode()
    file = tmp_path / "users"
    file.write_text(f"# ours\nme:{{SHA}}{digest}\n")
    proxy = start_proxy("--proxy-auth", f"@{file}")
    url = f"http://127.0.0.1:{origin.http}/"
    assert direct(url, "-x", f"http://me:secret@127.0.0.1:{proxy.port}").status == 200
    assert direct(url, "-x", f"http://me:wrong@127.0.0.1:{proxy.port}").status == 407


def test_origin_that_wants_a_certificate_gets_ours(
    start_proxy: StartProxy, certificate: OriginCertificate, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain_file)
    context.verify_mode = ssl.CERT_REQUIRED
    pair = make("client.example", issuer=CA, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    context.load_verify_locations(cadata=CA.pem.decode())
    mine = tmp_path / "mine.pem"
    mine.write_bytes(pair.pem + pair.key_pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        proxy = start_proxy(
            *("--upstream-ca", str(certificate.ca_file)),
            *("--client-cert", f"localhost={mine}"),
        )
        client = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        where = f"localhost:{port}".encode()
        client.sendall(b"GET https://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (where, where))
        listener.settimeout(10)
        accepted, _ = listener.accept()
        with context.wrap_socket(accepted, server_side=True) as secured, client:
            assert secured.recv(1000).startswith(b"GET / HTTP/1.1")
            assert secured.getpeercert()
            secured.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 204")


# --- the proxy's own pages


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_magic_host_offers_the_certificate(scheme: str, curl: Curl, proxy: ProxyProcess) -> None:
    page = curl(f"{scheme}://int3rceptor.internal/")
    assert page.status == 200
    assert b"/cert/pem" in page.body
    assert curl(f"{scheme}://int3rceptor.internal/cert/pem").body == proxy.ca.read_bytes()


@pytest.mark.parametrize(
    "host", ["INT3RCEPTOR.Internal", "int3rceptor.internal:80", "int3rceptor.internal:8080"]
)
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_magic_host_is_known_in_any_spelling(
    host: str, version: str, direct: Curl, proxy: ProxyProcess
) -> None:
    target = (
        ("-x", proxy.url)
        if version == "--http1.1"
        else ("--connect-to", f"::127.0.0.1:{proxy.port}")
    )
    assert b"/cert/pem" in direct(f"http://{host}/", version, *target).body


def test_browser_that_opens_the_proxy_s_address_gets_its_page(
    direct: Curl, proxy: ProxyProcess
) -> None:
    page = direct(f"http://127.0.0.1:{proxy.port}/")
    assert page.status == 200
    assert b"<h1>INT3RCEPTOR</h1>" in page.body


@pytest.mark.parametrize("form", ["pem", "der", "p12"])
def test_ca_export_writes_each_form(form: str, tmp_path: Path, proxy: ProxyProcess) -> None:
    out = tmp_path / f"ca.{form}"
    command = [sys.executable, "-m", "int3rceptor_tui.cli", "ca", "export", "--format", form]
    data_dir = ["--data-dir", str(proxy.ca.parent.parent)]
    done = subprocess.run([*command, *data_dir, "--out", str(out)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    piped = subprocess.run([*command, *data_dir], capture_output=True)
    if form != "p12":  # of which no two are alike
        assert piped.stdout == out.read_bytes()
    assert out.stat().st_size > 300


def test_ca_export_writes_through_links_and_into_devices(
    tmp_path: Path, proxy: ProxyProcess
) -> None:
    link, file = tmp_path / "link.pem", tmp_path / "ca.pem"
    link.symlink_to(file)
    device = tmp_path / "null"
    device.symlink_to(os.devnull)
    command = [sys.executable, "-m", "int3rceptor_tui.cli", "ca", "export"]
    command += ["--data-dir", str(proxy.data_dir), "--out"]
    for out in (str(link), str(device), "/dev/stdout"):
        done = subprocess.run([*command, out], capture_output=True)
        assert (done.returncode, done.stderr) == (0, b""), out
    assert done.stdout == file.read_bytes() == proxy.ca.read_bytes()
    assert link.is_symlink()
    assert device.is_char_device()


def test_ca_export_of_the_key_needs_a_password(tmp_path: Path, proxy: ProxyProcess) -> None:
    command = [sys.executable, "-m", "int3rceptor_tui.cli", "ca", "export", "--format", "p12"]
    command += ["--data-dir", str(proxy.ca.parent.parent), "--with-key"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "pass --password-file FILE" in refused.stderr
    password, out = tmp_path / "password", tmp_path / "ca.p12"
    password.write_text("open sesame\n")
    more = ["--password-file", str(password), "--out", str(out)]
    assert subprocess.run([*command, *more], capture_output=True).returncode == 0
    assert out.stat().st_mode & 0o777 == 0o600


def test_own_ca_signs_for_the_proxy(
    start_proxy: StartProxy, origin: BackgroundOrigin, direct: Curl, tmp_path: Path
) -> None:
    own = make("Company CA", ca=True)
    file = tmp_path / "company.pem"
    file.write_bytes(own.pem + own.key_pem)
    file.chmod(0o600)
    proxy = start_proxy("--ca-cert", str(file), "--insecure")
    url = f"https://localhost:{origin.https}/"
    assert direct(url, "-x", proxy.url, "--cacert", str(file)).status == 200


# --- whose connections


@pytest.mark.parametrize("own", [False, True], ids=["shared", "per client"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_upstream_connections_are_shared_unless_each_client_wants_its_own(
    own: bool,
    scheme: str,
    start_proxy: StartProxy,
    nginx: Nginx,
    roots: tuple[str, str],
    tmp_path: Path,
) -> None:
    proxy = start_proxy(*roots, *(["--upstream-per-client"] if own else []))
    curl = Curl(proxy, tmp_path)
    port = nginx.http if scheme == "http" else nginx.https
    url = f"{scheme}://localhost:{port}/connection"
    first, second = (curl(url, url).body.split() for _ in range(2))
    numbers = [int(word) for word in (*first[::2], *second[::2])]
    assert numbers[0] == numbers[1], "a client keeps its connection"
    assert numbers[2] == numbers[3]
    assert (numbers[0] == numbers[2]) is not own
