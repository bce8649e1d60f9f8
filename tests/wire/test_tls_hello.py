from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy_core.errors import RemoteProtocolError
from proxy_core.wire.tls_hello import CLIENT_HELLO_LIMIT, ClientHello, read_client_hello
from tests.ca.certificates import client_hello


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def shorts(numbers: Sequence[int]) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


def extension(kind: int, body: bytes = b"") -> bytes:
    return shorts([kind]) + vector(2, body)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, n) for n in names)))


def alpn(*names: bytes) -> bytes:
    return extension(16, vector(2, b"".join(vector(1, n) for n in names)))


def message(
    extensions: bytes | None = b"",
    ciphers: Sequence[int] = (0x1301,),
    version: int = 0x0303,
    session: bytes = b"s" * 32,
    compression: bytes = b"\0",
) -> bytes:
    body = shorts([version]) + b"r" * 32 + vector(1, session) + vector(2, shorts(ciphers))
    body += vector(1, compression) + (b"" if extensions is None else vector(2, extensions))
    return b"\x01" + vector(3, body)


def records(handshake: bytes, size: int = 2**14) -> bytes:
    pieces = [handshake[i : i + size] for i in range(0, len(handshake), size)]
    return b"".join(b"\x16\x03\x01" + vector(2, piece) for piece in pieces)


def read(data: bytes, limit: int = CLIENT_HELLO_LIMIT) -> ClientHello:
    hello = read_client_hello(data, limit)
    assert hello is not None
    return hello


GREASE = 0x3A3A
FULL = message(
    extension(GREASE)
    + server_name(b"example.com")
    + alpn(b"h2", b"http/1.1")
    + extension(43, vector(1, shorts([0x5A5A, 0x0304, 0x0303])))
    + extension(10, vector(2, shorts([GREASE, 29, 23])))
    + extension(11, vector(1, b"\0\1"))
    + extension(13, vector(2, shorts([0x0403, 0x0804]))),
    ciphers=[GREASE, 0x1301, 0x1302],
)


def test_every_fact_is_read() -> None:
    assert read(records(FULL)) == ClientHello(
        version=0x0303,
        cipher_suites=(GREASE, 0x1301, 0x1302),
        extensions=(GREASE, 0, 16, 43, 10, 11, 13),
        sni="example.com",
        alpn=("h2", "http/1.1"),
        versions=(0x5A5A, 0x0304, 0x0303),
        groups=(GREASE, 29, 23),
        point_formats=(0, 1),
        signature_algorithms=(0x0403, 0x0804),
    )


def test_hello_of_old_has_no_extensions() -> None:
    hello = read(records(message(None, ciphers=[4, 5], version=0x0300)))
    assert hello == ClientHello(version=0x0300, cipher_suites=(4, 5), extensions=())


def test_name_of_an_unknown_type_is_passed_over() -> None:
    assert read(records(message(server_name(b"x", kind=9)))).sni is None


def test_what_follows_the_hello_is_left_alone() -> None:
    assert read(records(FULL) + b"\x14\x03\x03\x00\x01\x01") == read(records(FULL))
    assert read(records(FULL + b"\x0b\0\0\0")) == read(records(FULL))


@pytest.mark.parametrize("size", [3, 4, 5, 50, 2**14])
def test_hello_split_at_every_byte_equals_whole(size: int) -> None:
    data = records(FULL, size) if size > 4 else records(FULL[:40], size) + records(FULL[40:])
    whole = read(data)
    assert whole == read(records(FULL))
    for end in range(len(data)):
        assert read_client_hello(data[:end]) is None


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"G", "type 71"),
        (b"\x15\x03\x01", "type 21"),
        (b"\x16\x02", "major version 2"),
        (b"\x16\x03\x01\x00\x00", "a record of 0 bytes"),
        (b"\x16\x03\x01\x40\x01", "a record of 16385 bytes"),
        (b"\x16\x03\x01\x00\x04\x02", "message of type 2"),
        (records(FULL[:9]) + b"\x17\x03\x03", "type 23"),
        (records(message(session=b"s" * 33)), "session id"),
        (records(message(compression=b"")), "no compression"),
        (records(message() + b"")[:-1] + b"\1", "longer than what contains it"),
        (records(message(extension(5) + b"\0\0\0")), "cut off"),
        (records(message(b"\0\x05\0\x01")), "longer than what contains it"),
        (records(message(extension(5) * 2)), "extension 5 twice"),
        (records(message(extension(0, vector(2, b"") + b"x"))), "1 byte too many"),
        (records(message(server_name(b""))), "the server name ''"),
        (records(message(server_name(b"a\0b"))), "server name"),
        (records(message(server_name(b"\xc3\xbc.example"))), "server name"),
        (records(message(server_name(b"a" * 256))), "server name"),
        (records(message(extension(16, b"\0\x03\x05h2"))), "longer"),
        (records(message(extension(43, b"\x03\x03\x04\x03"))), "in 3 bytes"),
        (records(message(extension(10, b"\0\x02\0"))), "longer"),
        (b"\x16\x03\x01\x00\x05\x01\0\0\x01\x03", "longer"),
    ],
)
def test_what_is_no_client_hello_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=f"not a TLS ClientHello: .*{complaint}"):
        read_client_hello(data)


