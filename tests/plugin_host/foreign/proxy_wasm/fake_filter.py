"""A filter that is only memory: its calls to the host are made by tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy_core.model.flow import Flow
from proxy_core.model.plugin_status import AskedPermission, PermissionState
from proxy_core.plugin_host.belongings.grants import Permits
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.foreign.proxy_wasm.abi import FUNCTIONS
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import Instance, Stream
from tests.plugin_host.foreign.fake_guest import FakeGuest

ADDRESS_AT, LENGTH_AT, NUMBER_AT = 0, 4, 8


class FakeFilter(FakeGuest):
    """Its current context is that of `flow`, with the message of `hook` under edit."""

    def __init__(
        self,
        hook: Hook = Hook.START,
        flow: Flow | None = None,
        **permissions: bool,
    ) -> None:
        super().__init__(hook, flow, **permissions)
        self.instance = Instance()
        self.instance.allocator = "malloc"
        self.host.state = self.instance
        self.stream: Stream | None = None
        if flow is not None:
            self.stream = self.add_stream(flow)
            if hook is Hook.REQUEST:
                self.stream.request_call = self.call
            elif hook is Hook.RESPONSE:
                self.stream.response_call = self.call
            self.instance.begin(self.stream)

    def add_stream(self, flow: Flow) -> Stream:
        """One more context."""
        stream = Stream(self.instance.new_id(), self.instance, self.call, flow)
        self.instance.streams[stream.id] = stream
        return stream

    def configure(self, **changes: Any) -> None:
        """Change the manifest."""
        self.manifest = self.call.manifest = replace(self.manifest, **changes)

    def allow_network(self, *entries: str) -> None:
        """Let it reach these hosts."""
        asked = AskedPermission("network", entries, PermissionState.GRANTED)
        self.call.belongings.permits = Permits("", [asked])

    @property
    def denied(self) -> dict[str, int]:
        """How often each function was denied."""
        (profile,) = self.call.belongings.profile.snapshot()
        return dict(profile.denied)

    def run(self, name: str, *arguments: int | bytes) -> int:
        """Call a host function; bytes become a pointer and a length."""
        numbers: list[int] = []
        for argument in arguments:
            numbers += [argument] if isinstance(argument, int) else self.put(argument)
        answer = FUNCTIONS[name].run(self.host, *numbers)
        assert isinstance(answer, int)
        return answer

    def ask(self, name: str, *arguments: int | bytes) -> bytes | int:
        """Call one that returns bytes; return those, or its status where that is not OK."""
        status = self.run(name, *arguments, ADDRESS_AT, LENGTH_AT)
        if status:
            return status
        return self.bytes(self.u32(ADDRESS_AT), self.u32(LENGTH_AT))
