"""Two versions of a plugin over the same recent flows: of which they make something else.

Both run offline, as under `plugin test`: the clock stands where each flow began, chance comes from
its number, nothing can be reached, and what they keep is a copy. They run on the core's loop, in
slices as all guests do, and leave it to others between two hooks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import islice
from typing import Final

from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.plugin_status import Comparison
from proxy_core.model.verdict import Continue, Respond
from proxy_core.plugin_host.belongings.state import KeyValueState
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.generation import Blueprint, Generation
from proxy_core.plugin_host.plugin import Plugin
from proxy_core.plugin_host.recorded.offline import OfflinePlugin
from proxy_core.plugin_host.recorded.rerun import Payload, Recording, Rerun, Step

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
            return await _Differences(plugin, flow).found()
    except TimeoutError:
        return ["took too long"]


class _Differences:
    """A witness of what can be different between two versions."""

    def __init__(self, plugin: OfflinePlugin, recorded: Flow) -> None:
        self._plugin = plugin
        self._recording = _recording_of(recorded)
        self._outcome: Outcome = []
        self._before = Payload()

    async def found(self) -> Outcome:
        """Run the flow; return what came of it."""
        plugin, flow, outcome = self._plugin, self._recording.flow, self._outcome
        failures, delayed = plugin.failures, plugin.delayed
        await Rerun(plugin, self._recording, self).run()
        outcome += [flow.request.raw, flow.request_body.kept, flow.response_body.kept]
        outcome += [flow.response and flow.response.raw, flow.annotations, flow.notes]
        if flow.web_socket is not None:
            outcome += [message.payload for message in flow.web_socket.snapshot()]
        outcome += [plugin.failures - failures, plugin.delayed - delayed]
        return outcome

    def before(self, step: Step) -> None:
        """See `Witness`."""
        self._before = step.payload

    def after(self, step: Step) -> None:
        """See `Witness`. A hook that leaves all as it is counts as none."""
        verdict, message = step.verdict, step.message
        if isinstance(verdict, Respond):
            self._outcome += ["respond", verdict.head.raw, verdict.body]
        elif not isinstance(verdict, Continue):
            self._outcome.append(verdict)
        elif message is None or step.payload == self._before:
            return
        if message is not None:
            self._outcome += [message.at, step.payload.data]

    def goes_on(self, head: RequestHead | ResponseHead, body: Payload) -> None:
        """See `Witness`."""
        if isinstance(head, RequestHead):
            self._outcome += [head.scheme, head.authority]
        self._outcome += [head.raw, body.data, body.trailers]


def _recording_of(flow: Flow) -> Recording:
    """Return a finished flow as it came, its bodies as far as they were kept."""
    head = flow.request_received or flow.request
    # A head of its own: a finished flow's has forgotten its fields to save memory.
    request = RequestHead(
        head.method, head.scheme, head.authority, head.path, None, head.version, head.raw
    )
    limit = max(flow.request_body.size, flow.response_body.size)
    answer = (flow.response_received or flow.response) if _was_answered(flow) else None
    log = flow.web_socket
    return Recording(
        Flow(flow.id, flow.client, request, flow.started, limit),
        _body_of(flow, of_response=False),
        answer and ResponseHead(answer.status, answer.reason, None, answer.version, answer.raw),
        _body_of(flow, of_response=True),
        flow.server,
        flow.first_byte,
        flow.ended,
        flow.kind is FlowKind.WEBSOCKET,
        () if log is None else log.snapshot()[:MOST_MESSAGES],
    )


def _body_of(flow: Flow, of_response: bool) -> Payload:
    body = flow.response_body if of_response else flow.request_body
    for change in flow.changes:
        if change.of_response == of_response and change.body is not None:
            return Payload(change.body, body.trailers)
    return Payload(body.kept, body.trailers)
