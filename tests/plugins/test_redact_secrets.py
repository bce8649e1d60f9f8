"""redact-secrets: what is secret is not kept, all else is, and nothing that comes in stops it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from proxy_core.model.edits import Change
from proxy_core.model.flow import Flow, FlowKind
from proxy_core.model.headers import Field
from proxy_core.model.message import HTTP_2
from proxy_core.model.plugin_status import PluginState
from proxy_core.model.websocket import WebSocketLog, WebSocketMessage
from tests.plugin_host.guests import Host, make_flow, respond_with
from tests.plugins.conftest import install

VISA = "4111111111111111"
AMEX = "378282246310005"
MIB = 1024 * 1024
FUEL = 7_000_000_000
"""What its manifest allows."""


async def start(host: Host, directory: Path, config: str | None = None) -> None:
    """Load it, enabled; `config` stands in the place of what it comes with."""
    manifest = install(host, directory, "redact-secrets")
    text = manifest.read_text().replace("enabled = false", "enabled = true")
    if config is not None:
        text = text.partition("[config]")[0] + config
    manifest.write_text(text, encoding="utf-8")
    assert (await host.start()).refused == ()


def answered(
    body: bytes, kind: str | None = "application/json", fields: tuple[Field, ...] = ()
) -> Flow:
    """A flow whose response has this body, and its whole is kept up to 16 MiB."""
    typed = () if kind is None else ((b"Content-Type", kind.encode()),)
    flow = respond_with(make_flow(), fields=(*typed, *fields))
    flow.response_body = type(flow.response_body)(16 * MIB)
    flow.response_body.feed(body)
    return flow


async def kept(host: Host, body: str | bytes, kind: str | None = "application/json") -> str:
    """What is kept of a response's body; a second look must change nothing."""
    raw = body.encode() if isinstance(body, str) else body
    flow = answered(raw, kind)
    await host.capture(flow)
    once = flow.response_body.kept
    await host.capture(flow)
    assert flow.response_body.kept == once
    assert host.status("redact-secrets").traps == 0
    return once.decode("utf-8", "surrogateescape")


def what_it_was(flow: Flow) -> list[object]:
    """What is kept of messages before somebody changed them."""
    heads = (flow.request_received, flow.response_received)
    return [*flow.changes, *(head for head in heads if head is not None)]


async def test_as_it_comes_it_waits_to_be_enabled(host: Host, directory: Path) -> None:
    install(host, directory, "redact-secrets")
    assert (await host.start()).refused == ()
    assert host.status("redact-secrets").state is PluginState.DISABLED


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Authorization", "Bearer abc.def", "Bearer ***"),
        ("AUTHORIZATION", "basic YTpi", "basic ***"),
        ("Authorization", 'Digest username="a", response="b"', "Digest ***"),
        ("Authorization", "hunter2 and more", "***"),
        ("Authorization", "hunter2", "***"),
        ("Authorization", "Bearer", "***"),
        ("Proxy-Authorization", "Basic YTpi", "Basic ***"),
        ("Cookie", "sid=1; theme=dark", "sid=***; theme=***"),
        ("Cookie", "bare; a=;b=c=d; ", "***; a=;b=***; "),
        ("X-Api-Key", "k-1", "***"),
        ("x-auth-token", "t", "***"),
        ("X-Card", f"is {VISA}", "is ************1111"),
        ("Referer", "http://a/?token=1&x=2#password=3", "http://a/?token=***&x=2#password=***"),
        ("X-Odd", "caf\xe9 ?a=b", "caf\xe9 ?a=b"),
        ("Host", VISA, VISA),  # whose it is decides the proxy
    ],
)
async def test_headers(host: Host, directory: Path, name: str, value: str, shown: str) -> None:
    await start(host, directory)
    flow = respond_with(make_flow(((name.encode(), value.encode("latin-1")), (b"A", b"b"))))
    await host.capture(flow)
    once = flow.request.headers.fields
    assert once == [(name.encode(), shown.encode("latin-1")), (b"A", b"b")]
    await host.capture(flow)
    assert flow.request.headers.fields == once


