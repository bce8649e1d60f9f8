"""What holds for every test: the `tools` marker skips, by name, where a program is missing.

An example of hypothesis may take its time: how long says more of the machine than of the code.
"""

from __future__ import annotations

import hypothesis
import pytest

from tests.tools import find_tool

hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("tools"):
        missing = [name for name in marker.args if find_tool(name) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")
