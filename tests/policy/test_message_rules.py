"""What rules make of WebSocket messages."""

from __future__ import annotations

import time

import pytest

from proxy_core.config import Replacement, Settings, parse_replacement
from proxy_core.errors import ConfigError
from proxy_core.model.flow import Flow
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.policy.message_rules import MessageRules, message_rules
from tests.policy.flows import web_socket

LIMIT = 1000


def rules(*modify: str, drop: tuple[str, ...] = ()) -> MessageRules:
    return MessageRules([parse_replacement(text) for text in modify], drop, LIMIT)


def fired(rules: MessageRules, flow: Flow, message: WebSocketMessage) -> list[str]:
    """Which rules fired, all of which then have done what they do."""
    return [rule.by for rule in rules.fire(flow, message)]


def said(payload: bytes, from_client: bool = True, opcode: int = 1) -> WebSocketMessage:
    return WebSocketMessage(from_client, opcode, 0.0, payload, len(payload))


@pytest.mark.parametrize(
    ("specification", "payload", "expected"),
    [
        ("/cat/dog", b"a cat, a cat", b"a dog, a dog"),
        ("|cat|dog", b"cat", b"dog"),
        ("xcatxdog", b"cat", b"dog"),
        ("/cat/", b"a cat", b"a "),
        ("/cat/dog", b"CAT", b"CAT"),
        ("/(?i)cat/dog", b"CAT", b"dog"),
        ("/a.b/-", b"a\nb", b"-"),
        (r"/\d+/#", b"no 17", b"no #"),
        (r"/(a)(b)/\\1", b"ab", rb"\1"),
        (r"/a/\n\r\t\x00\\", b"a", b"\n\r\t\0\\"),
        ("/^/>", b"x", b">x"),
        ("/ä/ö", "ä".encode(), "ö".encode()),
        ("/~all/cat/dog", b"cat", b"dog"),
        ("/~d example.com/cat/dog", b"cat", b"dog"),
        ("/~d example.org/cat/dog", b"cat", b"cat"),
        ("/~bq cat/a/o", b"cat", b"cot"),
        ("/~bs cat/a/o", b"cat", b"cat"),
        ("/~b before/a/o", b"cat", b"cat"),
        ("/~websocket & !~b cat/a/o", b"bat", b"bot"),
        ("/cat/a/b", b"cat", b"cat"),  # three parts: the first one is a filter, on the URL
        ("/a/b/c/d", b"xbx", b"xc/dx"),  # the replacement may hold the separator
    ],
)
def test_a_replacement_does_as_documented(
    specification: str, payload: bytes, expected: bytes
) -> None:
    message = said(payload)
    names = fired(rules(specification), web_socket((True, b"before")), message)
    assert message.payload == expected
    assert names == (["rule modify-messages 1"] if expected != payload else [])
    assert message.by == tuple(names)


@pytest.mark.parametrize(
    ("expression", "payload", "from_client", "dropped"),
    [
        ("~b tick", b"Tick 1", False, True),
        ("~bs tick", b"tick", False, True),
        ("~bs tick", b"tick", True, False),
        ("~bq .", b"\n", True, True),
        ("~bq .", b"x", False, False),
        ("~b before", b"now", True, False),
        ("~d example & ~b ^x$ | ~bs y", b"x", True, True),
        ("!~d example", b"x", True, False),
        ("~all", b"", True, True),
    ],
)
def test_messages_that_match_are_dropped(
    expression: str, payload: bytes, from_client: bool, dropped: bool
) -> None:
    message = said(payload, from_client)
    made = rules("/x/y", drop=("~m never", expression))
    names = fired(made, web_socket((True, b"before")), message)
    assert ("rule drop-messages 2" in names) is dropped
    assert message.payload == (payload if dropped else payload.replace(b"x", b"y"))


def test_drops_come_first_and_edits_in_their_order() -> None:
    made = rules("/a/b", "/b/c", "/nothing/x", drop=("~b c",))
    message = said(b"a")
    assert fired(made, web_socket(), message) == [
        "rule modify-messages 1",
        "rule modify-messages 2",
    ]
    assert message.payload == b"c"
    assert message.by == ("rule modify-messages 1", "rule modify-messages 2")


def test_a_rule_sees_what_somebody_made_of_the_message_after_the_one_before() -> None:
    made = rules("/a/b", "/b/c", "/x/y")
    message = said(b"a")
    for rule in made.fire(web_socket(), message):
        if rule.rule_id == "modify-messages 1":
            message.payload = b"x"
    assert message.payload == b"y"


def test_an_edit_beyond_the_bound_is_not_made_and_the_flow_says_so() -> None:
    flow, message = web_socket(), said(b"a" * 10)
    made = rules("/a/" + "b" * 101, "/a$/c")
    for _ in range(2):
        message = said(b"a" * 10)
        assert fired(made, flow, message) == ["rule modify-messages 2"]
        assert message.payload == b"a" * 9 + b"c"  # and the next rule has its turn
    (note,) = flow.notes
    assert note == (
        "rule modify-messages 1 left messages as they were: the result is larger than 1000 bytes"
    )


def test_an_edit_that_would_last_is_given_up() -> None:
    flow, message = web_socket(), said(b"x" * 5000)
    started = time.process_time()
    assert fired(rules("/x*x*x*x*[0-9]/z"), flow, message) == []
    assert time.process_time() - started < 5  # it would take hours
    assert message.payload == b"x" * 5000
    assert "took longer" in flow.notes[0]


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (Settings(drop_messages=("~x",)), "--drop-messages, the filter '~x': column 1: ~x is no"),
        (
            Settings(modify_messages=(Replacement("(", b""),)),
            "--modify-messages: '(' is no regular expression: missing ) at character 2; put \\",
        ),
        (
            Settings(modify_messages=(Replacement("a", b"", "~b"),)),
            "--modify-messages, the filter '~b': column 3: ~b needs",
        ),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(settings: Settings, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        message_rules(settings)
    assert part in str(caught.value)