async def test_every_line_of_a_name_is_masked_and_what_is_about_cookies_stays(
    host: Host, directory: Path
) -> None:
    await start(host, directory)
    fields = (
        (b"Set-Cookie", b"sid=abc; Path=/; HttpOnly"),
        (b"Server", b"nginx"),
        (b"set-cookie", b"b=; Max-Age=0"),
        (b"Set-Cookie", b"c=d"),
    )
    request = make_flow(((b"cookie", b"a=1"), (b"cookie", b"b=2")), version=HTTP_2)
    flow = respond_with(request, fields=fields)
    await host.capture(flow)
    assert flow.request.headers.get_all(b"cookie") == [b"a=***", b"b=***"]
    assert flow.response is not None
    assert flow.response.headers.get_all(b"set-cookie") == [
        b"sid=***; Path=/; HttpOnly",
        b"b=; Max-Age=0",
        b"c=***",
    ]
    assert flow.response.headers.get(b"server") == b"nginx"
    assert dict(host.status("redact-secrets").metrics) == {"masked": 4}


async def test_a_head_that_is_as_large_as_may_be_is_masked_or_taken_out(
    host: Host, directory: Path
) -> None:
    await start(host, directory)
    many = [(b"Cookie", b"c%d=secret" % number) for number in range(200)]
    flow = respond_with(make_flow(many), fields=[(b"Set-Cookie", b"a=" + b"secret" * 10_000)])
    await host.capture(flow)
    assert flow.response is not None
    assert flow.response.headers.fields == [(b"Set-Cookie", b"a=***")]
    assert b"secret" not in b"".join(value for _, value in flow.request.headers.fields)
    assert host.status("redact-secrets").traps == 0


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/a?token=1&b=2", b"/a?token=***&b=2"),
        (b"/a?b=2&Access-Token=x%20y", b"/a?b=2&Access-Token=***"),
        (b"/pay/4111-1111-1111-1111", b"/pay/****-****-****-1111"),
        (b"/a?user%5Bpassword%5D=x&tok%65n=y", b"/a?user%5Bpassword%5D=***&tok%65n=***"),
        (b"/a?tokens=1&token=&token", b"/a?tokens=1&token=&token"),
        (b"/a?b=\xff&token=1", b"/a?***"),  # nothing that may be written again
    ],
)
async def test_urls(host: Host, directory: Path, path: bytes, shown: bytes) -> None:
    await start(host, directory)
    flow = make_flow()
    flow.request = flow.request.replace(path=path)
    await host.capture(flow)
    assert flow.request.path == shown
    assert flow.request.authority == b"example.com"
    await host.capture(flow)
    assert flow.request.path == shown


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"password": "hunter2", "n": 1.50}', '{"password": "***", "n": 1.50}'),
        ('{"passwordHint": "dog"}', '{"passwordHint": "dog"}'),
        (
            '{"API-Key":"a\\"b","apiKey":7,"api_key":true}',
            '{"API-Key":"***","apiKey":"***","api_key":"***"}',
        ),
        ('{"pass\\u0077ord":"x"}', '{"pass\\u0077ord":"***"}'),
        ('{"token":null,"secret":"","pwd":"***"}',) * 2,
        (
            '{"token":{"a":["x",1,{"b":null}]},"c":"d"}',
            '{"token":{"a":["***","***",{"b":null}]},"c":"d"}',
        ),
        ('{"token":[],"c":"d"}', '{"token":[],"c":"d"}'),
        ('["password","x"]', '["password","x"]'),
        (
            json.dumps({"in": '{"token": "a\\"b", "c": "d"}'}),
            json.dumps({"in": '{"token": "***", "c": "d"}'}),
        ),
        ('{"in":"{\\"token\\":\\"cut', '{"in":"{\\"token\\":\\"***'),
        (f'{{"n":{VISA},"s":"{VISA}"}}', '{"n":"************1111","s":"************1111"}'),
        ('{"id":1715680800000000,"f":0.4111111111111111}',) * 2,
        ('{"u":"http://a/?token=x&b=c"}', '{"u":"http://a/?token=***&b=c"}'),
        ('{"a":"\\n4111 1111 1111 1111\\t"}', '{"a":"\\n**** **** **** 1111\\t"}'),
        ('{"password":"x"}\n{"password":"y"}\n', '{"password":"***"}\n{"password":"***"}\n'),
        ('{"password":"hun', '{"password":"***'),
        ('{"password":"hun\\', '{"password":"***'),
        ('{"password":', '{"password":'),
        ('{"password":12', '{"password":"***"'),
        (')]}\',\n{"token":"x"}', ')]}\',\n{"token":"***"}'),
        ('{"password":}]],"token":"x"', '{"password":}]],"token":"***"'),
        ("", ""),
    ],
)
async def test_json(host: Host, directory: Path, body: str, shown: str) -> None:
    await start(host, directory)
    assert await kept(host, body) == shown
    if body.startswith(("{", "[")):  # which it looks like without being called so
        assert await kept(host, body, None) == shown
    else:
        assert await kept(host, body, "text/event-stream") == shown


