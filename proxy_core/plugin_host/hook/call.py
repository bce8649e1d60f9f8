"""One entry into a guest: which hook it is, what it is about, and what the guest did so far.

Everything a guest changes is kept here until it is committed (commit.py); a call that ends badly is
just dropped.
"""

from __future__ import annotations

from typing import Final

from proxy_core.model.connection import ClientConnection
from proxy_core.model.flow import Flow
from proxy_core.model.headers import text_of
from proxy_core.model.ids import FlowId
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host.belongings.belongings import Belongings
from proxy_core.plugin_host.codes import NOT_PERMITTED, Hook
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.hook.body_draft import BodyDraft
from proxy_core.plugin_host.hook.draft import (
    Draft,
    RequestDraft,
    ResponseDraft,
    TrailersDraft,
)
from proxy_core.plugin_host.logs import Journal

ANNOTATION_BYTES: Final = 4096
_OF_REQUEST: Final = (Hook.REQUEST, Hook.REQUEST_CHUNK)
"""Hooks that see the request where they do not say otherwise, as those about a message do; the
others see what is newest."""
_EDITING: Final = frozenset({Hook.REQUEST, Hook.RESPONSE, Hook.RULE_MATCH})
"""Hooks that edit a message on its way: their own, and no other."""
_CAPTURE: Final = Hook.CAPTURE  # an enumeration's members are slow to get at

_Place = tuple[bool, int | None, bool]
"""What functions are about: the response, a captured message, trailers."""


