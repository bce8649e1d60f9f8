from __future__ import annotations

import pytest

from proxy_core.model.words import counted


@pytest.mark.parametrize(("count", "text"), [(0, "0 flows"), (1, "1 flow"), (2, "2 flows")])
def test_one_is_no_plural(count: int, text: str) -> None:
    assert counted(count, "flow") == text
