"""Who waits for the interpreter's lock beside a guest on a thread does not wait long."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from proxy_core.plugin_host.faults import GuestTrapped
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide
from proxy_core.plugin_host.runtime.official import OfficialEngine
from proxy_core.plugin_host.runtime.raw import RawEngine
from proxy_core.plugin_host.short_turns import SECONDS, short_turns
from tests.plugin_host.runtime.test_engines import instance, module

USUAL = 0.003
INIT = (
    '(import "env" "host_look" (func $look (result i32)))'
    ' (func (export "plugin_init") (result i32) (drop (call $look)) {})'
)


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(USUAL)
    yield
    sys.setswitchinterval(before)


def test_the_interval_is_as_before_when_the_last_is_out() -> None:
    with short_turns:
        with short_turns:
            assert sys.getswitchinterval() == pytest.approx(SECONDS)
        assert sys.getswitchinterval() == pytest.approx(SECONDS)
    assert sys.getswitchinterval() == pytest.approx(USUAL)


@pytest.mark.parametrize("engine", [RawEngine, OfficialEngine])
@pytest.mark.parametrize("end", ["i32.const 0", "unreachable"])
def test_a_guest_on_a_thread_has_short_turns(
    engine: type[RawEngine | OfficialEngine], end: str
) -> None:
    seen: list[float] = []

    def look(host: HostSide) -> int:
        seen.append(sys.getswitchinterval())
        return 0

    functions = {"host_look": HostFunction("host_look", 0, (), "i32", look)}
    made = engine()
    guest = instance(made, module("i32.const 0", INIT.format(end)), functions=functions)
    if end == "unreachable":
        with pytest.raises(GuestTrapped):
            guest.run("plugin_init")
    else:
        assert guest.run("plugin_init") == 0
    guest.close()
    made.close()
    assert seen == [pytest.approx(SECONDS)]
    assert sys.getswitchinterval() == pytest.approx(USUAL)
