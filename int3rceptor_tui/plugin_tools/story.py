"""What a plugin did to one recorded flow, hook by hook.

It is told in two forms: with fuel and times, for people, and without, so that the same plugin over
the same flows always gives the same bytes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from int3rceptor_tui.log_printer import escaped
from int3rceptor_tui.view_model.body_diff import body_diff
from proxy_core.control.views import BodyView
from proxy_core.model.flow import Flow
from proxy_core.model.headers import text_of
from proxy_core.model.log_line import LogLine
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.verdict import Block, Continue, Hold, Respond
from proxy_core.model.words import counted
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.recorded.offline import OfflinePlugin
from proxy_core.plugin_host.recorded.rerun import Payload, Step

_BODY_LINES: Final = 200
_BODY_LINE: Final = 2000
_ABOUT_REQUEST: Final = (Hook.REQUEST, Hook.REQUEST_CHUNK)


@dataclass(slots=True)
class HookRun:
    """One call of one hook; a body that streams counts as one, however many its pieces."""

    hook: str
    rule: str | None
    """The rule that it was called about."""
    outcome: str
    fuel: int
    seconds: float
    diff: list[str]
    """Lines before and after, as in a diff; empty where nothing changed."""
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
            about = "" if run.rule is None else f" of {run.rule}"
            yield f"  {run.hook}{about}: {run.outcome}{cost}"
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
                    "rule": run.rule,
                    "outcome": run.outcome,
                    "fuel": run.fuel,
                    "microseconds": round(run.seconds * 1e6, 1),
                    "diff": run.diff,
                    "log": run.log,
                }
                for run in self.runs
            ],
        }


class Teller:
    """Writes a flow's story while it is run again: implements `Witness`."""

    def __init__(self, plugin: OfflinePlugin, story: Story) -> None:
        self._plugin = plugin
        self._story = story
        self._heads: list[str] = []
        self._bodies: list[BodyView] = []
        self._at_first = (0, 0.0, 0, 0.0)

    def before(self, step: Step) -> None:
        """See `Witness`."""
        self._heads = _head_lines(step)
        self._bodies = _bodies(step)
        self._at_first = self._figures()

    def after(self, step: Step) -> None:
        """See `Witness`."""
        figures = zip(self._figures(), self._at_first, strict=True)
        fuel, seconds, failures, delayed = (now - then for now, then in figures)
        outcome = ("failed, " if failures else "") + _spell(step)
        if delayed:
            outcome += f", delayed by {delayed * 1000:g} ms"
        if isinstance(step.verdict, Block | Respond):
            diff = _made(step)
        else:
            diff = _diff(self._heads, _head_lines(step))
            for old, new in zip(self._bodies, _bodies(step), strict=True):
                diff += _body_diff(old, new)
        log = texts(self._plugin.take_lines())
        run = HookRun(step.hook.export, step.rule_id, outcome, int(fuel), seconds, diff, log)
        self._story.runs.append(run)

    def goes_on(self, head: RequestHead | ResponseHead, body: Payload) -> None:
        """See `Witness`; what each hook did is told already."""

    def _figures(self) -> tuple[int, float, int, float]:
        plugin = self._plugin
        profile = plugin.plugin.profile
        return profile.fuel, profile.seconds, plugin.failures, plugin.delayed


def texts(lines: list[LogLine]) -> list[str]:
    """Log lines as they stand in a story."""
    return [f"{line.level.name} {escaped(line.text)}" for line in lines]


def _spell(step: Step) -> str:
    match step.verdict:
        case Block():
            if step.message is not None:
                return "drop"
            return f"block with {step.verdict.status}"
        case Respond():
            return f"respond with {step.verdict.head.status}"
        case Hold():
            return "hold"
        case Continue():
            return "continue"


def _head_lines(step: Step) -> list[str]:
    """The lines of what is at a hook's hand, the body apart."""
    flow = step.flow
    match step.hook:
        case Hook.REQUEST:
            return [*_request_lines(flow), *_trailer_lines(step.payload)]
        case Hook.RESPONSE:
            return [*_response_lines(flow), *_trailer_lines(step.payload)]
        case Hook.CAPTURE:
            return [*_request_lines(flow), *_response_lines(flow)]
    return []


def _bodies(step: Step) -> list[BodyView]:
    """The bodies at a hook's hand."""
    flow = step.flow
    if step.hook is Hook.CAPTURE:
        messages = [] if flow.web_socket is None else flow.web_socket.snapshot()
        return [
            _view(flow.request, flow.request_body.kept),
            _view(flow.response, flow.response_body.kept),
            *(BodyView(message.payload, len(message.payload)) for message in messages),
        ]
    if not step.shown:
        return []
    if step.message is not None:
        return [BodyView(step.payload.data, len(step.payload.data))]
    head = flow.request if step.hook in _ABOUT_REQUEST else flow.response
    return [_view(head, step.payload.data)]


def _view(head: RequestHead | ResponseHead | None, data: bytes) -> BodyView:
    if head is None:
        return BodyView(data, len(data))
    kind, encoding = (
        None if value is None else text_of(value)
        for value in (head.headers.get(b"content-type"), head.headers.get(b"content-encoding"))
    )
    return BodyView(data, len(data), kind, encoding)


def _request_lines(flow: Flow) -> list[str]:
    head = flow.request
    return _shown([f"{text_of(head.method)} {head.url} {head.version}", *_header_lines(head)])


def _response_lines(flow: Flow) -> list[str]:
    head = flow.response
    return [] if head is None else _shown([_status_line(head), *_header_lines(head)])


def _status_line(head: ResponseHead) -> str:
    return f"{head.version} {head.status} {text_of(head.reason)}".rstrip()


def _header_lines(head: RequestHead | ResponseHead) -> list[str]:
    return [f"{name}: {value}" for name, value in head.headers.as_text()]


def _trailer_lines(payload: Payload) -> list[str]:
    fields = payload.trailers or []
    return _shown([f"trailer {text_of(name)}: {text_of(value)}" for name, value in fields])


def _made(step: Step) -> list[str]:
    """The lines of a response that the plugin itself gave."""
    verdict = step.verdict
    if not isinstance(verdict, Respond):
        return []
    lines = [_status_line(verdict.head), *_header_lines(verdict.head)]
    if verdict.body:
        body = text_of(verdict.body).split("\n")
        lines += ["", *(line[:_BODY_LINE] for line in body[:_BODY_LINES])]
        if len(body) > _BODY_LINES:
            lines.append(f"... {counted(len(body) - _BODY_LINES, 'line')} more")
    return [f"+ {line}".rstrip() for line in _shown(lines)]


def _diff(before: list[str], after: list[str]) -> list[str]:
    lines = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]  # without its heading
    return [f"{line[0]} {line[1:]}" for line in lines if not line.startswith("@@")]


def _body_diff(before: BodyView, after: BodyView) -> list[str]:
    if before.kept == after.kept:
        return []
    rows = body_diff(before, after)
    return _shown(["".join(text for text, _ in row)[:_BODY_LINE].rstrip() for row in rows])


def _shown(lines: list[str]) -> list[str]:
    return [escaped(line) for line in lines]
