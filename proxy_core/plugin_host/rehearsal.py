"""Two versions of a plugin over the same recent flows: of which they make something else.

Both run offline, as under `plugin test`: the clock stands where each flow began, chance comes from
its number, nothing can be reached, and what they keep is a copy. They run on the core's loop, in
slices as all guests do, and leave it to others between two hooks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import islice
from typing import Final

from proxy_core.errors import RefusedByHook
from proxy_core.exchange.bodies import may_be_gathered
from proxy_core.exchange.hooks import AnsweredByHook, BodyFilter, ConnectAttempt
from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.message import Body, RequestHead, ResponseHead, join_authority
from proxy_core.model.plugin_status import Comparison
from proxy_core.model.verdict import Block, Continue, Respond, Verdict
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.generation import Blueprint, Generation
from proxy_core.plugin_host.offline import OfflinePlugin
from proxy_core.plugin_host.plugin import Plugin
from proxy_core.plugin_host.state import KeyValueState
from proxy_core.wire.websocket import BINARY, TEXT

MOST_FLOWS: Final = 20
LOOKED_AT: Final = 500
"""How many of the newest flows are looked at to find these."""
SECONDS: Final = 1.0
"""How long all of it may take; flows that were not come to by then are left out."""
FLOW_SECONDS: Final = 0.25
"""How long one version may take over one flow."""
DEADLINE_MS: Final = 1000
"""How long an instance may take to start; and where guests run on a thread, to leave that."""
MOST_MESSAGES: Final = 100
"""How many messages of a WebSocket are shown."""
STATE_BYTES: Final = 1024 * 1024
"""A larger state is not copied: then both versions begin with an empty one."""
_EXCHANGES: Final = (FlowKind.HTTP, FlowKind.WEBSOCKET)
_OVER: Final = (FlowState.DONE, FlowState.FAILED)
_ANY_FLOW: Final = frozenset({Hook.CONNECT, Hook.REQUEST, Hook.CAPTURE})
_ANSWERED: Final = frozenset({Hook.RESPONSE, Hook.RESPONSE_CHUNK})

Outcome = list[object]
"""What a version did to a flow, step by step: equal where it was the same."""


async def compare(
    plugin: Plugin,
    old: Generation,
    new: Blueprint,
    recent: Sequence[Flow],
    workers: Executor,
) -> Comparison | None:
    """Run the version at work and a new one over the newest of `recent` that either is called for.

    Instances of their own are made for it on `workers`. None where there is no such flow. Raises
    GuestFailure and ModuleRefused where one of them does not start offline.
    """
    flows = _choose(recent, old.blueprint, new)
    if not flows:
        return None
    state = plugin.belongings.state
    if state.size > STATE_BYTES:
        state = KeyValueState()
    loop = asyncio.get_running_loop()
    differing = []
    compared = 0
    async with (
        OfflinePlugin(_hurried(old.blueprint), plugin.source, workers, state.copy()) as before,
        OfflinePlugin(_hurried(new), plugin.source, workers, state.copy()) as after,
    ):
        end = loop.time() + SECONDS
        for flow in flows:
            if loop.time() > end:
                break
            if await _within_reason(before, flow) != await _within_reason(after, flow):
                differing.append(flow.id)
            compared += 1
            before.take_lines()
            after.take_lines()
    return Comparison(old.number, compared, tuple(differing))


def _hurried(version: Blueprint) -> Blueprint:
    limits = version.manifest.limits
    limits = replace(limits, deadline_ms=min(limits.deadline_ms, DEADLINE_MS))
    return replace(version, manifest=replace(version.manifest, limits=limits))


def _choose(recent: Sequence[Flow], *versions: Blueprint) -> list[Flow]:
    """Return the newest flows that one of the versions is called for, oldest first."""
    chosen: list[Flow] = []
    for flow in islice(reversed(recent), LOOKED_AT):
        is_over = flow.kind in _EXCHANGES and flow.state in _OVER
        if is_over and any(_is_called(version, flow) for version in versions):
            chosen.append(flow)
        if len(chosen) == MOST_FLOWS:
            break
    chosen.reverse()
    return chosen


def _is_called(version: Blueprint, flow: Flow) -> bool:
    wanted, hooks = version.manifest.flows, version.contract.hooks
    if wanted is not None and not wanted(flow):
        return False
    return (
        bool(hooks & _ANY_FLOW)
        or (bool(hooks & _ANSWERED) and _was_answered(flow))
        or (Hook.REQUEST_CHUNK in hooks and flow.request_body.size > 0)
        or (Hook.WEBSOCKET_MESSAGE in hooks and flow.web_socket is not None)
    )


def _was_answered(flow: Flow) -> bool:
    """Whether there is an origin's response, and not one that was made here."""
    return flow.response is not None and flow.server is not None


async def _within_reason(plugin: OfflinePlugin, flow: Flow) -> Outcome:
    try:
        async with asyncio.timeout(FLOW_SECONDS):
            return await Rerun(plugin, flow).run()
    except TimeoutError:
        return ["took too long"]


