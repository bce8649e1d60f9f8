"""websocket-logger: every message is a line that harms nobody, and is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import CONTINUE
from proxy_core.model.websocket import WebSocketMessage
from tests.plugin_host.guests import Host, make_flow, respond_with
from tests.plugins.conftest import install

TEXT, BINARY = 1, 2


async def start(host: Host, directory: Path, config: str | None = None) -> None:
    """Load it; `config` stands in the place of what it comes with."""
    manifest = install(host, directory, "websocket-logger")
    if config is not None:
        text = manifest.read_text().partition("[config]")[0]
        manifest.write_text(f"{text}[config]\n{config}", encoding="utf-8")
    assert (await host.start()).refused == ()


async def said(
    host: Host, payload: bytes | str, opcode: int = TEXT, *, from_client: bool = True
) -> str:
    """The line about a message, which goes on as it is."""
    raw = payload.encode() if isinstance(payload, str) else payload
    hook = host.hooks.websocket_message
    assert hook is not None
    message = WebSocketMessage(from_client, opcode, 0.0, raw)
    before = len(host.texts())
    assert await hook(respond_with(make_flow(), 101), message) is CONTINUE
    assert message.payload == raw
    assert host.status("websocket-logger").traps == 0, host.texts()[-3:]
    (line,) = host.texts()[before:]
    return line


@pytest.mark.parametrize(
    ("payload", "opcode", "line"),
    [
        ("hello", TEXT, 'text, 5 bytes: "hello"'),
        ("", TEXT, "text, 0 bytes"),
        (b"", BINARY, "binary, 0 bytes"),
        (b"\0\x0f\xff", BINARY, "binary, 3 bytes: 00 0f ff"),
        ('a "b" \\ \n\r\t', TEXT, 'text, 11 bytes: "a \\"b\\" \\\\ \\n\\r\\t"'),
        ("\x1b[31m\x00\x7f\x9b", TEXT, 'text, 9 bytes: "\\u{1b}[31m\\u{0}\\u{7f}\\u{9b}"'),
        ("a\u202eb\u2066c", TEXT, 'text, 9 bytes: "a\\u{202e}b\\u{2066}c"'),
        (
            "\u2028\u200b\ufeff\u00ad\U000e0041",
            TEXT,
            'text, 15 bytes: "\\u{2028}\\u{200b}\\u{feff}\\u{ad}\\u{e0041}"',
        ),
        (
            "caf\u00e9 \u4e2d \U0001f468\u200d\U0001f4bb",
            TEXT,
            'text, 21 bytes: "caf\u00e9 \u4e2d \U0001f468\u200d\U0001f4bb"',
        ),
        (b"\xff\xfe\xc3", TEXT, None),
    ],
)
async def test_a_message_is_shown_so_that_it_harms_nobody(
    host: Host, directory: Path, payload: str | bytes, opcode: int, line: str | None
) -> None:
    await start(host, directory)
    for from_client, side in ((True, "client"), (False, "server")):
        told = await said(host, payload, opcode, from_client=from_client)
        assert told.replace("\u200d", "").isprintable()
        if line is not None:
            assert told == f"{side}: {line}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 10 + '"...'),
        ("x" * 9 + "\u00e9", "x" * 9 + '"...'),
        ("x" * 8 + "\u00e9", "x" * 8 + "\u00e9"),
        ("x" * 8 + "\u00e9y", "x" * 8 + '\u00e9"...'),
        ("x" * 7 + "\U0001f600", "x" * 7 + '"...'),
        ("\U0001f600" * 3, "\U0001f600" * 2 + '"...'),
    ],
)
async def test_of_a_long_message_the_beginning_is_shown_in_whole_characters(
    host: Host, directory: Path, text: str, shown: str
) -> None:
    await start(host, directory, "preview = 10")
    ending = "" if shown.endswith("...") else '"'
    assert await said(host, text) == f'client: text, {len(text.encode())} bytes: "{shown}{ending}'
    assert await said(host, b"\1" * 11, BINARY) == f"client: binary, 11 bytes: {'01 ' * 9}01..."


async def test_a_message_of_any_size_is_told_within_the_default_limits(
    host: Host, directory: Path
) -> None:
    await start(host, directory, "preview = 400")
    for _ in range(50):
        assert "16777216 bytes" in await said(host, b"x" * 16 * 1024 * 1024)
        assert (await said(host, b"\0" * 400)).count("\\u{0}") == 400
        assert (await said(host, b"\xff" * 400, BINARY)).count("ff") == 400
    (hook,) = host.status("websocket-logger").profile
    assert hook.fuel < 150 * 500_000


async def test_messages_and_bytes_are_counted(host: Host, directory: Path) -> None:
    await start(host, directory, 'preview = 0\nlevel = "debug"')
    assert await said(host, "abc") == "client: text, 3 bytes"
    await said(host, "ab", from_client=False)
    await said(host, b"a", BINARY, from_client=False)
    assert dict(host.status("websocket-logger").metrics) == {
        "client text": 1,
        "client bytes": 3,
        "server text": 1,
        "server binary": 1,
        "server bytes": 3,
    }
    assert len([text for text in host.texts(LogLevel.DEBUG) if "byte" in text]) == 3


async def test_it_does_not_run_out_of_memory(host: Host, directory: Path) -> None:
    await start(host, directory)
    hook = host.hooks.websocket_message
    assert hook is not None
    flow = respond_with(make_flow(), 101)
    for number in range(5000):
        await hook(flow, WebSocketMessage(True, TEXT, 0.0, b"%d \xc3\xa9\n" % number * 20))
    assert host.status("websocket-logger").traps == 0


@pytest.mark.parametrize(
    "config",
    [
        "preview = -1",
        "preview = 401",
        "preview = 1.5",
        'preview = "1"',
        "preview = [1, 2]",
        'level = "error"',
        "level = 1",
        'lines = "a,b"',
        "level = { a = 1 }",
    ],
)
async def test_a_configuration_it_does_not_know_is_declined(
    host: Host, directory: Path, config: str
) -> None:
    manifest = install(host, directory, "websocket-logger")
    text = manifest.read_text().partition("[config]")[0]
    manifest.write_text(f"{text}[config]\n{config}", encoding="utf-8")
    ((_, why),) = (await host.start()).refused
    assert why == "plugin_init returned 1; 0 means ready"
    assert host.texts(LogLevel.ERROR)[0].startswith("config takes preview")


@pytest.mark.parametrize("config", ["", "preview = 400", 'level = "warn"'])
async def test_each_setting_may_be_left_out(host: Host, directory: Path, config: str) -> None:
    await start(host, directory, config)
    assert await said(host, "a") == 'client: text, 1 byte: "a"'
