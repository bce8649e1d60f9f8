"""jwt-inspector: what a token says is on the flow; what is none is said to be none."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from proxy_core.model.verdict import CONTINUE
from tests.plugin_host.guests import Host, make_flow
from tests.plugins.conftest import install

LONG_AGO = 1_000_000_000
NOT_YET = 4_000_000_000


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(claims: object, header: object = None) -> str:
    return f"{part(header or {'typ': 'JWT', 'alg': 'HS256'})}.{part(claims)}.c2ln"


async def annotated(host: Host, directory: Path, authorization: str) -> tuple[str, str] | None:
    """Comment and tag of a flow with this header."""
    install(host, directory, "jwt-inspector")
    assert (await host.start()).refused == ()
    flow = make_flow(((b"Host", b"example.com"), (b"Authorization", authorization.encode())))
    assert await host.request(flow) is CONTINUE
    assert host.status("jwt-inspector").traps == 0
    if flow.annotations is None:
        return None
    return flow.annotations["comment"], flow.annotations["tag"]


@pytest.mark.parametrize(
    ("sent", "comment", "tag"),
    [
        (
            token({"sub": "ann", "iss": "https://id.example", "exp": NOT_YET}),
            f"JWT alg=HS256 iss=https://id.example sub=ann exp={NOT_YET}",
            "jwt",
        ),
        (
            token({"exp": LONG_AGO + 0.5}),
            f"JWT alg=HS256 exp={LONG_AGO}.5 (expired)",
            "jwt jwt-expired",
        ),
        (
            token({"exp": LONG_AGO}, {"alg": "none"}).removesuffix("c2ln"),
            f"JWT alg=none exp={LONG_AGO} (expired)",
            "jwt jwt-expired jwt-none",
        ),
        (token({"exp": "soon"}), "JWT alg=HS256 exp=soon (no date)", "jwt"),
        (token({"exp": -1}), "JWT alg=HS256 exp=-1 (no date)", "jwt"),
        (token({}), "JWT alg=HS256", "jwt"),
        (
            token({"aud": [{"sub": "not"}, {}, []], "sub": "\u00e9 \u4e2d", "n": None}),
            "JWT alg=HS256 sub=\u00e9 \u4e2d",
            "jwt",
        ),
        (token({"sub": "\u4e2d" * 100}), "JWT alg=HS256 sub=" + "\u4e2d" * 66 + "...", "jwt"),
        (token(b' { "sub" : "a\\"b" } '), 'JWT alg=HS256 sub=a\\"b', "jwt"),
    ],
)
async def test_what_a_token_says_is_shown(
    host: Host, directory: Path, sent: str, comment: str, tag: str
) -> None:
    assert await annotated(host, directory, f"bearer {sent}") == (comment, tag)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ("a.b", "it has two parts, not three"),
        ("a.b.c.d.e", "it does not have three parts; encrypted ones (JWE) are not read"),
        ("..", "its header is no JSON object"),
        ("e.e30.", "its header is not base64url"),
        ("e30=.e30.", "its header is not base64url"),
        ("e30.e30.", "its header has no alg"),
        (f"{part([])}.e30.", "its header is no JSON object"),
        (f"{part({'alg': 'X'})}.%%%%.", "its claims are not base64url"),
        (f"{part({'alg': 'X'})}.{part(b'{')}.", "its claims are no JSON object"),
        (token(b'{"a":"\\'), "its claims are no JSON object"),
        (token(b'{"a":1,}'), "its claims are no JSON object"),
        (token(b"{} {}"), "its claims are no JSON object"),
        (token(b'{"a":"\n"}'), "its claims are no JSON object"),
        (token(b'{"a":' + b"[" * 5000), "its claims are no JSON object"),
    ],
)
async def test_what_cannot_be_read_says_why(
    host: Host, directory: Path, sent: str, why: str
) -> None:
    said = await annotated(host, directory, f"Bearer {sent}")
    assert said == (f"malformed JWT: {why}", "jwt-malformed")


@pytest.mark.parametrize(("length", "said"), [(12_000, ("JWT alg=HS256", "jwt")), (13_000, None)])
async def test_a_token_that_fits_16_kib_is_read_and_a_longer_one_is_let_be(
    host: Host, directory: Path, length: int, said: tuple[str, str] | None
) -> None:
    assert await annotated(host, directory, f"Bearer {token({'a': 'x' * length})}") == said


@pytest.mark.parametrize("sent", ["Basic YTpi.c.d", "Bearer opaque", "Bearer ", "Bearer", "x"])
async def test_what_is_no_token_of_this_kind_is_let_be(
    host: Host, directory: Path, sent: str
) -> None:
    assert await annotated(host, directory, sent) is None


async def test_every_byte_after_the_dots_may_be_anything(host: Host, directory: Path) -> None:
    install(host, directory, "jwt-inspector")
    assert (await host.start()).refused == ()
    whole = token({"sub": "ann", "exp": LONG_AGO, "x": [{"y": "\\u00e9"}]}).encode()
    for index in range(len(whole)):
        for other in (b"", b"\xff", b"A", b"."):
            broken = whole[:index] + other + whole[index + 1 :]
            flow = make_flow(((b"Authorization", b"Bearer " + broken),))
            assert await host.request(flow) is CONTINUE
    assert host.status("jwt-inspector").traps == 0