@pytest.mark.parametrize(
    ("kind", "body", "shown"),
    [
        ("application/x-www-form-urlencoded", "password=a+b%26&x=1", "password=***&x=1"),
        (None, "user=ann&password=a'b", "user=ann&password=***"),
        (None, "password = x", "password = x"),
        (
            "application/x-www-form-urlencoded",
            "card=4111+1111+1111+1111&cvv=123",
            "card=****+****+****+1111&cvv=***",
        ),
        (
            "application/x-www-form-urlencoded",
            "c=x%3D4111%201111%201111%201111",
            "c=x%3D****%20****%20****%201111",
        ),
        ("text/html", '<a href="/?token=x&amp;b">y</a>', '<a href="/?token=***&amp;b">y</a>'),
        (
            "text/html",
            '<script>x = {"token" : "a\\"b", "tokens": "c", "password": 5}</script>',
            '<script>x = {"token" : "***", "tokens": "c", "password": 5}</script>',
        ),
        ("text/html", f'<a title="{VISA}">"token":"', '<a title="************1111">"token":"'),
        ("text/plain", f"card: {AMEX}.", "card: ***********0005."),
        ("application/octet-stream", f"\0\1{VISA}", f"\0\1{VISA}"),
        ("image/png", f"PNG {VISA}", f"PNG {VISA}"),
        ("image/svg+xml", f"<svg>{VISA}", "<svg>************1111"),
        (
            "multipart/form-data; boundary=x",
            '--x\r\nContent-Disposition: form-data; name="password"\r\n\r\na\r\nb\r\n'
            '--x\r\nContent-Disposition: form-data; name="e"; filename="password"\r\n\r\n\r\n'
            f'--x\r\nContent-Disposition: form-data; name="c"\r\n\r\n{VISA}\r\n--x--\r\n',
            '--x\r\nContent-Disposition: form-data; name="password"\r\n\r\n***\r\n'
            '--x\r\nContent-Disposition: form-data; name="e"; filename="password"\r\n\r\n\r\n'
            '--x\r\nContent-Disposition: form-data; name="c"\r\n\r\n************1111\r\n--x--\r\n',
        ),
        ("multipart/form-data; boundary=x", "--x\r\n", "--x\r\n"),
        ("multipart/form-data; boundary=x", f"-- {VISA}", "-- ************1111"),
    ],
)
async def test_other_bodies(
    host: Host, directory: Path, kind: str | None, body: str, shown: str
) -> None:
    await start(host, directory)
    assert await kept(host, body, kind) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (VISA, "************1111"),
        ("4111 1111 1111 1111", "**** **** **** 1111"),
        ("4111-1111-1111-1111", "****-****-****-1111"),
        ("3782 822463 10005", "**** ****** *0005"),
        ("5105105105105100, 6011111111111117", "************5100, ************1117"),
        ("2223003122003222", "************3222"),
        ("4222222222222", "*********2222"),
        ("6304000000000000000", "***************0000"),
        (f"a card_{VISA}\u00e9", "a card_************1111\u00e9"),
        ("order 123 4111 1111 1111 1111", "order 123 **** **** **** 1111"),
        ("4111 1111 1111 1111 123", "**** **** **** 1111 123"),
        # Two that share digits: what stays of the first is part of the second.
        ("4242 4242 4242 4242 4242 4242", "**** **** **** **** **** 4242"),
        ("4111111111111112", "4111111111111112"),  # a wrong check digit
        ("1234567812345670", "1234567812345670"),  # a right one, and no issuer
        (f"{VISA}0000", f"{VISA}0000"),
        (f"x{VISA}", f"x{VISA}"),
        (f"{VISA}x", f"{VISA}x"),
        ("4111  1111  1111  1111",) * 2,
        ("41 11 11 11 11 11 11 11",) * 2,
        ("411111111111", "411111111111"),
    ],
)
async def test_card_numbers(host: Host, directory: Path, text: str, shown: str) -> None:
    await start(host, directory)
    for kind in ("text/plain", None):
        assert await kept(host, text, kind) == shown
    assert await kept(host, json.dumps(text, ensure_ascii=False)) == json.dumps(
        shown, ensure_ascii=False
    )


