"""What holds for every test: the `tools` marker skips, by name, where a program is missing."""

from __future__ import annotations

import pytest

from tests.tools import find_tool


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("tools"):
        missing = [name for name in marker.args if find_tool(name) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")
