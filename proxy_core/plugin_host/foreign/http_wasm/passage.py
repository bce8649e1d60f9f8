"""What is kept of a handler: for its instance, and for each flow on its way through it.

A handler may prepare the response while it has the request, and be asked about the response with
a number that it gave with the request. So there is a `Passage` for each flow between the two.
Everything written is kept here, or in the call's draft, until the handler has returned well.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import HTTP_11, ResponseHead
from proxy_core.plugin_host.byte_copies import join_by_turns, slice_of, splice
from proxy_core.plugin_host.hook.draft import ResponseDraft

WRITTEN_BYTES: Final = 16 * 1024 * 1024
"""What a handler may write as one body."""
_BAD_GATEWAY: Final = 502


class Features(enum.IntFlag):
    """What a handler switches on with `enable_features`."""

    BUFFER_REQUEST = 1
    BUFFER_RESPONSE = 2
    TRAILERS = 4


class BodyAccess:
    """A body as a handler reads and writes it: a stream with a place in it.

    The first write puts away what was there.
    """

    __slots__ = ("_data", "_is_new", "_position", "_written")

    def __init__(self, data: bytes | None, *, is_new: bool = False) -> None:
        """Begin with `data`, None where it is not at hand; `is_new` where it is not as it came."""
        self._is_new = is_new
        self._data = data
        self._position = 0
        self._written: bytearray | None = None

    def read(self, most: int) -> tuple[bytes, bool] | None:
        """Return the next bytes and whether they were the last; None where none are at hand."""
        source = self._data if self._written is None else self._written
        if source is None:
            return None
        piece = slice_of(source, self._position, self._position + most)
        self._position += len(piece)
        return piece, self._position >= len(source)

    def write(self, piece: bytes) -> bool:
        """Add to what is written; False, and nothing added, where that would be too much."""
        if len(self._written or b"") + len(piece) > WRITTEN_BYTES:
            return False
        if self._written is None:
            self._written = bytearray()
            self._position = 0
        splice(self._written, len(self._written), 0, piece)
        return True

    @property
    def edited(self) -> bytes | None:
        """What the body has become; None where it is as it came."""
        if self._written is not None:
            return slice_of(self._written, 0, len(self._written))
        return self._data if self._is_new else None

    async def end(self) -> None:
        """Nothing more is read or written: have `edited` at hand."""
        if self._written is not None:
            self._data, self._is_new = await join_by_turns(self._written), True
            self._written = None


class Instance:
    """What belongs to one instance of a handler; `HostSide.state`."""

    __slots__ = ("features", "passage", "told")

    def __init__(self) -> None:
        self.features = Features(0)
        """Switched on while it was loaded, for all flows."""
        self.passage: Passage | None = None
        """The flow that it is asked about now."""
        self.told: set[bytes] = set()
        """Names of the proxy's own fields that it was told it cannot write."""


class Passage:
    """One flow on its way through a handler."""

    __slots__ = (
        "after_next",
        "body",
        "context",
        "features",
        "instance",
        "made",
        "made_body",
        "request_body",
        "request_trailers",
        "response",
        "response_trailers",
    )

    def __init__(self, instance: Instance, flow: Flow) -> None:
        """Begin with the request; `flow.whole` is its body where that was gathered."""
        self.instance = instance
        self.features = instance.features
        self.context = 0
        self.after_next = False
        """Whether it is asked about the response, and no more about the request."""
        self.request_body = BodyAccess(None if flow.whole is None else flow.whole.data)
        self.request_trailers = _trailers(flow.whole, flow.request.version)
        self.made = ResponseDraft(ResponseHead(200, b"OK", Headers(), HTTP_11))
        """The response that it makes by itself, or begins before there is one."""
        self.response: ResponseDraft = self.made
        """The response that its functions work on."""
        self.body = BodyAccess(b"")
        """That response's body."""
        self.made_body: bytes = b""
        self.response_trailers: ResponseDraft | None = None

    @property
    def has_begun_response(self) -> bool:
        """Whether it wrote something for the response while it had the request."""
        return bool(self.made.headers.fields or self.made_body)

    @property
    def weight(self) -> int:
        """Bytes that it keeps of a response that was begun, once the request went."""
        fields = self.made.headers.fields
        return len(self.made_body) + sum(len(name) + len(value) for name, value in fields)

    async def end(self) -> None:
        """The handler has returned: what it has written is as it stays."""
        await self.request_body.end()
        await self.body.end()

    def end_request(self, context: int) -> None:
        """Keep what is needed for the response, and nothing of the request's body."""
        self.context = context
        self.made_body = self.body.edited or b""
        self.request_body = self.body = BodyAccess(None)
        self.request_trailers = None
        self.after_next = True

    def begin_response(
        self, flow: Flow, draft: ResponseDraft | None, joined: bytes | None = None
    ) -> None:
        """Turn to the response; `joined` is its body where something was put before that.

        Without `draft` the flow is over, and what is written is for nothing.
        """
        head = flow.response
        if draft is None:
            draft = ResponseDraft(head or ResponseHead(_BAD_GATEWAY))
            self.body = BodyAccess(flow.response_body.kept)
            self.response_trailers = _draft(flow.response_body.trailers or (), HTTP_11)
        else:
            data = None if flow.whole is None else flow.whole.data
            self.body = BodyAccess(data) if joined is None else BodyAccess(joined, is_new=True)
            self.response_trailers = _trailers(flow.whole, draft.original.version)
        self.response = draft
        if not flow.request_body.truncated:
            self.request_body = BodyAccess(flow.request_body.kept)
        self.request_trailers = _draft(flow.request_body.trailers or (), flow.request.version)

    def request_edits(self, flow: Flow) -> WholeBody | None:
        """Return what becomes of `flow.whole` behind the request; None where it stays."""
        return _edited(flow.whole, self.request_body, self.request_trailers)

    def response_edits(self, flow: Flow) -> WholeBody | None:
        """Return what becomes of `flow.whole` behind the response; None where it stays."""
        return _edited(flow.whole, self.body, self.response_trailers)


def _draft(fields: Sequence[Field], version: str) -> ResponseDraft:
    """Trailers are fields like any others, so they are edited as a head without a status."""
    return ResponseDraft(ResponseHead(200, b"", Headers(fields), version))


def _trailers(whole: WholeBody | None, version: str) -> ResponseDraft | None:
    return None if whole is None else _draft(whole.trailers or (), version)


def _edited(
    whole: WholeBody | None, body: BodyAccess, trailers: ResponseDraft | None
) -> WholeBody | None:
    changed = trailers is not None and trailers.build() is not None
    data = body.edited
    if data is None and not changed:
        return None
    edited = WholeBody(b"") if whole is None else whole
    if data is not None:
        edited.data = data
    if changed and trailers is not None:
        edited.trailers = trailers.headers.fields
    return edited
