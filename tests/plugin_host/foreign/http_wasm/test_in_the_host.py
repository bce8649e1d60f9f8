"""Handlers as plugins: loaded, reloaded, failing, and leaving nothing behind."""

from __future__ import annotations

from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import CONTINUE, Respond
from proxy_core.plugin_host.foreign.http_wasm.driver import HandlerDriver
from tests.plugin_host.foreign.http_wasm.modules import NEXT, at, handler, text
from tests.plugin_host.guests import MEMORY, Host, living, make_flow, respond_with, wasm

SET = f"(call $set_header_value (i32.const {{}}) {at('x-new')} {at('v', 'x-new')})"
STAMPING = handler(
    "set_header_value",
    "enable_features",
    more=text("x-new", "v"),
    start="(drop (call $enable_features (i32.const 2)))",
    request=SET.format(0),
    response=SET.format(1),
)


def remembered(host: Host, name: str) -> int:
    """How many flows a handler's driver still knows."""
    driver = host.manager._plugins[name].driver
    assert isinstance(driver, HandlerDriver)
    return len(driver._passages)


async def test_a_handler_is_a_plugin_like_any_other(host: Host) -> None:
    await host.load("a", STAMPING)
    status = host.status("a")
    assert (status.abi, status.hooks) == ("http-wasm", ("on_request", "on_response", "on_capture"))
    flow = make_flow()
    assert await host.request(flow) is CONTINUE
    assert await host.response(respond_with(flow)) is CONTINUE
    await host.capture(flow)
    assert flow.request.headers.get(b"x-new") == b"v"
    assert flow.response is not None
    assert flow.response.headers.get(b"x-new") == b"v"
    assert flow.edited_by == ("plugin a",)


async def test_its_answer_is_the_flows(host: Host) -> None:
    await host.load("a", handler(answer="(i64.const 0)"))
    verdict = await host.request(make_flow())
    assert isinstance(verdict, Respond)
    assert (verdict.by, verdict.head.status, verdict.body) == ("plugin a", 200, b"")


async def test_flows_under_way_go_on_over_a_reload(host: Host) -> None:
    await host.load("a", STAMPING)
    flow, later = make_flow(), make_flow()
    later.id = FlowId(18)
    await host.request(flow)
    assert (await host.manager.reload("a")).ok
    await host.request(later)
    assert await host.response(respond_with(flow)) is CONTINUE
    assert flow.response is not None
    assert b"x-new" not in flow.response.headers  # the new version never saw its request
    assert later.request.headers.get(b"x-new") == b"v"
    assert host.texts(LogLevel.ERROR) == []


async def test_a_handler_that_cannot_be_one_is_refused(host: Host) -> None:
    why = await host.refusal(wasm(f"(module {MEMORY} {NEXT})"))
    assert why.startswith("an http-wasm handler exports 'handle_response'")


async def test_nothing_is_left_behind_by_flows_that_came_and_went(host: Host) -> None:
    await host.load("good", STAMPING)
    await host.load("traps", handler(response="unreachable"))
    plugin = host.manager._plugins["traps"]

    async def pass_through(times: range) -> int:
        for number in times:
            plugin.standing.health.forget()
            flow = make_flow()
            flow.id = FlowId(number)
            assert await host.request(flow) is CONTINUE
            if number % 2:
                assert await host.response(respond_with(flow)) is CONTINUE
            else:
                flow.error = "the origin is gone"
            await host.capture(flow)
        return living("Passage", "Instance", "RawGuest", "OfficialGuest", "HookCall", "Flow")

    assert await pass_through(range(50)) >= await pass_through(range(50, 1000))
    assert remembered(host, "good") == remembered(host, "traps") == 0
    assert plugin.profile.traps == 1000
