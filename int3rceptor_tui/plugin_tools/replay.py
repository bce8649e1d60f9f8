"""Running a plugin's hooks over recorded flows, in the order in which a proxy would call them.

What came of it is told in two forms: with fuel and times, for people, and without, so that the
same plugin over the same flows always gives the same bytes.
"""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from int3rceptor_tui.log_printer import escaped
from int3rceptor_tui.plugin_tools.har import Archive, Recorded, client_of
from proxy_core.exchange.hooks import ConnectAttempt
from proxy_core.model.flow import Flow
from proxy_core.model.headers import text_of
from proxy_core.model.log_line import LogLine
from proxy_core.model.message import RequestHead, ResponseHead, join_authority
from proxy_core.model.verdict import Block, Continue, Hold, Respond, Verdict
from proxy_core.plugin_host.offline import EPOCH_NS, OfflineHost

_BODY_LINES: Final = 200
_BODY_LINE: Final = 2000


@dataclass(slots=True)
class HookRun:
    """One call of one hook."""

    hook: str
    outcome: str
    fuel: int
    seconds: float
    diff: list[str]
    """Lines before and after, as in a unified diff; empty where nothing changed."""
    log: list[str]
    """`LEVEL text`, one line each."""

    @property
    def quiet(self) -> bool:
        """Whether nobody would notice that it was called."""
        return self.outcome == "continue" and not self.diff and not self.log


