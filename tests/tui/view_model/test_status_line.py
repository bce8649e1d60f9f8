from __future__ import annotations

import msgspec

from int3rceptor_tui.view_model.status_line import status_parts
from tests.tui.fake_control import FakeControl


def text_of(api: str) -> str:
    status = msgspec.structs.replace(FakeControl().core_status, api=api)
    return "".join(text for text, _ in status_parts(status, 0.0, "", 120))


def test_the_status_says_where_the_api_is() -> None:
    assert " ● 127.0.0.1:8080  API 127.0.0.1:3000 │" in text_of("http://127.0.0.1:3000")
    assert "API" not in text_of("")