async def test_both_bodies_are_masked_below_their_codings(host: Host, directory: Path) -> None:
    await start(host, directory)
    packed = gzip.compress(b'{"token": "x"}')
    flow = answered(packed, fields=((b"Content-Encoding", b"gzip"),))
    flow.request_body.feed(b'{"password": "y"}')
    await host.capture(flow)
    assert gzip.decompress(flow.response_body.kept) == b'{"token": "***"}'
    assert flow.request_body.kept == b'{"password": "***"}'


async def test_what_was_on_the_wire_before_is_forgotten_with_it(
    host: Host, directory: Path
) -> None:
    await start(host, directory)
    flow = respond_with(make_flow(((b"Authorization", b"Bearer a"),)))
    before = make_flow(((b"Authorization", b"Bearer b"),)).request
    flow.request_received, flow.changes = before, (Change("rule x", before),)
    await host.capture(flow)
    assert flow.notes == ("the captured copy was changed by plugin redact-secrets",)
    assert what_it_was(flow) == []


async def test_what_others_have_taken_out_already_is_forgotten_too(
    host: Host, directory: Path
) -> None:
    await start(host, directory)
    flow = respond_with(make_flow())
    request = make_flow(((b"Authorization", b"Bearer b"),)).request
    response = respond_with(make_flow(), 200, ((b"Set-Cookie", b"a=b"),)).response
    assert response is not None
    flow.request_received, flow.response_received = request, response
    flow.changes = (Change("plugin a", request, b"token=b"), Change("user", response, b"token=b"))
    kept_heads = (flow.request, flow.response)
    await host.capture(flow)
    assert what_it_was(flow) == []
    assert (flow.request, flow.response) == kept_heads


async def test_trailers_are_masked_as_heads_are(host: Host, directory: Path) -> None:
    await start(host, directory)
    flow = answered(b"text", "text/plain")
    sent = [(b"X-Api-Key", b"k-1"), (b"Grpc-Message", b"?token=x"), (b"Grpc-Status", b"0")]
    flow.request_body.trailers, flow.response_body.trailers = sent[:1], sent
    await host.capture(flow)
    assert flow.request_body.trailers == [(b"X-Api-Key", b"***")]
    assert flow.response_body.trailers == [
        (b"X-Api-Key", b"***"),
        (b"Grpc-Message", b"?token=***"),
        (b"Grpc-Status", b"0"),
    ]
    assert flow.response_body.kept == b"text"


async def test_what_came_through_a_tunnel_is_masked_by_what_it_looks_like(
    host: Host, directory: Path
) -> None:
    await start(host, directory)
    flow = make_flow(((b"Proxy-Authorization", b"Basic YTpi"),), method=b"CONNECT")
    flow.kind = FlowKind.TUNNEL
    flow.request_body.feed(b'{"token": 7}')
    flow.response_body.feed(b"\x16\3\1\0 ?token=x")
    await host.capture(flow)
    assert flow.request.headers.fields == [(b"Proxy-Authorization", b"Basic ***")]
    assert flow.request_body.kept == b'{"token": "***"}'
    assert flow.response_body.kept == b"\x16\3\1\0 ?token=x"


def talked(*messages: tuple[int, bytes], room: int = 16 * MIB) -> tuple[Flow, WebSocketLog]:
    """A WebSocket that is over, with these opcodes and payloads, from either side in turn."""
    flow = respond_with(make_flow(), 101)
    log = flow.web_socket = WebSocketLog(room)
    for number, (opcode, payload) in enumerate(messages):
        log.add(WebSocketMessage(number % 2 == 0, opcode, 0.0, payload, len(payload)))
    return flow, log