def test_hello_over_the_limit_is_refused_as_soon_as_it_says_its_length() -> None:
    handshake = message(extension(21, bytes(1000)))
    size = len(handshake)
    assert read(records(handshake), limit=size).extensions == (21,)
    with pytest.raises(RemoteProtocolError, match=f"{size} bytes, more than the {size - 1}"):
        read_client_hello(records(handshake)[:9], limit=size - 1)


@pytest.mark.parametrize("size", [1, 2])
def test_hello_in_too_many_pieces_is_refused(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="more than 64 pieces"):
        read_client_hello(records(FULL, size))


@given(st.binary(max_size=300))
@example(b"")
def test_any_bytes_give_nothing_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert read_client_hello(data) is None


@given(st.binary(max_size=120))
def test_any_body_gives_a_hello_or_a_protocol_error(body: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert isinstance(read(records(b"\x01" + vector(3, body))), ClientHello)


@given(st.data())
def test_damaged_hello_gives_a_hello_nothing_or_a_protocol_error(data: st.DataObject) -> None:
    damaged = bytearray(records(FULL, 100))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteProtocolError):
        hello = read_client_hello(bytes(damaged))
        assert hello is None or (len(hello.ja3) == 32 and hello.ja4.startswith("t"))


@given(
    st.lists(st.integers(0, 0xFFFF), max_size=30),
    st.lists(st.integers(17, 0xFFFF).filter(lambda n: n != 43), max_size=10, unique=True),
    st.integers(30, 400),
)
def test_numbers_survive_the_round_trip(ciphers: list[int], kinds: list[int], size: int) -> None:
    hello = read(records(message(b"".join(map(extension, kinds)), ciphers=ciphers), size))
    assert hello.cipher_suites == tuple(ciphers)
    assert hello.extensions == tuple(kinds)


# Fingerprints as published: JA3 in its authors' description of it, JA4 likewise and in the tests
# of other programs that compute it; the hellos are rebuilt from the facts given there.


@pytest.mark.parametrize(
    ("hello", "text", "fingerprint"),
    [
        (
            ClientHello(
                version=769,
                cipher_suites=(47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4),
                extensions=(0, 10, 11),
                groups=(23, 24, 25),
                point_formats=(0,),
            ),
            "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0",
            "ada70206e40642a3e4461f35503241d5",
        ),
        (
            ClientHello(
                version=769,
                cipher_suites=(4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99),
                extensions=(),
            ),
            "769,4-5-10-9-100-98-3-6-19-18-99,,,",
            "de350869b8c85de67a350c8d186f11e6",
        ),
    ],
)
def test_published_ja3(hello: ClientHello, text: str, fingerprint: str) -> None:
    assert hello.ja3_text == text
    assert hello.ja3 == fingerprint


def test_ja3_leaves_grease_out() -> None:
    assert read(records(FULL)).ja3_text == "771,4865-4866,0-16-43-10-11-13,29-23,0-1"


def hexes(text: str) -> tuple[int, ...]:
    return tuple(int(number, 16) for number in text.split(","))


CHROME = ClientHello(
    version=0x0303,
    cipher_suites=hexes(
        "5a5a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
    ),
    extensions=hexes(
        "fafa,0000,0033,0012,000d,0023,000b,ff01,000a,001b,4469,002d,0010,0005,002b,0017,1a1a,0015"
    ),
    sni="content-autofill.googleapis.com",
    alpn=("h2", "http/1.1"),
    versions=hexes("0a0a,0304,0303"),
    signature_algorithms=hexes("0403,0804,0401,0503,0805,0501,0806,0601"),
)
FIREFOX = ClientHello(
    version=0x0303,
    cipher_suites=hexes(
        "1301,1303,1302,c02b,c02f,cca9,cca8,c02c,c030,c00a,c009,c013,c014,009c,009d,002f,0035"
    ),
    extensions=hexes("0000,0017,ff01,000a,000b,0023,0010,0005,0022,0033,002b,000d,002d,001c,0015"),
    sni="contile.services.mozilla.com",
    alpn=("h2", "http/1.1"),
    versions=hexes("0304,0303"),
    signature_algorithms=hexes("0403,0503,0603,0804,0805,0806,0401,0501,0601,0203,0201"),
)


