from __future__ import annotations

import msgspec

from int3rceptor_tui.view_model.first_uses import Question
from int3rceptor_tui.view_model.status_line import status_parts
from proxy_core.model.plugin_status import AskedPermission, PermissionState
from tests.tui.fake_control import FakeControl


def text_of(api: str) -> str:
    status = msgspec.structs.replace(FakeControl().core_status, api=api)
    return "".join(text for text, _ in status_parts(status, 0.0, "", 120))


def test_the_status_says_where_the_api_is() -> None:
    assert " ● 127.0.0.1:8080  API 127.0.0.1:3000 │" in text_of("http://127.0.0.1:3000")
    assert "API" not in text_of("")


def test_an_open_question_leaves_room_for_the_flows_that_are_held() -> None:
    entries = ("127.0.0.1:9911", "*.internal.example.com", "api.example.com")
    asked = AskedPermission("network", entries, PermissionState.UNASKED)
    status = msgspec.structs.replace(FakeControl().core_status, held=2, flows_seen=22_515)
    parts = status_parts(status, 500.0, "", 80, Question("caller", asked))
    text = "".join(part for part, _ in parts)
    assert len(text) <= 80
    assert "caller asks for network: 127" in text
    assert "P decides │ 2 held" in text
    calm = status_parts(msgspec.structs.replace(status, held=0), 0.0, "", 80, Question("a", asked))
    assert "P decides │ 22515 flows" in "".join(part for part, _ in calm)


def test_eighty_columns_tell_the_key_for_help_before_that_nothing_was_lost() -> None:
    busy = {"flows_seen": 131, "plugins_ready": 0, "plugins_failing": 6}
    status = msgspec.structs.replace(FakeControl().core_status, **busy)
    text = "".join(part for part, _ in status_parts(status, 5.0, "", 80))
    assert text.endswith("0 plugins 6 failed │ ? help")
    lossy = msgspec.structs.replace(status, log_lines_dropped=19_359)
    assert "19.4k dropped │ ? help" in "".join(part for part, _ in status_parts(lossy, 5.0, "", 80))
    wide = "".join(part for part, _ in status_parts(status, 5.0, "", 120))
    assert wide.endswith("? help │ 0 dropped │ 0 clients")