class HookCall:
    """The context of one hook call; host functions read and write it."""

    __slots__ = (
        "_aside",
        "_body",
        "_copies",
        "_draft",
        "_side",
        "annotations",
        "authority",
        "belongings",
        "client",
        "copy",
        "delay",
        "ended",
        "fetched",
        "flow",
        "hook",
        "journal",
        "manifest",
        "message",
        "piece",
        "requests_made",
        "respond_body",
        "respond_head",
        "rule_id",
        "trailers",
    )

    def __init__(
        self,
        hook: Hook,
        manifest: Manifest,
        journal: Journal,
        flow: Flow | None = None,
        belongings: Belongings | None = None,
    ) -> None:
        self.hook = hook
        self.manifest = manifest
        self.journal = journal
        self.flow = flow
        self.belongings = Belongings() if belongings is None else belongings
        self.client: ClientConnection | None = None
        self.authority: bytes | None = None
        self.rule_id: str | None = None
        self.piece: bytes | None = None
        """What is at hand of a body that streams; behind the commit, what goes on."""
        self.ended = False
        """Whether that is its end."""
        self.message: WebSocketMessage | None = None
        self.annotations: dict[str, str] | None = None
        self.respond_head: ResponseHead | None = None
        self.respond_body = b""
        self.requests_made = 0
        self.fetched: tuple[bytes, bytes] | None = None
        """The last answer of another origin: its head and its body."""
        self.delay = 0.0
        """Seconds that what the hook is about waits once the hook has ended well."""
        self.copy: int | None = None
        """The captured message that body functions are about, by its place."""
        self.trailers = False
        """Whether header functions are about a message's trailers."""
        self._copies: list[WebSocketMessage] | None = None
        self._side: bool | None = None
        self._draft: Draft | None = None
        self._body: BodyDraft | None = None
        self._aside: dict[_Place, tuple[Draft | None, BodyDraft | None]] | None = None

    @property
    def flow_id(self) -> FlowId | None:
        """The flow this is about, where there is one."""
        return None if self.flow is None else self.flow.id

    @property
    def on_response_side(self) -> bool:
        """Whether the hook itself is about the response; a rule and a capture take the newest."""
        if self.hook in _OF_REQUEST or self.message is not None:
            return False
        flow = self.flow
        return flow is not None and flow.response is not None

    @property
    def looks_at_response(self) -> bool:
        """Whether header and body functions are about the response."""
        return self.on_response_side if self._side is None else self._side

    def turn_to(self, response: bool, copy: int | None = None, *, trailers: bool = False) -> None:
        """Have header and body functions be about the other message, or the same again.

        With `copy` they are about a message of a WebSocket, which has no head; with `trailers`
        about those of the message, which have no body.
        """
        here = (self.looks_at_response, self.copy, self.trailers)
        there = (response, copy, trailers)
        if there != here:
            if self._aside is None:
                self._aside = {}
            self._aside[here] = (self._draft, self._body)
            self._draft, self._body = self._aside.pop(there, (None, None))
        self._side, self.copy, self.trailers = response, copy, trailers

    def turn_to_trailers(self, response: bool) -> bool:
        """Have header functions be about a message's trailers; False where it has none."""
        flow = self.flow
        if flow is None:
            return False
        head = flow.response if response else flow.request
        fields = (flow.response_body if response else flow.request_body).trailers
        if head is None or not fields:
            return False
        self.turn_to(response, trailers=True)
        if self._draft is None:
            self._draft = TrailersDraft(head, fields)
        return True

    @property
    def copies(self) -> list[WebSocketMessage]:
        """The messages that were captured of a WebSocket that is over; none before."""
        if self._copies is None:
            log = None if self.flow is None else self.flow.web_socket
            over = log is not None and self.hook is _CAPTURE
            self._copies = log.snapshot() if log is not None and over else []
        return self._copies

    @property
    def head(self) -> RequestHead | ResponseHead | None:
        """The message that header functions read, before this call's edits."""
        flow = self.flow
        if flow is None or self.copy is not None:
            return None
        side = self._side
        if side is None:
            if self.hook in _OF_REQUEST or self.message is not None or flow.response is None:
                return flow.request
            return flow.response
        return flow.response if side else flow.request

    @property
    def draft(self) -> Draft | None:
        """The message under edit, or None where this hook has none that may be edited."""
        draft = self._draft
        if draft is None:
            head = self.head
            if head is None or not self._may_edit():
                return None
            draft = self._draft = (
                RequestDraft(head) if isinstance(head, RequestHead) else ResponseDraft(head)
            )
        return draft

    def _may_edit(self) -> bool:
        if self.hook not in _EDITING or self.message is not None:
            return self.hook is _CAPTURE
        return self._side is None or self._side == self.on_response_side

    @property
    def begun_draft(self) -> Draft | None:
        """The message under edit where the guest has asked for it, else None."""
        return self._draft

    @property
    def drafts(self) -> tuple[Draft | None, ...]:
        """Both messages' drafts."""
        if self._aside is None:
            return (self._draft,)
        return (self._draft, *(draft for draft, _ in self._aside.values()))

    @property
    def written_bodies(self) -> tuple[BodyDraft, ...]:
        """All messages' bodies, as far as they were written to, and be it what was there."""
        bodies = [self._body]
        if self._aside is not None:
            bodies += [body for _, body in self._aside.values()]
        return tuple(body for body in bodies if body is not None and body.written)

    @property
    def edited_bodies(self) -> tuple[BodyDraft, ...]:
        """Those that are different now."""
        if self._body is None and self._aside is None:
            return ()
        written = self.written_bodies
        return tuple(body for body in written if body.edited) if written else ()

    @property
    def body(self) -> BodyDraft | None:
        """The body that body functions are about, or None where none is at hand."""
        if self._body is None:
            self._body = self._find_body()
        return self._body

    def _find_body(self) -> BodyDraft | None:
        flow = self.flow
        if self.piece is not None:
            return BodyDraft(self.piece)
        if self.message is not None:
            return BodyDraft(self.message.payload)
        if flow is None or self.trailers:
            return None
        if self.copy is not None:
            copy = self.copies[self.copy]
            return BodyDraft(copy.payload, message=copy)
        head = self.head
        coding = None if head is None else head.headers.joined(b"content-encoding")
        name = None if coding is None else text_of(coding)
        response = self.looks_at_response
        if response == self.on_response_side and self.hook is not _CAPTURE:
            whole = flow.whole
            return None if whole is None else BodyDraft(whole.data, name, of_response=response)
        captured = flow.response_body if response else flow.request_body
        return BodyDraft(
            captured.kept,
            name,
            of_response=response,
            writable=self.hook is _CAPTURE,
            partial=captured.truncated,
        )

    @property
    def edited(self) -> bool:
        """Whether there may be something to commit."""
        return (
            self._draft is not None
            or self.annotations is not None
            or self._body is not None
            or self._aside is not None
        )

    def deny(self, name: str) -> int:
        """Count a call of the import `name` that is not permitted, and return the code for it."""
        self.belongings.profile.deny(self.hook, name)
        return NOT_PERMITTED
