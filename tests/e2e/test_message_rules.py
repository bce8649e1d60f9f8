"""Message rules between a real WebSocket client and a real server, and who hears of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from proxy_core.config import parse_replacement
from proxy_core.model.flow import FlowState
from proxy_core.model.log_line import LogLevel
from tests.e2e.plugged import put_module
from tests.e2e.test_websocket import running
from tests.plugin_host.guests import importing, wasm
from tests.waiting import until

WHEN_A_RULE_FIRES = wasm(
    f"""(module
  (import "env" "host_log" (func $log (param i32 i32 i32)))
  {importing("host_get_body", 3)} {importing("host_set_body", 2)} {importing("host_get_field", 3)}
  (memory (export "memory") 4)
  (data (i32.const 65536) "seen")
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func $put (param $id i32) (param $at i32) (result i32)
    (i32.add (local.get $at)
      (call $get_field (local.get $id) (local.get $at) (i32.const 1000))))
  (func $space (param $at i32) (result i32)
    (i32.store8 (local.get $at) (i32.const 32)) (i32.add (local.get $at) (i32.const 1)))
  (func (export "on_rule_match") (result i32) (local $n i32) (local $word i32)
    (local.set $n (call $put (i32.const 10) (i32.const 0)))
    (local.set $n (call $put (i32.const 12) (call $space (local.get $n))))
    (local.set $n (call $put (i32.const 13) (call $space (local.get $n))))
    (local.set $n (call $put (i32.const 1) (call $space (local.get $n))))
    (local.set $n (call $space (local.get $n)))
    (local.set $n (i32.add (local.get $n)
      (call $get_body (i32.const 0) (local.get $n) (i32.const 1000))))
    (call $log (i32.const 1) (i32.const 0) (local.get $n))
    (drop (call $get_body (i32.const 0) (i32.const 2048) (i32.const 1000)))
    (local.set $word (i32.load (i32.const 2048)))
    (if (i32.eq (local.get $word) (i32.const {int.from_bytes(b"bloc", "little")}))
      (then (return (i32.const 1))))
    (if (i32.eq (local.get $word) (i32.const {int.from_bytes(b"hold", "little")}))
      (then (return (i32.const 2))))
    (if (i32.eq (local.get $word) (i32.const {int.from_bytes(b"trap", "little")}))
      (then unreachable))
    (if (i32.eq (local.get $word) (i32.const {int.from_bytes(b"edit", "little")}))
      (then (drop (call $set_body (i32.const 65536) (i32.const 4)))))
    i32.const 0))"""
)
"""Logs rule, direction, opcode, URL and message; does what the message's first word says."""


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_rules_edit_and_drop_messages_either_way(
    certificate: OriginCertificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    compression: str | None,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    modify = (
        parse_replacement("/~bq ./user/admin"),
        parse_replacement(r"|~bs . & ~d localhost|\d+|#"),
        parse_replacement("/utf/\\xff"),
    )
    async with (
        running(
            certificate,
            tmp_path,
            modify_messages=modify,
            drop_messages=("~bs tick", "~d elsewhere"),
        ) as house,
        house.connect(scheme, compression) as connection,
    ):
        for _ in range(3):
            await connection.send("I am a user, 1 of 20, a user of 20")
            assert await connection.recv() == "I am a admin, # of #, a admin of #"
            await connection.send("tick")  # comes back, and is dropped there
            await connection.send(["in frag", "ments: us", "er"])
            assert await connection.recv() == "in fragments: admin"
        await connection.send("utf")  # would be no text any more
        assert await connection.recv() == "utf"
        await connection.send(b"utf")
        assert await connection.recv() == b"\xff"
        await (await connection.ping(b"user 20"))
        await connection.send("bye, nothing to see")
        assert await connection.recv() == "bye, nothing to see"
    shown, seen = await house.finished()
    dropped = [message for message in seen.messages if message.dropped]
    assert [(m.payload, m.by) for m in dropped] == [(b"tick", ("rule drop-messages 1",))] * 3
    edited = [(m.from_client, m.payload, m.by) for m in seen.messages if m.edited]
    assert edited[:2] == [
        (True, b"I am a admin, 1 of 20, a admin of 20", ("rule modify-messages 1",)),
        (False, b"I am a admin, # of #, a admin of #", ("rule modify-messages 2",)),
    ]
    assert len(edited) == 3 * 3 + 1
    untouched = [m.by for m in seen.messages if not (m.edited or m.dropped)]
    assert set(untouched) == {()}
    pings = [m.payload for m in seen.messages if m.opcode == 9]
    assert pings == [b"user 20"]
    assert set(shown.edited_by) == {
        "rule drop-messages 1",
        *(f"rule modify-messages {number}" for number in (1, 2, 3)),
    }
    assert "an edit that made text something else than UTF-8 was not sent" in shown.notes


async def test_a_plugin_hears_of_rules_that_fired_and_decides_about_their_messages(
    certificate: OriginCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    plugins = tmp_path / "plugins"
    put_module(plugins, "listener", WHEN_A_RULE_FIRES)
    async with (
        running(
            certificate,
            tmp_path / "data",
            plugins=(plugins,),
            modify_messages=(parse_replacement("/~bq ./!/?"), parse_replacement("/seen/and seen")),
            drop_messages=("~bq gone",),
        ) as house,
        house.connect("wss") as connection,
    ):

        async def answer(message: str) -> str | bytes:
            await connection.send(message)
            return await connection.recv()

        url = f"https://localhost:{house.ports['wss']}/"

        def heard() -> list[str]:
            lines = house.core.plugins.logs.snapshot("listener")
            return [line.text for line in lines if line.text.endswith(("?", "seen", "gone!"))]

        assert await answer("quiet") == "quiet"
        assert heard() == []
        assert await answer("loud!") == "loud?"
        assert heard() == [f"modify-messages 1 client 1 {url} loud?"]
        assert await answer("edit!") == "and and seen"  # and once more on the way back
        assert heard()[1:] == [
            f"modify-messages 1 client 1 {url} edit?",
            f"modify-messages 2 client 1 {url} and seen",
            f"modify-messages 2 server 1 {url} and and seen",
        ]
        await connection.send("block!")
        await connection.send("gone!")
        assert await answer("trap!") == "trap?"
        await connection.send("hold!")
        (flow,) = house.web_sockets()
        await until(lambda: flow.state is FlowState.HELD)
        await house.core.control().resume_flows([flow.id])
        assert await connection.recv() == "hold?"
        assert heard()[4:] == [
            f"modify-messages 1 client 1 {url} block?",
            f"drop-messages 1 client 1 {url} gone!",
            f"modify-messages 1 client 1 {url} trap?",
            f"modify-messages 1 client 1 {url} hold?",
        ]
    shown, seen = await house.finished()
    dropped = [(message.payload, message.by) for message in seen.messages if message.dropped]
    assert dropped == [
        (b"block!", ("plugin listener",)),
        (b"gone!", ("rule drop-messages 1",)),
    ]
    (edited,) = [m for m in seen.messages if m.payload == b"and seen"]
    assert edited.by == (
        "rule modify-messages 1",
        "plugin listener",
        "rule modify-messages 2",
    )
    assert "held by plugin listener" in shown.notes
    errors = [
        line.text
        for line in house.core.plugins.logs.snapshot("listener")
        if line.level is LogLevel.ERROR
    ]
    assert len(errors) == 1
    assert errors[0].startswith("on_rule_match trapped")
