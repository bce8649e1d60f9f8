"""Logs as a weapon: floods, endless lines, bytes that are no text, and text that draws."""

from __future__ import annotations

import re

import pytest

from int3rceptor_tui.log_printer import render
from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import CONTINUE
from proxy_core.plugin_host.logs import LINE_BYTES
from tests.plugin_host.guests import LOG, Host, guest, make_flow, wasm
from tests.plugin_host.hostile.modules import IN_A_HOOK, LITTLE_FUEL, module
from tests.tui.console import open_console
from tests.tui.fake_control import FakeControl

MIB = 1024 * 1024


def log(ptr: int, length: int) -> str:
    return f"(call $log (i32.const 1) (i32.const {ptr}) (i32.const {length}))"


async def test_a_log_flood_is_bounded_counted_and_told(host: Host) -> None:
    flood = f"(loop {log(0, 65536)} (br 0)) i32.const 0"
    await host.load("hostile", guest(flood, imports=LOG), "[limits]\nlog_lines_per_second = 10")
    assert await host.request(make_flow()) is CONTINUE
    status = host.status("hostile")
    assert status.log_lines < 200
    assert status.log_dropped > 1000
    assert host.manager.logs.dropped == status.log_dropped
    assert max(len(line.text) for line in host.manager.logs.snapshot()) < 8300
    assert any(re.fullmatch("dropped [0-9]+ log lines?", text) for text in host.texts())


async def test_a_log_flood_while_loading_is_bounded_too(host: Host) -> None:
    flood = f'(func (export "plugin_init") (result i32) (loop {log(0, 1)} (br 0)) i32.const 0)'
    await host.refusal(module(flood, LOG), LITTLE_FUEL)
    assert len(host.texts()) < 1300  # 200 at once, 200 a second, and 5 s until the deadline
    assert host.manager.logs.dropped > 1000


async def test_a_line_of_a_mebibyte_is_cut(host: Host) -> None:
    body = f"(memory.fill (i32.const 0) (i32.const 97) (i32.const {MIB})) {log(0, MIB)}"
    large = wasm(
        f'(module {LOG} (memory (export "memory") 17)'
        f' (func (export "on_request") (result i32) {body} i32.const 0))'
    )
    await host.load("hostile", large, "[limits]\nfuel = 10_000_000")
    assert await host.request(make_flow()) is CONTINUE
    assert host.texts() == ["a" * LINE_BYTES + f"... ({MIB - LINE_BYTES} bytes more)"]


SPOOFS = {
    "clear screen": "\x1b[2J\x1b[H",
    "window title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "link": "\x1b]8;;http://evil\x1b\\text",
    "8-bit control": "\x9b31mred",
    "another line": "first\n2026-01-01 ERROR proxy: second\rover",
    "markup": "[bold red]not bold[/] [@click=app.quit]press[/]",
    "emoji and wide": "\U0001f600 日本",
    "right to left": "\u202eexe.txt\u2066",
    "zero": "a\0b\x7f",
}

SHOWN = {
    "markup": SPOOFS["markup"],
    "clear screen": "␛[2J␛[H",
    "another line": "first␊2026-01-01 ERROR proxy: second␍over",
}


async def log_of_a_guest(host: Host, text: bytes) -> None:
    data = "".join(f"\\{byte:02x}" for byte in text)
    body = f"{log(16, len(text))} i32.const 0"
    imports = f'{LOG} (data (i32.const 16) "{data}")'
    await host.load("hostile", guest(body, imports=imports))
    assert await host.request(make_flow()) is CONTINUE


@pytest.mark.parametrize("name", SPOOFS)
async def test_lines_that_would_draw_are_kept_as_they_are_and_shown_as_text(
    host: Host, name: str
) -> None:
    text = SPOOFS[name]
    await log_of_a_guest(host, text.encode())
    (line,) = [line for line in host.manager.logs.snapshot("hostile") if line.text == text]
    shown = render(line)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066" for c in shown)

    control = FakeControl()
    async with open_console(control, size=(200, 40)) as console:
        control.put(logs=[line])
        await console.tick()
        await console.press("2")
        drawn = console.text
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in drawn)
    assert "\u202e" not in drawn
    assert SHOWN.get(name, "hostile") in drawn


async def test_bytes_that_are_no_text_are_shown_as_replaced(host: Host) -> None:
    await log_of_a_guest(host, b"a\xff\xc3\x28\xed\xa0\x80z")
    (text,) = host.texts()
    assert text.startswith("a\ufffd\ufffd(")
    assert text.endswith("z")


async def test_complaints_about_a_plugin_do_not_draw_either(host: Host) -> None:
    hostile = IN_A_HOOK["abort with escape sequences"]
    await host.load("hostile", hostile.module)
    await host.request(make_flow())
    (line,) = [line for line in host.manager.logs.snapshot() if line.level is LogLevel.ERROR]
    assert "\x1b" in line.text
    assert "\x1b" not in render(line)
