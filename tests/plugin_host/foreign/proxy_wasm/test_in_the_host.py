"""Filters as plugins of one host: what they share with one another, and over reloads."""

from __future__ import annotations

import asyncio

from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import CONTINUE as GO_ON
from tests.plugin_host.foreign.proxy_wasm.filters import CONTINUE, filter_of, on, text
from tests.plugin_host.guests import Host, make_flow

NAMES = {100: b"jobs", 110: b"receiver", 120: b"a job"}
RECEIVER = filter_of(
    on(
        "configure",
        2,
        f"(drop (call $register_shared_queue {text(100, 4)} (global.get $number))) (i32.const 1)",
    ),
    on(
        "queue_ready",
        2,
        """(drop (call $dequeue_shared_queue (local.get 1) (global.get $address)
        (global.get $length))) (call $say)""",
        "",
    ),
    texts=NAMES,
)
SENDER = filter_of(
    on(
        "request_headers",
        3,
        f"""(drop (call $resolve_shared_queue {text(110, 8)} {text(100, 4)} (global.get $number)))
        (drop (call $enqueue_shared_queue (i32.load (global.get $number)) {text(120, 5)}))
        {CONTINUE}""",
    ),
    texts=NAMES,
)
WITH_ID = '[proxy_wasm]\nvm_id = "receiver"\nkind = "background"'


async def until_said(host: Host, count: int) -> None:
    while host.texts(LogLevel.INFO).count("a job") < count:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)


async def test_one_filter_sends_to_the_queue_of_another(host: Host) -> None:
    await host.load("receiver", RECEIVER, WITH_ID)
    await host.load("sender", SENDER)
    assert await host.request(make_flow()) is GO_ON
    await until_said(host, 1)


async def test_the_queue_is_heard_by_the_version_that_took_over(host: Host) -> None:
    await host.load("receiver", RECEIVER, WITH_ID)
    await host.load("sender", SENDER)
    assert (await host.manager.reload("receiver")).ok
    await host.request(make_flow())
    await until_said(host, 1)


async def test_a_filter_that_knows_no_plugin_without_a_name_is_refused_with_the_remedy(
    host: Host,
) -> None:
    nameless = filter_of(on("context_create", 2, "unreachable", ""))
    assert "say which in proxy_wasm.root_id" in await host.refusal(nameless)
    named = '[proxy_wasm]\nroot_id = "x"'
    assert "root_id" not in await host.refusal(nameless, named)


async def test_who_edits_a_body_in_pieces_is_named_once(host: Host) -> None:
    edit = f"(call $set_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 99) {text(100, 3)})"
    body = f"(if (i32.eqz (local.get 2)) (then (drop {edit}))) {CONTINUE}"
    await host.load("editor", filter_of(on("request_body", 3, body), texts={100: b"new"}))
    await host.load("reader", filter_of(on("request_body", 3, CONTINUE)))
    flow = make_flow(method=b"POST")
    await host.request(flow)
    assert host.hooks.request_stream is not None
    through = host.hooks.request_stream(flow)
    assert through is not None
    assert [await through(b"old", False), await through(b"older", False)] == [b"new", b"new"]
    assert await through(b"last", True) == b"last"
    assert flow.edited_by == ("plugin editor",)
    (change,) = flow.changes
    assert (change.by, change.in_pieces, change.of_response) == ("plugin editor", True, False)


async def test_a_filter_for_tunnels_is_not_entered_for_exchanges(host: Host) -> None:
    await host.load("tcp", filter_of(on("downstream_data", 3, CONTINUE)))
    assert (host.hooks.request, host.hooks.response) == (None, None)
    assert host.hooks.tunnel is not None
    assert host.status("tcp").hooks == ("on_capture",)
    await host.load("http", filter_of(on("request_headers", 3, CONTINUE)))
    assert await host.request(make_flow()) is GO_ON
    assert (host.status("tcp").calls, host.status("http").calls) == (0, 1)
