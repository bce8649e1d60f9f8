"""Message rules between a real WebSocket client and a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from proxy_core.config import parse_replacement
from tests.e2e.test_websocket import running


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
