"""A handler that is only memory and the flow it is asked about; host functions by name."""

from __future__ import annotations

from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.foreign.http_wasm.arguments import instance_of
from proxy_core.plugin_host.foreign.http_wasm.functions import FUNCTIONS
from proxy_core.plugin_host.foreign.http_wasm.passage import Features, Passage
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.draft import ResponseDraft
from tests.plugin_host.foreign.fake_guest import FakeGuest
from tests.plugin_host.guests import make_flow, respond_with

OUT = 32768
ROOM = 16384
NONE = Features(0)


class Handler(FakeGuest):
    """In `handle_request` first; `turn` moves on to `handle_response`."""

    def __init__(
        self, flow: Flow | None = None, features: Features = NONE, **permissions: bool
    ) -> None:
        self.flow = make_flow() if flow is None else flow
        super().__init__(Hook.REQUEST, self.flow, **permissions)
        instance = instance_of(self.host)
        instance.features = features
        self.passage = instance.passage = Passage(instance, self.flow)

    def turn(self, body: bytes | None = b"", context: int = 0) -> Handler:
        """Let the request go, and come to a response with `body`."""
        self.passage.end_request(context)
        if self.flow.response is None:
            respond_with(self.flow, 200, [(b"Content-Type", b"text/plain")])
        self.flow.whole = None if body is None else WholeBody(body)
        self.call = self.host.call = HookCall(Hook.RESPONSE, self.manifest, self.log, self.flow)
        draft = self.call.draft
        assert isinstance(draft, ResponseDraft)
        self.passage.begin_response(self.flow, draft)
        return self

    def run(self, name: str, *arguments: int | bytes) -> int:
        """Call a host function; bytes become a pointer and a length."""
        numbers: list[int] = []
        for argument in arguments:
            numbers += [argument] if isinstance(argument, int) else self.put(argument)
        result = FUNCTIONS[name].run(self.host, *numbers)
        assert isinstance(result, int)
        return result

    def text(self, name: str, *arguments: int | bytes) -> bytes:
        """Call a function that answers with text."""
        return self.bytes(OUT, self.run(name, *arguments, OUT, ROOM))

    def items(self, name: str, *arguments: int | bytes) -> list[bytes]:
        """Call a function that answers with a list."""
        result = self.run(name, *arguments, OUT, ROOM)
        count, length = result >> 32, result & 0xFFFFFFFF
        data = self.bytes(OUT, length)
        items = data.split(b"\0")
        assert items.pop() == b""
        assert len(items) == count
        return items

    def piece(self, kind: int, limit: int) -> tuple[bytes, bool]:
        """Read from a body: bytes, and whether they were the last."""
        result = self.run("read_body", kind, OUT, limit)
        return self.bytes(OUT, result & 0xFFFFFFFF), bool(result >> 32)
