"""The routes for flows: summaries of the newest, and everything of one."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from proxy_core.api.calls import Answer, BadCall, Call, Desk, Endpoint, Parameter
from proxy_core.api.documents import Problem, encode
from proxy_core.api.documents_flows import FlowDocument, FlowList, flow_document
from proxy_core.control.views import FlowDetail
from proxy_core.model.ids import FlowId

MOST_FLOWS: Final = 1000
_FLOWS: Final = 100


async def _list(desk: Desk, call: Call) -> Answer:
    limit = call.number("limit", _FLOWS, MOST_FLOWS)
    flows = await desk.control.flows(limit)
    return Answer(FlowList(flows, desk.control.status().flows_kept))


async def _one(desk: Desk, call: Call) -> Answer:
    text = call.path["id"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadCall(400, f"{text[:100]!r} is no flow's id; give a whole number")
    flow = await desk.control.flow(FlowId(int(text)))
    if flow is None:
        raise BadCall(404, f"no flow {text}; it never was, or was forgotten to make room")
    # Megabytes may have to be looked at; the proxy's loop has other things to do.
    return Answer(msgspec.Raw(await asyncio.to_thread(_encoded, flow)))


def _encoded(flow: FlowDetail) -> bytes:
    return encode(flow_document(flow))


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/api/flows",
        _list,
        "Summaries of the newest flows, oldest first.",
        {200: FlowList},
        (
            Parameter(
                "limit",
                "How many; 100 where not given.",
                {"type": "integer", "minimum": 0, "maximum": MOST_FLOWS},
            ),
        ),
    ),
    Endpoint(
        "GET",
        "/api/flows/{id}",
        _one,
        "Everything of one flow: heads, bodies, connections.",
        {200: FlowDocument, 400: Problem, 404: Problem},
    ),
)
