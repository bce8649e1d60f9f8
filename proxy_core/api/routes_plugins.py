"""The routes for plugins: list, discover, reload, enable, disable, and their log."""

from __future__ import annotations

from typing import Final

from proxy_core.api.calls import Answer, BadCall, Call, Desk, Endpoint, LogStream, Parameter
from proxy_core.api.documents import Problem
from proxy_core.api.documents_plugins import (
    Discovered,
    Failure,
    LineList,
    PluginList,
    Reloaded,
    Switched,
    discovered,
    line_document,
    plugin_document,
)
from proxy_core.errors import PluginNotFound
from proxy_core.model.log_line import LogFilter, LogLevel

MOST_LINES: Final = 10_000
_LINES: Final = 1000


async def _list(desk: Desk, call: Call) -> Answer:
    statuses = await desk.control.plugins()
    return Answer(PluginList([plugin_document(status) for status in statuses], len(statuses)))


async def _discover(desk: Desk, call: Call) -> Answer:
    report = await desk.control.discover_plugins()
    return Answer(discovered(report, await desk.control.plugins()))


async def _reload(desk: Desk, call: Call) -> Answer:
    name = call.path["name"]
    if name in desk.busy:
        return Answer(Failure(False, f"{name} is being reloaded already; ask again later"), 409)
    desk.busy.add(name)
    try:
        report = await desk.control.reload_plugin(name)
    except PluginNotFound as error:
        return Answer(Failure(False, str(error)), 404)
    finally:
        desk.busy.discard(name)
    if report.ok:
        return Answer(Reloaded(True, report.message, report.generation))
    disabled = any(
        status.name == name and not status.enabled for status in await desk.control.plugins()
    )
    return Answer(Failure(False, report.message), 409 if disabled else 422)


async def _enable(desk: Desk, call: Call) -> Answer:
    return await _switch(desk, call.path["name"], True)


async def _disable(desk: Desk, call: Call) -> Answer:
    return await _switch(desk, call.path["name"], False)


async def _switch(desk: Desk, name: str, enabled: bool) -> Answer:
    try:
        status = await desk.control.set_plugin_enabled(name, enabled)
    except PluginNotFound as error:
        return Answer(Failure(False, str(error)), 404)
    if enabled and not status.loaded:
        why = status.last_error or f"its state is {status.state.value}"
        return Answer(Failure(False, f"{name} is enabled and could not be loaded: {why}"), 422)
    message = f"{name} is {'enabled' if enabled else 'disabled'}"
    return Answer(Switched(True, message, plugin_document(status)))


async def _logs(desk: Desk, call: Call) -> Answer | LogStream:
    name = call.path["name"]
    level, follow = call.level("level"), call.switch("follow")
    seq, after = call.moment("since")
    is_resumed = follow and call.last_event_id.isdecimal() and len(call.last_event_id) <= 18
    if is_resumed:
        seq = max(seq, await _known(desk, int(call.last_event_id)))
    wants_old = not follow or is_resumed or call.value("since") is not None
    limit = call.number("limit", _LINES if wants_old else 0, MOST_LINES)
    known = sorted(status.name for status in await desk.control.plugins())
    if name not in known:
        raise BadCall(404, f"no plugin {name!r}; known: {', '.join(known) or 'none'}")
    chosen = LogFilter(plugin=name, level=level, since=seq, after=after)
    if follow:
        return LogStream(desk.control.follow_logs(chosen, limit))
    lines = await desk.control.select_logs(chosen, limit)
    last = lines[-1].seq if lines else seq
    return Answer(LineList(name, [line_document(line) for line in lines], last))


async def _known(desk: Desk, seq: int) -> int:
    """Return the seq that a client has seen last; 0 where a core before this one gave it."""
    newest = await desk.control.select_logs(LogFilter(), 1)
    return seq if newest and seq <= newest[-1].seq else 0


ENDPOINTS: Final = (
    Endpoint("GET", "/api/plugins", _list, "All plugins, in their order.", {200: PluginList}),
    Endpoint(
        "GET",
        "/api/plugins/discover",
        _discover,
        "Look into the plugin directories: load what is new, forget what is gone.",
        {200: Discovered},
    ),
    Endpoint(
        "POST",
        "/api/plugins/reload/{name}",
        _reload,
        "Swap in a plugin's file as it is now; where that fails, the old version goes on.",
        {200: Reloaded, 404: Failure, 409: Failure, 422: Failure},
    ),
    Endpoint(
        "POST",
        "/api/plugins/{name}/enable",
        _enable,
        "Load a plugin that was disabled.",
        {200: Switched, 404: Failure, 422: Failure},
    ),
    Endpoint(
        "POST",
        "/api/plugins/{name}/disable",
        _disable,
        "Unload a plugin until it is enabled again.",
        {200: Switched, 404: Failure},
    ),
    Endpoint(
        "GET",
        "/api/plugins/{name}/logs",
        _logs,
        "A plugin's log, as JSON, or as server-sent events with follow.",
        {200: LineList, 404: Problem},
        (
            Parameter(
                "since",
                "Only lines after the one with this seq, or after this time (RFC 3339).",
                {"type": "string"},
            ),
            Parameter(
                "level",
                "Only lines of this level and worse.",
                {"type": "string", "enum": [level.name.lower() for level in LogLevel]},
            ),
            Parameter("follow", "Go on with lines as they come.", {"type": "boolean"}),
            Parameter(
                "limit",
                "The newest so many lines. 1000 where not given, with follow and without since 0.",
                {"type": "integer", "minimum": 0, "maximum": MOST_LINES},
            ),
        ),
        streams=True,
    ),
)