@dataclass(slots=True)
class Story:
    """What a plugin did to one flow."""

    number: int
    method: str
    url: str
    runs: list[HookRun] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    failed: bool = False

    @property
    def changed(self) -> bool:
        """Whether a message is different from what was recorded."""
        return any(run.diff for run in self.runs)

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell."""
        return not self.annotations and not self.failed and all(run.quiet for run in self.runs)

    def lines(self, measured: bool) -> Iterator[str]:
        """Tell the story; with what it cost where `measured`."""
        yield f"#{self.number} {self.method} {self.url}"
        for run in self.runs:
            cost = f"  {run.seconds * 1e6:.1f} us, {run.fuel} fuel" if measured else ""
            yield f"  {run.hook}: {run.outcome}{cost}"
            yield from (f"    {line}" for line in run.diff)
            yield from (f"    log {line}" for line in run.log)
        for key, value in sorted(self.annotations.items()):
            yield f"  {key}: {escaped(value)}"

    def document(self) -> dict[str, Any]:
        """The story as JSON takes it."""
        return {
            "number": self.number,
            "method": self.method,
            "url": self.url,
            "changed": self.changed,
            "failed": self.failed,
            "annotations": self.annotations,
            "hooks": [
                {
                    "hook": run.hook,
                    "outcome": run.outcome,
                    "fuel": run.fuel,
                    "microseconds": round(run.seconds * 1e6, 1),
                    "diff": run.diff,
                    "log": run.log,
                }
                for run in self.runs
            ],
        }


class Replay:
    """A plugin that was started offline, and what it said while it started."""

    def __init__(self, host: OfflineHost) -> None:
        self._host = host
        self._met: set[str] = set()
        self.started = _texts(host.take_lines())

    async def stories(self, archive: Archive) -> AsyncIterator[Story]:
        """Yield one story for each exchange, in order."""
        for recorded in archive.exchanges:
            yield await self._tell(recorded)

    async def _tell(self, recorded: Recorded) -> Story:
        host = self._host
        host.now_ns = int(recorded.started * 1e9) if recorded.started > 0 else EPOCH_NS
        host.seed(recorded.number)
        failures = host.failures
        head = recorded.request
        story = Story(recorded.number, escaped(text_of(head.method)), escaped(head.url))
        flow = recorded.flow(client_of(recorded))
        if await self._connect(recorded, flow, story):
            await self._exchange(recorded, flow, story)
        story.annotations = dict(flow.annotations or {})
        story.failed = host.failures > failures
        return story

    async def _connect(self, recorded: Recorded, flow: Flow, story: Story) -> bool:
        """Ask about the connection, where it is a new one; return whether it came about."""
        hook = self._host.hooks.connect
        if hook is None or recorded.connection in self._met:
            return True
        self._met.add(recorded.connection)
        head = recorded.request
        targets: list[bytes | None] = [None]
        if head.scheme == "https":
            targets.append(join_authority(head.host, head.port, "http"))
        for target in targets:
            with _Meter(self._host, "on_connect", story) as meter:
                verdict = await hook(ConnectAttempt(flow.client, target))
                meter.note(verdict, [])
            if isinstance(verdict, Block):
                return False
        return True

    async def _exchange(self, recorded: Recorded, flow: Flow, story: Story) -> None:
        hooks = self._host.hooks
        answered = False
        if hooks.request is not None:
            with _Meter(self._host, "on_request", story) as meter:
                before = _request_lines(flow)
                verdict = await hooks.request(flow)
                answered = _obey(verdict, flow)
                meter.note(verdict, _diff(before, _request_lines(flow)) + _made(verdict))
        if not answered:
            recorded.answer(flow)
            if hooks.response is not None and flow.response is not None:
                with _Meter(self._host, "on_response", story) as meter:
                    before = _response_lines(flow)
                    verdict = await hooks.response(flow)
                    _obey(verdict, flow)
                    if isinstance(verdict, Block | Respond):
                        meter.note(verdict, _made(verdict))
                    else:
                        meter.note(verdict, _diff(before, _response_lines(flow)))
        flow.ended = flow.started
        if hooks.capture is not None:
            with _Meter(self._host, "on_capture", story) as meter:
                await hooks.capture(flow)
                meter.note(Continue(), [])


class _Meter:
    """Notes what one call cost and logged."""

    def __init__(self, host: OfflineHost, hook: str, story: Story) -> None:
        self._host = host
        self._hook = hook
        self._story = story
        self._outcome = "continue"
        self._diff: list[str] = []

    def __enter__(self) -> _Meter:
        plugin = self._host.plugin
        self._failures = self._host.failures
        self._fuel, self._seconds = plugin.profile.fuel, plugin.profile.seconds
        return self

    def note(self, verdict: Verdict, diff: list[str]) -> None:
        """Note what came of it."""
        failed = self._host.failures > self._failures
        self._outcome = ("failed, " if failed else "") + _spell(verdict)
        self._diff = diff

    def __exit__(self, *unused: object) -> None:
        plugin = self._host.plugin
        run = HookRun(
            self._hook,
            self._outcome,
            plugin.profile.fuel - self._fuel,
            plugin.profile.seconds - self._seconds,
            self._diff,
            _texts(self._host.take_lines()),
        )
        self._story.runs.append(run)


def _obey(verdict: Verdict, flow: Flow) -> bool:
    """Put on the flow what a verdict makes of it; return whether the client has its answer."""
    if isinstance(verdict, Block):
        flow.response = ResponseHead(verdict.status)
        return True
    if isinstance(verdict, Respond):
        flow.response = verdict.head
        flow.response_body.feed(verdict.body)
        return True
    return False


def _spell(verdict: Verdict) -> str:
    match verdict:
        case Block():
            return f"block with {verdict.status}"
        case Respond():
            return f"respond with {verdict.head.status}"
        case Hold():
            return "hold"
        case Continue():
            return "continue"


def _request_lines(flow: Flow) -> list[str]:
    head = flow.request
    method, url = text_of(head.method), head.url
    return _shown([f"{method} {url} {head.version}", *_header_lines(head)])


def _response_lines(flow: Flow) -> list[str]:
    head = flow.response
    return [] if head is None else _shown([_status_line(head), *_header_lines(head)])


def _status_line(head: ResponseHead) -> str:
    return f"{head.version} {head.status} {text_of(head.reason)}".rstrip()


def _header_lines(head: RequestHead | ResponseHead) -> list[str]:
    return [f"{name}: {value}" for name, value in head.headers.as_text()]


def _made(verdict: Verdict) -> list[str]:
    """The lines of a response that the plugin itself gave."""
    if not isinstance(verdict, Respond):
        return []
    lines = [_status_line(verdict.head), *_header_lines(verdict.head)]
    if verdict.body:
        body = text_of(verdict.body).split("\n")
        lines += ["", *(line[:_BODY_LINE] for line in body[:_BODY_LINES])]
        if len(body) > _BODY_LINES:
            lines.append(f"... {len(body) - _BODY_LINES} lines more")
    return [f"+ {line}".rstrip() for line in _shown(lines)]


def _diff(before: list[str], after: list[str]) -> list[str]:
    lines = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]  # without its heading
    return [f"{line[0]} {line[1:]}" for line in lines if not line.startswith("@@")]


def _shown(lines: list[str]) -> list[str]:
    return [escaped(line) for line in lines]


def _texts(lines: list[LogLine]) -> list[str]:
    return [f"{line.level.name} {escaped(line.text)}" for line in lines]