@pytest.mark.parametrize(
    ("opcode", "payload", "shown"),
    [
        (1, b'{"token":7,"a":[1]}', b'{"token":"***","a":[1]}'),
        (1, b"user=ann&password=a'b", b"user=ann&password=***"),
        (1, b"is 4111 1111 1111 1111, ann", b"is **** **** **** 1111, ann"),
        (1, b"4111111111111111", b"************1111"),
        (1, b'42["login",{"token":7}]', b'42["login",{"token":"***"}]'),
        (1, b'42/room,7["login",{"token":7}]', b'42/room,7["login",{"token":"***"}]'),
        (1, b'a["{\\"token\\":\\"x\\"}"]', b'a["{\\"token\\":\\"***\\"}"]'),
        (1, b'{"a":1}\x1e{"token":7}\x1e', b'{"a":1}\x1e{"token":"***"}\x1e'),
        (1, b'{"password":"hun', b'{"password":"***'),
        (1, b"", b""),
        (2, b'{"token":7}', b'{"token":"***"}'),
        (2, b'\x00{"token":7}', b'\x00{"token":7}'),
        (8, b"\x03\xe8go to http://a/?token=x", b"\x03\xe8go to http://a/?token=***"),
        (8, b'\x10\x00{"token":7}', b'\x10\x00{"token":"***"}'),
        (8, b"", b""),
        (9, b"?token=x", b"?token=***"),
    ],
)
async def test_messages(
    host: Host, directory: Path, opcode: int, payload: bytes, shown: bytes
) -> None:
    await start(host, directory)
    flow, log = talked((1, b"first"), (opcode, payload), (1, b'{"token":"x"}'))
    for _ in range(2):  # a second look changes nothing
        await host.capture(flow)
        payloads = [message.payload for message in log.snapshot()]
        assert payloads == [b"first", shown, b'{"token":"***"}']


async def test_of_more_messages_than_are_looked_through_none_is_kept(
    host: Host, directory: Path
) -> None:
    await start(host, directory)
    text = b'{"password": "x", "text": "' + b"a" * MIB + b'"}'
    flow, log = talked(*([(1, text)] * 8), (2, b"\0" * MIB), (1, b'{"token": "x"}'))
    await host.capture(flow)
    payloads = [message.payload for message in log.snapshot()]
    assert all(payload.startswith(b'{"password": "***"') for payload in payloads[:7])
    assert b"taken out" in payloads[7]
    assert payloads[8:] == [b"\0" * MIB, b'{"token": "***"}']
    assert host.status("redact-secrets").traps == 0


async def test_as_many_messages_as_are_kept_of_a_websocket_are_looked_through(
    host: Host, directory: Path
) -> None:
    await start(host, directory)
    flow, log = talked(*([(1, b'{"token":1}')] * 40_000), room=8 * MIB)
    assert len(log.snapshot()) > 30_000
    await host.capture(flow)
    assert {message.payload for message in log.snapshot()} == {b'{"token":"***"}'}
    status = host.status("redact-secrets")
    assert status.traps == 0
    (hook,) = status.profile
    assert hook.fuel < FUEL / 10


async def test_a_flow_without_secrets_is_left_as_it_is(host: Host, directory: Path) -> None:
    await start(host, directory)
    flow = answered(b'{"a": [1, 2.50, "x"]}', fields=((b"Etag", b'"1234-5678"'),))
    request, response = flow.request, flow.response
    await host.capture(flow)
    assert (flow.request, flow.response) == (request, response)
    assert flow.response_body.kept == b'{"a": [1, 2.50, "x"]}'
    assert flow.notes == ()


async def test_its_configuration_says_which_names_are_secret(host: Host, directory: Path) -> None:
    config = '[config]\nheaders = ["X-Mine"]\nfields = ["pin"]\ncards = false'
    await start(host, directory, config)
    flow = respond_with(make_flow(((b"X-Mine", b"1"), (b"X-Api-Key", b"2"), (b"Cookie", b"a=b"))))
    await host.capture(flow)
    assert [value for _, value in flow.request.headers.fields] == [b"***", b"2", b"a=***"]
    shown = await kept(host, f'{{"PIN":"1","password":"2","card":{VISA}}}')
    assert shown == f'{{"PIN":"***","password":"2","card":{VISA}}}'


