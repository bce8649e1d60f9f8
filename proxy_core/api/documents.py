"""What the API says, as types: they are what is encoded and what the description is made of.

What came from the network need not be text. A header's `value` is its text, and where the bytes
are not UTF-8, `value_base64` is what they really were. A body is `text` where it is UTF-8, else
`base64`. Whatever is named base64 here is `bytes` in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import msgspec

from proxy_core.control.views import (
    BodyView,
    ChangeView,
    ConnectionView,
    FlowDetail,
    FlowSummary,
    HeadView,
    WebSocketMessageView,
    WebSocketView,
)
from proxy_core.model.headers import Field, text_of
from proxy_core.model.log_line import LogLine
from proxy_core.model.message import parse_fields
from proxy_core.model.plugin_status import (
    Comparison,
    DiscoverReport,
    HookProfile,
    PluginStatus,
    WatchReport,
)


class Problem(msgspec.Struct, frozen=True):
    """Why a request was not answered, and what to do."""

    error: str


class Failure(msgspec.Struct, frozen=True):
    """Why a command was not carried out, and what to do."""

    success: bool
    error: str


class Health(msgspec.Struct, frozen=True):
    """The core is there."""

    status: str = "ok"
    program: str = "int3rceptor"


class HookDocument(msgspec.Struct, frozen=True):
    """What one hook has cost; `p50` and `p99` in seconds, of the last few hundred calls."""

    calls: int
    p50: float
    p99: float
    fuel: int
    traps: int
    bytes_changed: int
    denied: dict[str, int]
    """By import, how often it was not permitted."""


class PluginStats(msgspec.Struct, frozen=True):
    """A plugin's figures since the load of its first generation."""

    generation: int
    calls: int
    traps: int
    fuel: int
    seconds: float
    log_lines: int
    log_dropped: int
    state_bytes: int
    memory_pages: int
    instances: int
    stores: int
    quarantined_for: float
    """Seconds until it is called again; 0 where it is not in quarantine."""
    metrics: dict[str, int]
    profile: dict[str, HookDocument]
    """By hook."""


class PluginDocument(msgspec.Struct, frozen=True):
    """One plugin."""

    name: str
    version: str
    description: str
    abi: str
    state: str
    loaded: bool
    enabled: bool
    hooks: tuple[str, ...]
    permissions: tuple[str, ...]
    stats: PluginStats
    error: str | None
    compared: Comparison | None
    """Its generation beside the one before; null where no flow was there to compare."""
    watched: WatchReport | None
    """The last change that watching its files has met."""


class PluginList(msgspec.Struct, frozen=True):
    """All plugins, in the order in which they run."""

    plugins: list[PluginDocument]
    total: int


class Reloaded(msgspec.Struct, frozen=True):
    """A reload that succeeded."""

    success: bool
    message: str
    generation: int


class Switched(msgspec.Struct, frozen=True):
    """A plugin that was enabled or disabled, as it is now."""

    success: bool
    message: str
    plugin: PluginDocument


class FoundPlugin(msgspec.Struct, frozen=True):
    """What lies in a plugin directory; `error` says why it is not loaded, where it should be."""

    name: str
    path: str
    state: str
    loaded: bool
    enabled: bool
    error: str | None


class Refused(msgspec.Struct, frozen=True):
    """A file, directory or plugin that was looked at in vain."""

    path: str
    error: str


class Discovered(msgspec.Struct, frozen=True):
    """What a look into the plugin directories found, and what it changed."""

    directories: tuple[str, ...]
    plugins: list[FoundPlugin]
    total: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    refused: list[Refused]


class LineDocument(msgspec.Struct, frozen=True):
    """One log line; `time` in seconds since the epoch."""

    seq: int
    time: float
    level: str
    plugin: str
    flow_id: int | None
    text: str


class LineList(msgspec.Struct, frozen=True):
    """Log lines, oldest first; `last` is what to give as `since` to get those that come after."""

    plugin: str
    lines: list[LineDocument]
    last: int


class Lost(msgspec.Struct, frozen=True):
    """How many lines a follower has missed, because it came too late."""

    lost: int


