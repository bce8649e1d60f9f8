"""Bodies on their way through plugins, piece by piece, each plugin behind the one before it."""

from __future__ import annotations

from collections.abc import Callable

from proxy_core.errors import RefusedByHook
from proxy_core.exchange.hooks import AnsweredByHook, BodyFilter, TrailersToo
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import Block, Respond, Verdict
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.plugin import Plugin

Meaning = Callable[[Plugin, int, HookCall], Verdict | None]


class PieceFilter:
    """Shows one body to one plugin's `on_request_chunk` or `on_response_chunk`."""

    __slots__ = ("_flow", "_hook", "_manifest", "_meaning", "_plugin")

    def __init__(
        self, plugin: Plugin, manifest: Manifest, hook: Hook, flow: Flow, meaning: Meaning
    ) -> None:
        """`meaning` turns what the hook returns into a verdict."""
        self._plugin = plugin
        self._manifest = manifest
        self._hook = hook
        self._flow = flow
        self._meaning = meaning

    async def __call__(self, data: bytes, ended: bool) -> bytes:
        """Return what goes on in the place of `data`. Raises RefusedByHook."""
        plugin = self._plugin
        call = HookCall(self._hook, self._manifest, plugin.log, self._flow, plugin.belongings)
        call.piece, call.ended = data, ended
        code = await plugin.call(self._hook, call)
        if code:
            verdict = self._meaning(plugin, code, call)
            if isinstance(verdict, Respond):
                raise AnsweredByHook(verdict)
            if isinstance(verdict, Block):
                raise RefusedByHook(f"blocked by {verdict.by}", verdict.status)
        if call.delay and code >= codes.CONTINUE:
            await call.belongings.sleep(call.delay)
        return call.piece


def one_after_the_other(filters: list[BodyFilter]) -> BodyFilter | None:
    """Return the filters as one."""
    if len(filters) < 2:
        return filters[0] if filters else None

    return _Row(filters)


class _Row(TrailersToo):
    """Filters one behind the other."""

    def __init__(self, filters: list[BodyFilter]) -> None:
        self._filters = filters

    async def __call__(self, data: bytes, ended: bool) -> bytes:
        for each in self._filters:
            if ended and isinstance(each, TrailersToo):
                each.trailers = self.trailers
                data = await each(data, ended)
                self.trailers = each.trailers
            else:
                data = await each(data, ended)
        return data