@pytest.mark.parametrize("config", ["", "[config]\nfields = []\nheaders = []"])
async def test_without_names_there_are_still_the_usual_headers_and_cards(
    host: Host, directory: Path, config: str
) -> None:
    await start(host, directory, config)
    flow = respond_with(make_flow(((b"Authorization", b"Bearer a"),)))
    flow.request_body.feed(f'{{"password": "{VISA}"}}'.encode())
    await host.capture(flow)
    assert flow.request.headers.fields == [(b"Authorization", b"Bearer ***")]
    assert flow.request_body.kept == b'{"password": "************1111"}'


@pytest.mark.parametrize(
    "config",
    [
        'fields = "password"',
        "fields = [1]",
        'fields = [""]',
        'fields = ["-"]',
        f'fields = ["{"x" * 65}"]',
        f"fields = {json.dumps([f'f{number}' for number in range(101)])}",
        "fields = ['a\"b']",
        'cards = "yes"',
        'secrets = ["a"]',
        f"headers = {json.dumps(['x' * 60] * 200)}",
    ],
)
async def test_a_configuration_it_does_not_know_is_declined(
    host: Host, directory: Path, config: str
) -> None:
    manifest = install(host, directory, "redact-secrets")
    text = manifest.read_text().replace("enabled = false", "enabled = true")
    manifest.write_text(f"{text.partition('[config]')[0]}[config]\n{config}")
    ((_, why),) = (await host.start()).refused
    assert why == "plugin_init returned 1; 0 means ready"


def _hostile(size: int) -> dict[str, bytes]:
    names = [b"password", b"token", b"pasxxxxx"]
    return {
        "deep": b"[" * size,
        "secret and deep": b'{"token":' * (size // 9),
        "keys": b"{" + b",".join(b'"%b":1' % names[n % 3] for n in range(size // 13)),
        "ones": b'{"token":[' + b"1," * (size // 2),
        "groups": b"x " + b"333 " * (size // 4),
        "digits": b"[" + b"4" * size,
        "quotes": b'["' * (size // 2),
        "escapes": b'["' + b"\\" * size,
        "pairs": b"x?" + b"&token=1" * (size // 8),
        "quoted": b"x" + b'"token":' * (size // 8),
        "quoted blanks": b'x"token"' + b" " * size,
        "names": b"x?" + b"&" + b"token" * (size // 5),
        "no text": bytes(range(1, 256)) * (size // 255),
        "parts": b"--x\r\n" + b'; name="token"\r\n\r\n' * (size // 20),
    }


@pytest.mark.parametrize("name", _hostile(100))
async def test_what_is_made_to_cost_much_is_looked_through(
    host: Host, directory: Path, name: str
) -> None:
    await start(host, directory)
    body = _hostile(MIB)[name]
    before = 0
    for kind in ("application/json", "multipart/form-data", "text/plain"):
        flow = answered(body, kind)
        await host.capture(flow)
        status = host.status("redact-secrets")
        assert status.traps == 0
        (hook,) = status.profile
        spent, before = hook.fuel - before, hook.fuel
        assert 8 * spent < FUEL / 1.2  # as all that it looks through of a flow would
    assert b"token=1" not in flow.response_body.kept


async def test_what_is_too_large_to_look_through_is_taken_out(host: Host, directory: Path) -> None:
    await start(host, directory)
    bomb = gzip.compress(b'{"password": "x"}' + b" " * 4 * MIB)
    flow = answered(bomb, fields=((b"Content-Encoding", b"gzip"),))
    await host.capture(flow)
    assert b"taken out" in gzip.decompress(flow.response_body.kept)
    longest = b'{"password": "x"}' + b" " * (4 * MIB - 100)
    assert (await kept(host, longest)).startswith('{"password": "***"}')
    assert host.status("redact-secrets").traps == 0


async def test_what_cannot_be_decoded_is_let_be(host: Host, directory: Path) -> None:
    await start(host, directory)
    flow = answered(b"no gzip", fields=((b"Content-Encoding", b"gzip"),))
    await host.capture(flow)
    assert flow.response_body.kept == b"no gzip"


async def test_every_beginning_of_a_body_may_be_all_there_is(host: Host, directory: Path) -> None:
    await start(host, directory)
    whole = '{"password": "hunter2", "t\\u00e9": [-1.5e3, {"token": {"a": "zzz"}}], "b": null}'
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        for end in range(len(whole)):
            shown = await kept(host, whole[:end], kind)
            if kind == "application/json":
                assert "hunt" not in shown
                assert "z" not in shown
