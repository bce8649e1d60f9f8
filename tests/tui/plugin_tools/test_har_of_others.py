"""Archives as other programs write them, with what they leave out and put differently."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from int3rceptor_tui.plugin_tools.har import Recorded, parse_har
from proxy_core.model.message import HTTP_2, HTTP_11
from tests.tui.plugin_tools.conftest import archive


def one(raw: dict[str, Any]) -> Recorded:
    (recorded,) = parse_har(archive([raw]), "x.har").exchanges
    recorded.finished()
    return recorded


def pairs(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in fields.items()]


def test_chromium() -> None:
    recorded = one(
        {
            "_initiator": {"type": "other"},
            "_priority": "VeryHigh",
            "_resourceType": "fetch",
            "cache": {},
            "connection": "443",
            "request": {
                "method": "POST",
                "url": "https://example.com/upload?x=1#top",
                "httpVersion": "http/2.0",
                "headers": [
                    {"name": ":authority", "value": "example.com"},
                    {"name": ":method", "value": "POST"},
                    {"name": "content-type", "value": "application/octet-stream"},
                ],
                "queryString": [{"name": "x", "value": "1"}],
                "cookies": [],
                "headersSize": -1,
                "bodySize": 3,
                "postData": {"mimeType": "application/octet-stream", "text": "a\ud83d"},
            },
            "response": {
                "status": 200,
                "statusText": "",
                "httpVersion": "http/2.0",
                "headers": pairs(content_type="image/png", set_cookie="a=1\nb=2"),
                "cookies": [],
                "content": {
                    "size": 3,
                    "mimeType": "image/png",
                    "text": base64.b64encode(b"\x89PN").decode(),
                    "encoding": "base64",
                },
                "redirectURL": "",
                "headersSize": -1,
                "bodySize": -1,
                "_transferSize": 120,
                "_error": None,
            },
            "serverIPAddress": "[2001:db8::7]",
            "startedDateTime": "2024-05-14T10:00:00.123Z",
            "time": 12.5,
            "timings": {"blocked": -1, "dns": -1, "ssl": -1, "connect": -1},
        }
    )
    assert recorded.request.version == HTTP_2
    assert recorded.request.headers.fields == [(b"content-type", b"application/octet-stream")]
    assert recorded.request_body == b"a?"
    assert recorded.response is not None
    assert recorded.response.headers.get_all(b"set-cookie") == [b"a=1", b"b=2"]
    assert (recorded.response_body, recorded.server) == (b"\x89PN", "2001:db8::7")


def test_a_web_socket_of_chromium() -> None:
    recorded = one(
        {
            "_resourceType": "websocket",
            "_webSocketMessages": [
                {"type": "send", "time": 1715680800.5, "opcode": 1, "data": "hello"},
                {"type": "receive", "time": 1715680801, "opcode": 2, "data": "AAE="},
                {"type": "receive", "time": 1715680801, "opcode": 9, "data": ""},
                {"type": "error", "time": 1715680802, "opcode": -1, "data": "it broke"},
            ],
            "request": {
                "method": "GET",
                "url": "wss://example.com/chat",
                "httpVersion": "HTTP/1.1",
                "headers": pairs(Upgrade="websocket"),
            },
            "response": {
                "status": 101,
                "statusText": "Switching Protocols",
                "httpVersion": "HTTP/1.1",
                "headers": pairs(Upgrade="websocket"),
                "content": {"size": 0, "mimeType": "x-unknown"},
            },
        }
    )
    assert [(m.from_client, m.opcode, m.payload) for m in recorded.messages] == [
        (True, 1, b"hello"),
        (False, 2, b"\0\x01"),
    ]


def test_firefox_with_an_exchange_that_was_blocked() -> None:
    recorded = one(
        {
            "startedDateTime": "2024-05-14T10:00:00.000+02:00",
            "request": {
                "bodySize": 0,
                "method": "GET",
                "url": "https://tracker.example/t.gif",
                "httpVersion": "",
                "headers": pairs(Host="tracker.example"),
                "cookies": [],
                "queryString": [],
                "headersSize": 0,
            },
            "response": {
                "status": 0,
                "statusText": "",
                "httpVersion": "",
                "headers": [],
                "cookies": [],
                "content": {"size": 0, "mimeType": "text/plain"},
                "redirectURL": "",
                "headersSize": -1,
                "bodySize": -1,
            },
            "cache": {},
            "timings": {},
            "time": 0,
            "_securityState": "insecure",
        }
    )
    assert recorded.response is None
    assert recorded.request.version == HTTP_11
    assert recorded.started == 1715673600.0


def test_mitmproxy_with_bytes_that_are_no_utf_8() -> None:
    raw = {
        "startedDateTime": "2024-05-14T10:00:00.000000+00:00",
        "time": 3,
        "request": {
            "method": "POST",
            "url": "http://example.com/\udcff",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": pairs(X_Odd="\udce9t\udce9"),
            "queryString": [],
            "headersSize": 30,
            "bodySize": 1,
            "postData": {"mimeType": "text/plain", "text": "\udcff", "params": []},
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": pairs(Server="n\u00e9"),
            "content": {"size": 0, "compression": 0, "mimeType": "", "text": ""},
            "redirectURL": "",
            "headersSize": 30,
            "bodySize": 0,
        },
        "cache": {},
        "timings": {"connect": 0.0, "ssl": -1.0, "send": 1, "receive": 1, "wait": 1},
        "serverIPAddress": "192.0.2.1",
    }
    recorded = one(raw)
    assert recorded.request.path == b"/%FF"
    assert recorded.request.headers.fields == [(b"X-Odd", b"\xe9t\xe9")]
    assert recorded.request_body == b"\xff"
    assert recorded.response is not None
    assert recorded.response.headers.fields == [(b"Server", b"n\xc3\xa9")]


FORM = [{"name": "a b", "value": "1&2"}, {"name": "c", "value": None}]


def sent(**post: Any) -> Recorded:
    kind = post.get("mimeType", "")
    request = {"method": "POST", "url": "http://u:p@example.com", "headers": pairs()}
    if kind:
        request["headers"] = pairs(Content_Type=kind)
    return one({"request": request | {"postData": post}, "response": None})


def test_insomnia_and_charles_tell_forms_by_their_fields() -> None:
    recorded = sent(mimeType="application/x-www-form-urlencoded", params=FORM)
    assert recorded.request_body == b"a+b=1%262&c="
    assert recorded.request.url == "http://example.com/"
    assert recorded.response is None
    recorded = sent(
        mimeType='multipart/form-data; boundary="xyz"',
        text="",
        params=[
            {"name": "a", "value": "1"},
            {"name": 'f"', "value": "x", "fileName": "f.txt", "contentType": "text/plain"},
        ],
    )
    assert recorded.request_body == (
        b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="f%22"; filename="f.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\nx\r\n--xyz--\r\n"
    )


def test_zap_writes_a_body_where_there_is_none() -> None:
    recorded = sent(mimeType="", params=[], text="", comment="")
    assert recorded.request_body == b""


def test_a_body_may_be_wrapped_and_without_its_padding() -> None:
    assert sent(text="aGVs\r\nbG8", encoding="Base64").request_body == b"hello"


@pytest.mark.parametrize("encode", ["utf-8-sig", "utf-16", "utf-32"])
def test_fiddler_and_powershell_have_encodings_of_their_own(encode: str) -> None:
    raw = json.dumps({"log": {"entries": []}}).encode(encode)
    assert parse_har(raw, "x.har").exchanges == []


def test_what_does_not_matter_may_be_anything() -> None:
    recorded = one(
        {
            "request": {
                "method": "GET",
                "url": "http://B\u00fccher.example:8080?q=1",
                "headers": [{"name": "Age ", "value": 7}, {"name": "X", "value": None}],
                "httpVersion": 1.1,
                "headersSize": "many",
                "cookies": "none",
            },
            "response": {
                "status": "204",
                "statusText": None,
                "headers": None,
                "httpVersion": None,
                "content": {"text": None, "encoding": None, "size": None, "mimeType": 3},
            },
            "connection": 17,
            "serverIPAddress": "a name",
            "startedDateTime": None,
            "pageref": {},
            "_webSocketMessages": None,
        }
    )
    assert recorded.request.url == "http://xn--bcher-kva.example:8080/?q=1"
    assert recorded.request.headers.fields == [(b"Age", b"7"), (b"X", b"")]
    assert recorded.response is not None
    assert recorded.response.status == 204
    assert (recorded.connection, recorded.server) == ("17", "")
