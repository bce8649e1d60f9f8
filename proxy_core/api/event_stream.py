"""Log lines as server-sent events (WHATWG HTML, section 9.2), and who follows them.

`log` has a line, with its seq as the event's id; `lost` says how many lines a slow reader has
missed. A comment now and then shows both ends that the other one is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from proxy_core.api.documents import encode
from proxy_core.api.documents_plugins import Lost, line_document
from proxy_core.control.control import LogFollower
from proxy_core.control.views import LogBatch

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MOST_FOLLOWERS: Final = 32
_SILENCE: Final = 15.0  # seconds until a comment is sent
_FIELDS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class Followers:
    """The event streams that are open; at most MOST_FOLLOWERS."""

    def __init__(self) -> None:
        self._open: set[LogFollower] = set()
        self._closed = False

    def has_room(self) -> bool:
        """Tell whether one more may come."""
        return len(self._open) < MOST_FOLLOWERS

    def add(self, follower: LogFollower) -> None:
        """Take one in; it is closed at once where all of them have been."""
        self._open.add(follower)
        if self._closed:
            follower.close()

    def discard(self, follower: LogFollower) -> None:
        """Forget one, and close it."""
        self._open.discard(follower)
        follower.close()

    def close(self) -> None:
        """End every stream, and those that begin later."""
        self._closed = True
        for follower in list(self._open):
            follower.close()

    def __len__(self) -> int:
        return len(self._open)


async def send_events(
    follower: LogFollower,
    followers: Followers,
    receive: Receive,
    send: Send,
    with_body: bool = True,
    silence: float = _SILENCE,
) -> None:
    """Answer with the follower's lines until it is closed or the client goes."""
    followers.add(follower)
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_until_gone(receive, follower))
            await send({"type": "http.response.start", "status": 200, "headers": _FIELDS})
            if with_body:
                await _send_body(b": following\n\n", send)
                while (events := await _next_events(follower, silence)) is not None:
                    await _send_body(events, send)
            watch.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        followers.discard(follower)


async def _until_gone(receive: Receive, follower: LogFollower) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    follower.close()


async def _send_body(data: bytes, send: Send) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _next_events(follower: LogFollower, silence: float) -> bytes | None:
    try:
        async with asyncio.timeout(silence):
            batch = await follower.next()
    except TimeoutError:
        return b": still here\n\n"
    return None if batch is None else events_of(batch)


def events_of(batch: LogBatch) -> bytes:
    """Return a batch as events."""
    events = []
    if batch.lost:
        events.append(b"event: lost\ndata: %b\n\n" % encode(Lost(batch.lost)))
    for line in batch.lines:
        data = encode(line_document(line))
        events.append(b"event: log\nid: %d\ndata: %b\n\n" % (line.seq, data))
    return b"".join(events)
