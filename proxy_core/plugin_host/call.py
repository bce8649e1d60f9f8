"""One entry into a guest: which hook it is, what it is about, and what the guest did so far.

Everything a guest changes is kept here until `commit`; a call that ends badly is just dropped.
"""

from __future__ import annotations

from typing import Final

from proxy_core.model.connection import ClientConnection
from proxy_core.model.flow import Flow
from proxy_core.model.ids import FlowId
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.plugin_host.belongings import Belongings
from proxy_core.plugin_host.codes import NOT_PERMITTED, Hook
from proxy_core.plugin_host.draft import RequestDraft, ResponseDraft
from proxy_core.plugin_host.logs import Journal
from proxy_core.plugin_host.manifest import Manifest

ANNOTATION_BYTES: Final = 4096


class HookCall:
    """The context of one hook call; host functions read and write it."""

    __slots__ = (
        "_draft",
        "annotations",
        "authority",
        "belongings",
        "client",
        "fetched",
        "flow",
        "hook",
        "journal",
        "manifest",
        "requests_made",
        "respond_body",
        "respond_head",
        "rule_id",
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
        self.annotations: dict[str, str] | None = None
        self.respond_head: ResponseHead | None = None
        self.respond_body = b""
        self.requests_made = 0
        self.fetched: bytes | None = None
        self._draft: RequestDraft | ResponseDraft | None = None

    @property
    def flow_id(self) -> FlowId | None:
        """The flow this is about, where there is one."""
        return None if self.flow is None else self.flow.id

    @property
    def on_response_side(self) -> bool:
        """Whether the message at hand is the response; a rule and a capture take the newest."""
        if self.hook is Hook.REQUEST:
            return False
        return self.flow is not None and self.flow.response is not None

    @property
    def head(self) -> RequestHead | ResponseHead | None:
        """The message that header functions read, before this call's edits."""
        flow = self.flow
        if flow is None:
            return None
        if self.hook is not Hook.REQUEST and flow.response is not None:
            return flow.response
        return flow.request

    @property
    def draft(self) -> RequestDraft | ResponseDraft | None:
        """The message under edit, or None where this hook has none that may be edited."""
        if self._draft is None:
            head = self.head
            if head is None or self.hook is Hook.CAPTURE:
                return None
            self._draft = (
                RequestDraft(head) if isinstance(head, RequestHead) else ResponseDraft(head)
            )
        return self._draft

    @property
    def begun_draft(self) -> RequestDraft | ResponseDraft | None:
        """The message under edit where the guest has asked for it, else None."""
        return self._draft

    @property
    def edited(self) -> bool:
        """Whether there may be something to commit."""
        return self._draft is not None or self.annotations is not None

    def deny(self, name: str) -> int:
        """Count a call of the import `name` that is not permitted, and return the code for it."""
        self.belongings.profile.deny(self.hook, name)
        return NOT_PERMITTED

    def commit(self) -> int:
        """Put the edits on the flow; return how many bytes of names, values and texts they are."""
        flow = self.flow
        if flow is None:
            return 0
        written = 0
        draft = self._draft
        if draft is not None:
            written = draft.line_bytes + draft.also_written
            if isinstance(draft, RequestDraft):
                request = draft.build()
                if request is not None:
                    if flow.request_received is None:
                        flow.request_received = flow.request
                    flow.request = request
                    self._sign(flow)
            else:
                response = draft.build()
                if response is not None:
                    if flow.response_received is None:
                        flow.response_received = flow.response
                    flow.response = response
                    self._sign(flow)
        if self.annotations:
            flow.annotations = {**(flow.annotations or {}), **self.annotations}
            written += sum(map(len, self.annotations.values()))
        return written

    def _sign(self, flow: Flow) -> None:
        editor = f"plugin {self.manifest.name}"
        if editor not in flow.edited_by:
            flow.edited_by = (*flow.edited_by, editor)
