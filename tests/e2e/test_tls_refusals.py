"""Origins whose TLS is not to be trusted: refused with the reason, and let in where told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.ca.certificates import make, server_context
from tests.e2e.harness import ProxyProcess
from tests.e2e.wires import Wires

CA = make("The origins' CA", ca=True)
OTHER_CA = make("Another CA", ca=True)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"

_CERTIFICATES = {
    "expired": (
        make("localhost", issuer=CA, begin_in_days=-9, end_in_days=-1),
        b"the certificate of localhost has expired; pass --insecure-hosts ",
    ),
    "not valid yet": (
        make("localhost", issuer=CA, begin_in_days=1),
        b"the certificate of localhost is not valid yet; check this machine's clock",
    ),
    "wrong host": (
        make("other.example", issuer=CA),
        b"the certificate of localhost is for other names; pass --insecure-hosts ",
    ),
    "common name alone": (
        make("localhost", issuer=CA, alternative=False),
        b"the certificate of localhost is for other names; pass --insecure-hosts ",
    ),
    "self-signed": (
        make("localhost"),
        b"the certificate of localhost is self-signed; pass --upstream-ca FILE ",
    ),
    "unknown CA": (
        make("localhost", issuer=OTHER_CA),
        b"the certificate of localhost comes from a CA that is not known here; pass --upstream-ca ",
    ),
    "for clients": (
        make("localhost", issuer=CA, usage=ExtendedKeyUsageOID.CLIENT_AUTH),
        b"the certificate of localhost was not made for servers; pass --insecure-hosts ",
    ),
    "TLS 1.1": (
        make("localhost", issuer=CA),
        b"localhost speaks no TLS version from 1.2 on; pass --upstream-tls-min 1.0 ",
    ),
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("roots") / "ca.pem"
    file.write_bytes(CA.pem)
    return file


@pytest.fixture(scope="module")
def strict(roots: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    arguments = ("--upstream-ca", str(roots))
    with ProxyProcess.running(tmp_path_factory.mktemp("strict"), *arguments) as proxy:
        yield proxy


@pytest.fixture(
    scope="module",
    params=[("--insecure",), ("--insecure-hosts", r"^localhost:\d+$")],
    ids=["insecure", "this host"],
)
def lax(
    roots: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyProcess]:
    arguments = ("--upstream-ca", str(roots), *request.param)
    with ProxyProcess.running(tmp_path_factory.mktemp("lax"), *arguments) as proxy:
        yield proxy


def serve_one(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Answer one client; what asyncio's servers keep from it is the alert that says why not."""
    client, _ = listener.accept()
    with client, contextlib.suppress(OSError), context.wrap_socket(client, True) as secured:
        secured.recv(65536)
        secured.sendall(ANSWER)


async def ask(proxy: ProxyProcess, context: ssl.SSLContext) -> bytes:
    """Return what a client gets of an origin that shows what `context` says."""
    wires = Wires(proxy)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.to_thread(serve_one, listener, context)
        async with asyncio.TaskGroup() as group:
            group.create_task(serving)
            reader, _ = await wires.get(f"https://localhost:{listener.getsockname()[1]}/")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            answer = head + await reader.readexactly(length)
    await wires.close()
    return answer


@pytest.fixture(params=_CERTIFICATES)
def origin_context(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ssl.SSLContext, bytes]:
    """What an origin shows, and what is said of it."""
    pair, reason = _CERTIFICATES[request.param]
    context = server_context(pair, tmp_path)
    if request.param == "TLS 1.1":
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context, reason


async def test_origin_that_is_not_to_be_trusted_is_a_502_that_says_why(
    strict: ProxyProcess, origin_context: tuple[ssl.SSLContext, bytes]
) -> None:
    context, reason = origin_context
    answer = await ask(strict, context)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert answer.partition(b"\r\n\r\n")[2].startswith(b"int3rceptor: " + reason)


async def test_it_passes_where_nothing_is_verified(
    lax: ProxyProcess, origin_context: tuple[ssl.SSLContext, bytes]
) -> None:
    assert (await ask(lax, origin_context[0])).endswith(b"\r\n\r\nhello")


async def test_one_that_is_in_order_passes_as_it_is(strict: ProxyProcess, tmp_path: Path) -> None:
    context = server_context(make("localhost", issuer=CA), tmp_path)
    assert (await ask(strict, context)).endswith(b"\r\n\r\nhello")