class FlowList(msgspec.Struct, frozen=True):
    """The newest flows, oldest first; `total` counts all that are kept."""

    flows: list[FlowSummary]
    total: int


class FieldDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One header line; the base64 forms are there where the bytes are not UTF-8."""

    name: str
    value: str
    name_base64: bytes | None = None
    value_base64: bytes | None = None


class HeadDocument(msgspec.Struct, frozen=True):
    """A head: for people, and every byte of it in `raw_base64`."""

    start_line: str
    headers: list[FieldDocument]
    raw_base64: bytes


class BodyDocument(msgspec.Struct, frozen=True):
    """The first `kept` of a body's `size` bytes; either `text` or `base64` has them."""

    size: int
    kept: int
    truncated: bool
    content_type: str | None
    encoding: str | None
    text: str | None
    base64: bytes | None
    trailers: list[FieldDocument]


class ChangeDocument(msgspec.Struct, frozen=True):
    """One edit of a message on its way; bodies are null where the body was left as it was."""

    by: str
    """`plugin NAME`, `rule NAME`."""
    message: str
    """`request` or `response`."""
    before: HeadDocument
    after: HeadDocument
    body_before: BodyDocument | None
    body_after: BodyDocument | None
    in_pieces: bool
    """Whether the body was edited on its way, piece by piece; what it was is not kept."""


class MessageDocument(msgspec.Struct, frozen=True):
    """One message of a WebSocket; either `text` or `base64` has the first of `size` bytes."""

    from_client: bool
    opcode: int
    at: float
    size: int
    compressed: bool
    edited: bool
    dropped: bool
    injected: bool
    cut: bool
    held: bool
    by: tuple[str, ...]
    """Who edited or dropped it, in order."""
    text: str | None
    base64: bytes | None


class WebSocketDocument(msgspec.Struct, frozen=True):
    """A WebSocket's newest messages, oldest first; `forgotten` were before them."""

    messages: list[MessageDocument]
    forgotten: int
    ended_by: str | None
    close_code: int | None
    close_reason: str


class FlowDocument(msgspec.Struct, frozen=True):
    """Everything there is to say of one flow. Times in seconds since the epoch."""

    summary: FlowSummary
    url: str
    request: HeadDocument
    request_body: BodyDocument
    request_received: HeadDocument | None
    response: HeadDocument | None
    response_body: BodyDocument | None
    response_received: HeadDocument | None
    client: ConnectionView
    server: ConnectionView | None
    request_sent: float | None
    first_byte: float | None
    ended: float | None
    edited_by: tuple[str, ...]
    changes: list[ChangeDocument]
    """What each of them did to a head or a whole body, in order."""
    notes: tuple[str, ...]
    annotations: dict[str, str]
    web_socket: WebSocketDocument | None


def encode(document: object) -> bytes:
    """Return a document as JSON."""
    return msgspec.json.encode(document)


def plugin_document(status: PluginStatus) -> PluginDocument:
    """Return a plugin as the API tells it."""
    return PluginDocument(
        name=status.name,
        version=status.version,
        description=status.description,
        abi=status.abi,
        state=status.state.value,
        loaded=status.loaded,
        enabled=status.enabled,
        hooks=status.hooks,
        permissions=status.permissions,
        stats=PluginStats(
            generation=status.generation,
            calls=status.calls,
            traps=status.traps,
            fuel=status.fuel_used,
            seconds=status.time_used,
            log_lines=status.log_lines,
            log_dropped=status.log_dropped,
            state_bytes=status.state_bytes,
            memory_pages=status.memory_pages,
            instances=status.instances,
            stores=status.stores,
            quarantined_for=status.quarantined_for,
            metrics=dict(status.metrics),
            profile={profile.hook: _hook(profile) for profile in status.profile},
        ),
        error=status.last_error,
        compared=status.compared,
        watched=status.watched,
    )


def _hook(profile: HookProfile) -> HookDocument:
    return HookDocument(
        calls=profile.calls,
        p50=profile.p50,
        p99=profile.p99,
        fuel=profile.fuel,
        traps=profile.traps,
        bytes_changed=profile.bytes_changed,
        denied=dict(profile.denied),
    )