class Rerun:
    """One flow on its way once more, as it came, past one plugin; it stays as it is."""

    def __init__(self, plugin: OfflinePlugin, recorded: Flow) -> None:
        self._plugin = plugin
        self._recorded = recorded
        self._outcome: Outcome = []
        head = recorded.request_received or recorded.request
        # A head of its own: a finished flow's has forgotten its fields to save memory.
        request = RequestHead(
            head.method, head.scheme, head.authority, head.path, None, head.version, head.raw
        )
        limit = max(recorded.request_body.size, recorded.response_body.size)
        self._flow = Flow(recorded.id, recorded.client, request, recorded.started, limit)

    async def run(self) -> Outcome:
        """Call the hooks in the order in which the exchange does; return what came of it."""
        plugin, flow = self._plugin, self._flow
        plugin.now_ns = int(flow.started * 1e9)
        plugin.seed(flow.id)
        failures, delayed = plugin.failures, plugin.delayed
        if await self._connect():
            try:
                if await self._request() and _was_answered(self._recorded):
                    await self._response()
                    await self._messages()
            except AnsweredByHook as error:
                self._note_verdict(error.verdict)
            except RefusedByHook as error:
                self._outcome.append(str(error))
            await self._capture()
        self._outcome += [flow.request.raw, flow.request_body.kept, flow.response_body.kept]
        self._outcome += [flow.response and flow.response.raw, flow.annotations, flow.notes]
        self._outcome += [plugin.failures - failures, plugin.delayed - delayed]
        return self._outcome

    async def _connect(self) -> bool:
        hook = self._plugin.hooks.connect
        if hook is None:
            return True
        request = self._flow.request
        targets: list[bytes | None] = [None]
        if request.scheme == "https":
            targets.append(join_authority(request.host, request.port, "http"))
        for target in targets:
            if not self._note_verdict(await hook(ConnectAttempt(self._flow.client, target))):
                return False
        return True

    async def _request(self) -> bool:
        flow, hooks = self._flow, self._plugin.hooks
        body = self._body_of(of_response=False)
        if hooks.request is not None:
            self._show(hooks.request_body, flow.request, body, self._recorded.request_body)
            goes_on = self._note_verdict(await hooks.request(flow))
            body = self._take(body)
            if not goes_on:
                return False
        body = await self._filter(hooks.request_stream, body)
        flow.request_body.feed(body)
        head = flow.request
        self._outcome += [head.scheme, head.authority, head.raw, body]
        await asyncio.sleep(0)
        return True

    async def _response(self) -> None:
        flow, hooks, recorded = self._flow, self._plugin.hooks, self._recorded
        head = recorded.response_received or recorded.response
        assert head is not None
        flow.server = recorded.server
        flow.response = ResponseHead(head.status, head.reason, None, head.version, head.raw)
        flow.first_byte = recorded.first_byte
        body = self._body_of(of_response=True)
        if hooks.response is not None:
            self._show(hooks.response_body, flow.response, body, recorded.response_body)
            goes_on = self._note_verdict(await hooks.response(flow))
            body = self._take(body)
            if not goes_on:
                return
        body = await self._filter(hooks.response_stream, body)
        flow.response_body.feed(body)
        self._outcome += [flow.response.raw, body]
        await asyncio.sleep(0)

    async def _messages(self) -> None:
        flow, hook, log = (
            self._flow,
            self._plugin.hooks.websocket_message,
            self._recorded.web_socket,
        )
        if hook is None or log is None:
            return
        flow.kind = FlowKind.WEBSOCKET
        for past in log.snapshot()[:MOST_MESSAGES]:
            if past.opcode not in (TEXT, BINARY) or past.injected or past.cut:
                continue  # which nobody was asked about
            message = WebSocketMessage(
                past.from_client, past.opcode, past.at, past.payload, past.size, past.compressed
            )
            verdict = await hook(flow, message)
            if not isinstance(verdict, Continue) or message.payload != past.payload:
                self._outcome += [past.at, type(verdict), message.payload]
            await asyncio.sleep(0)

    async def _capture(self) -> None:
        flow, hook = self._flow, self._plugin.hooks.capture
        flow.ended, flow.state = self._recorded.ended, FlowState.DONE
        if hook is not None:
            await hook(flow)
            await asyncio.sleep(0)

    def _body_of(self, of_response: bool) -> bytes:
        """Return a body as it came, as far as it was kept."""
        recorded = self._recorded
        for change in recorded.changes:
            if change.of_response == of_response and change.body is not None:
                return change.body
        return (recorded.response_body if of_response else recorded.request_body).kept

    def _show(
        self,
        wanted: Callable[[Flow], bool] | None,
        head: RequestHead | ResponseHead,
        body: bytes,
        recorded: Body,
    ) -> None:
        """Put the whole body at the hook's hand, where the exchange would."""
        if self._recorded.kind is FlowKind.WEBSOCKET or not may_be_gathered(head):
            return
        if wanted is not None and wanted(self._flow):
            trailers = recorded.trailers
            self._flow.whole = WholeBody(body, None if trailers is None else list(trailers))

    def _take(self, body: bytes) -> bytes:
        whole, self._flow.whole = self._flow.whole, None
        if whole is None:
            return body
        if whole.edited:
            self._outcome.append(whole.trailers)
        return whole.data

    async def _filter(
        self, stream: Callable[[Flow], BodyFilter | None] | None, body: bytes
    ) -> bytes:
        body_filter = None if stream is None or not body else stream(self._flow)
        return body if body_filter is None else await body_filter(body, True)

    def _note_verdict(self, verdict: Verdict) -> bool:
        """Note what was decided; return whether the exchange goes on."""
        flow = self._flow
        if isinstance(verdict, Respond):
            flow.response = verdict.head
            flow.response_body.feed(verdict.body)
            self._outcome += ["respond", verdict.head.raw, verdict.body]
            return False
        if not isinstance(verdict, Continue):  # which is also what nobody says who is not asked
            self._outcome.append(verdict)
        if isinstance(verdict, Block):
            flow.response = ResponseHead(verdict.status)
            return False
        return True