@pytest.mark.parametrize(
    ("hello", "fingerprint"),
    [
        (CHROME, "t13d1516h2_8daaf6152771_e5627efa2ab1"),
        (FIREFOX, "t13d1715h2_5b57614c22b0_3d5424432f57"),
    ],
)
def test_published_ja4(hello: ClientHello, fingerprint: str) -> None:
    assert hello.ja4 == fingerprint


@pytest.mark.parametrize(
    ("first", "ends"),
    [
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (b"\xab", "ab"),
        (b"\x20", "20"),
        (b"\xab\xcd", "ad"),
        (b"\x20\x61", "21"),
        (b"\x30\xab", "3b"),
        (b"\x61\x20", "60"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
        (b"\xb2\xb3", "b3"),
        (b"", "00"),
    ],
)
def test_ja4_shows_the_ends_of_the_first_protocol(first: bytes, ends: str) -> None:
    assert read(records(message(alpn(first, b"zz")))).ja4[8:10] == ends


@pytest.mark.parametrize(
    ("version", "shown"),
    [(0x0300, "s3"), (0x0301, "10"), (0x0302, "11"), (0x0303, "12"), (0x0399, "00")],
)
def test_ja4_without_the_extension_shows_the_old_version_field(version: int, shown: str) -> None:
    assert read(records(message(version=version))).ja4[1:3] == shown


def test_ja4_of_next_to_nothing() -> None:
    hello = ClientHello(version=0x0303, cipher_suites=(), extensions=())
    assert hello.ja4 == "t12i000000_000000000000_000000000000"


def test_ja4_counts_to_99() -> None:
    hello = ClientHello(
        version=0x0303,
        cipher_suites=tuple(range(0x1000, 0x1100)),
        extensions=tuple(range(0x2000, 0x2100)),
    )
    assert hello.ja4.startswith("t12i999900_")


# Real clients.


@pytest.mark.parametrize("host", ["example.com", None])
def test_hello_of_pythons_ssl(host: str | None) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.set_alpn_protocols(["h2", "http/1.1"])
    # As not every build of OpenSSL has it of itself.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM")
    hello = read(client_hello(context, host))
    assert hello.sni == host
    assert hello.alpn == ("h2", "http/1.1")
    assert set(hello.versions) == {0x0303, 0x0304}
    assert hello.version_names == ("TLSv1.3", "TLSv1.2")
    assert {c["id"] & 0xFFFF for c in context.get_ciphers()} <= set(hello.cipher_suites)
    assert hello.ja4.startswith(f"t13{'d' if host else 'i'}")


async def first_bytes_of(*command: str | Path) -> bytes:
    """Run a client with `PORT` replaced; return what it sends before it is answered."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = str(listener.getsockname()[1])
        process = await asyncio.create_subprocess_exec(
            *(str(word).replace("PORT", port) for word in command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            connection, _ = await loop.sock_accept(listener)
            with connection:
                data = b""
                while read_client_hello(data) is None:
                    data += await loop.sock_recv(connection, 65536)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
    return data


@pytest.mark.tools("curl")
@pytest.mark.parametrize(
    ("flag", "protocols"), [("--http2", {"h2", "http/1.1"}), ("--http1.1", {"http/1.1"})]
)
async def test_hello_of_curl(flag: str, protocols: set[str]) -> None:
    resolve = ["--resolve", "curl.example:PORT:127.0.0.1", "--noproxy", "*"]
    hello = read(await first_bytes_of("curl", flag, *resolve, "https://curl.example:PORT/"))
    assert hello.sni == "curl.example"
    assert set(hello.alpn) == protocols
    assert 0x0304 in hello.versions


@pytest.mark.tools("openssl")
async def test_hello_of_openssl() -> None:
    command = ["openssl", "s_client", "-connect", "127.0.0.1:PORT", "-servername", "o.example"]
    hello = read(
        await first_bytes_of(*command, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
    )
    assert hello.sni == "o.example"
    assert hello.cipher_suites == (0xC02F, 0x00FF)
    assert hello.alpn == ()
    assert hello.ja4.startswith("t12d0")


@pytest.mark.tools("openssl")
async def test_large_hello_of_openssl_comes_in_several_records() -> None:
    names = ",".join(f"{i:0>200}" for i in range(120))
    command = ["openssl", "s_client", "-connect", "127.0.0.1:PORT", "-alpn", names]
    data = await first_bytes_of(*command, "-split_send_frag", "600", "-max_send_frag", "600")
    assert len(read(data).alpn) == 120
    assert data[5 + int.from_bytes(data[3:5], "big")] == 0x16
