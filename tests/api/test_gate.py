from __future__ import annotations

import hmac

import pytest

from proxy_core.api.app import ENDPOINTS, HEALTH
from proxy_core.api.gate import Gate, host_of
from tests.api.asgi import SECRET, Client

GATE = Gate(SECRET, ("Proxy.Example", "192.0.2.7:3000", "[2001:db8::7]:3000"))


def accepts_host(*hosts: str, local: str = "127.0.0.1") -> bool:
    fields = [(b"host", host.encode("latin-1")) for host in hosts]
    return GATE.check_host(fields, local) is None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:3000",
        "localhost.:1",
        "127.0.0.1",
        "127.0.0.1:4000",
        "127.9.9.9:3000",
        "[::1]",
        "[::1]:3000",
        "[0:0:0:0:0:0:0:1]:3000",
        "[::ffff:127.0.0.1]:3000",
        "proxy.example",
        "PROXY.EXAMPLE.:3000",
        "192.0.2.7",
        "[2001:DB8:0::7]:80",
    ],
)
def test_hosts_that_are_ours_pass_however_they_are_spelled(host: str) -> None:
    assert accepts_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "evil.example#localhost",
        "evil.example/localhost",
        "localhost@evil.example",
        "evil.example@localhost",
        "localhost:3000:3000",
        "localhost:99999",
        "localhost:",
        "local host",
        "localhost,evil.example",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "[::]",
        "192.0.2.8",
        "[::1",
        "::1",
        "[::1%lo]",
        "l\u00f6calhost",
        "localhost\x00",
        "localhost..",
    ],
)
def test_other_hosts_are_refused(host: str) -> None:
    assert not accepts_host(host)


def test_a_connection_s_own_address_is_ours() -> None:
    assert accepts_host("198.51.100.1:3000", local="198.51.100.1")
    assert accepts_host("198.51.100.1", local="::ffff:198.51.100.1")
    assert accepts_host("[fe80::1]", local="fe80::1%eth0")
    assert not accepts_host("198.51.100.2", local="198.51.100.1")


def test_no_host_and_two_hosts_are_refused() -> None:
    assert not accepts_host()
    assert not accepts_host("localhost", "localhost")


def test_hosts_compare_in_one_spelling() -> None:
    assert host_of("[::FFFF:1.2.3.4]:5") == "1.2.3.4"
    assert host_of("A.b.") == "a.b"


def accepts_token(*values: bytes) -> bool:
    return GATE.check_token([(b"authorization", value) for value in values]) is None


def test_the_token_passes_whatever_the_scheme_s_case() -> None:
    assert accepts_token(b"Bearer " + SECRET)
    assert accepts_token(b"bearer  " + SECRET)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [SECRET],
        [b"Basic " + SECRET],
        [b"Bearer " + SECRET + b"x"],
        [b"Bearer " + SECRET[:-1]],
        [b"Bearer \xff\xfe"],
        [b"Bearer " + SECRET, b"Bearer " + SECRET],
    ],
)
def test_anything_else_is_refused(values: list[bytes]) -> None:
    assert not accepts_token(*values)


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    accepts_token(b"Bearer guess")
    accepts_token()
    assert compared == [(b"guess", SECRET), (b"", SECRET)]


def test_the_token_is_told_nowhere() -> None:
    refusals = [GATE.check_token([]), GATE.check_token([(b"authorization", b"Bearer guess")])]
    assert SECRET.decode() not in repr([GATE, *refusals])
    assert "guess" not in repr(refusals)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
async def test_every_route_but_health_wants_the_token(api: Client, endpoint: object) -> None:
    assert hasattr(endpoint, "path")
    assert hasattr(endpoint, "method")
    path = endpoint.path.format(name="alpha", id=1) if "{" in endpoint.path else endpoint.path
    reply = await api(endpoint.method, path, {"authorization": "Bearer wrong-wrong-wrong"})
    if endpoint is HEALTH:
        assert reply.status == 200
        return
    assert reply.status == 401
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert "token" in reply.document["error"]


async def test_routes_that_are_not_there_want_it_too(api: Client) -> None:
    assert (await api.get("/api/nothing", authorization=[])).status == 401
    assert (await api.get("/api/health/", authorization=[])).status == 401


async def test_a_foreign_host_is_refused_even_with_the_token_and_for_health(api: Client) -> None:
    for path in ("/api/health", "/api/plugins"):
        reply = await api.get(path, host="evil.example:3000")
        assert reply.status == 403
        assert "'evil.example:3000' is not this API's" in reply.document["error"]


async def test_nothing_is_offered_to_other_origins(api: Client) -> None:
    reply = await api.get("/api/plugins", origin="https://evil.example")
    asked = await api("OPTIONS", "/api/plugins", {"origin": "https://evil.example"})
    for headers in (reply.headers, asked.headers):
        assert not [name for name in headers if name.startswith("access-control")]
        assert "set-cookie" not in headers
    assert asked.status == 405