def discovered(report: DiscoverReport, statuses: Iterable[PluginStatus]) -> Discovered:
    """Return what a look into the directories found."""
    plugins = [
        FoundPlugin(
            name=status.name,
            path=status.path,
            state=status.state.value,
            loaded=status.loaded,
            enabled=status.enabled,
            error=status.last_error,
        )
        for status in statuses
    ]
    return Discovered(
        directories=report.directories,
        plugins=plugins,
        total=len(plugins),
        added=report.added,
        removed=report.removed,
        refused=[Refused(path, error) for path, error in report.refused],
    )


def line_document(line: LogLine) -> LineDocument:
    """Return a log line as the API tells it."""
    return LineDocument(
        line.seq, line.time, line.level.name.lower(), line.plugin, line.flow_id, line.text
    )


def flow_document(flow: FlowDetail) -> FlowDocument:
    """Return a flow as the API tells it."""
    return FlowDocument(
        summary=flow.summary,
        url=flow.url,
        request=_head(flow.request),
        request_body=_body(flow.request_body),
        request_received=_maybe_head(flow.request_received),
        response=_maybe_head(flow.response),
        response_body=None if flow.response_body is None else _body(flow.response_body),
        response_received=_maybe_head(flow.response_received),
        client=flow.client,
        server=flow.server,
        request_sent=flow.request_sent,
        first_byte=flow.first_byte,
        ended=flow.ended,
        edited_by=flow.edited_by,
        changes=[_change(change) for change in flow.changes],
        notes=flow.notes,
        annotations=flow.annotations,
        web_socket=None if flow.web_socket is None else _web_socket(flow.web_socket),
    )


def _maybe_head(head: HeadView | None) -> HeadDocument | None:
    return None if head is None else _head(head)


def _head(head: HeadView) -> HeadDocument:
    return HeadDocument(head.start_line, _fields(parse_fields(head.raw)), head.raw)


def _fields(fields: Iterable[Field]) -> list[FieldDocument]:
    return [
        FieldDocument(text_of(name), text_of(value), _if_odd(name), _if_odd(value))
        for name, value in fields
    ]


def _if_odd(raw: bytes) -> bytes | None:
    return raw if _text(raw) is None else None


def _body(body: BodyView) -> BodyDocument:
    text = _text(body.kept)
    return BodyDocument(
        size=body.size,
        kept=len(body.kept),
        truncated=body.truncated,
        content_type=body.content_type,
        encoding=body.encoding,
        text=text,
        base64=body.kept if text is None else None,
        trailers=_fields(body.raw_trailers),
    )


def _change(change: ChangeView) -> ChangeDocument:
    return ChangeDocument(
        by=change.by,
        message="response" if change.of_response else "request",
        before=_head(change.before),
        after=_head(change.after),
        body_before=None if change.body_before is None else _body(change.body_before),
        body_after=None if change.body_after is None else _body(change.body_after),
        in_pieces=change.in_pieces,
    )


def _web_socket(view: WebSocketView) -> WebSocketDocument:
    return WebSocketDocument(
        messages=cast("list[MessageDocument]", _encoded_messages(view.messages)),
        forgotten=view.forgotten,
        ended_by=view.ended_by,
        close_code=view.close_code,
        close_reason=view.close_reason,
    )


def _encoded_messages(messages: Sequence[WebSocketMessageView]) -> msgspec.Raw:
    """Return messages as JSON already: to encode all at once keeps other threads for 10 ms."""
    parts = [
        encode([_message(message) for message in messages[start : start + _AT_ONCE]])[1:-1]
        for start in range(0, len(messages), _AT_ONCE)
    ]
    return msgspec.Raw(b"[" + b",".join(parts) + b"]")


_AT_ONCE = 256


def _message(message: WebSocketMessageView) -> MessageDocument:
    text = _text(message.payload)
    return MessageDocument(
        from_client=message.from_client,
        opcode=message.opcode,
        at=message.at,
        size=message.size,
        compressed=message.compressed,
        edited=message.edited,
        dropped=message.dropped,
        injected=message.injected,
        cut=message.cut,
        held=message.held,
        by=message.by,
        text=text,
        base64=message.payload if text is None else None,
    )


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
