"""One request as a route sees it, and its answer; how queries are read. Knows no web framework."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from proxy_core.control.control import Control, LogFollower
from proxy_core.errors import Int3rceptorError
from proxy_core.model.log_line import LogLevel

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")


class BadCall(Int3rceptorError):
    """A request that cannot be answered as it is; `status` and the message go to the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON document for the client."""

    document: object
    status: int = 200


@dataclass(frozen=True, slots=True)
class LogStream:
    """Log lines for the client, as server-sent events, until somebody ends it."""

    follower: LogFollower


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked: `path` has the route's names, `query` what stood behind the `?`."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Sequence[tuple[str, str]] = ()
    last_event_id: str = ""
    """Where a client that lost its event stream wants to go on."""

    def value(self, name: str) -> str | None:
        """Return a query parameter, None where it is not there. Raises BadCall for two."""
        values = [value for key, value in self.query if key == name]
        if len(values) > 1:
            raise BadCall(400, f"{name} is given {len(values)} times; give it once")
        return values[0] if values else None

    def number(self, name: str, default: int, most: int) -> int:
        """Return a parameter that is a whole number from 0 to `most`. Raises BadCall."""
        text = self.value(name)
        if text is None:
            return default
        if not _is_number(text) or int(text) > most:
            raise BadCall(400, f"{name} is {text[:100]!r}; give a whole number from 0 to {most}")
        return int(text)

    def switch(self, name: str) -> bool:
        """Return a parameter that is true or false, the latter where it is not there."""
        text = self.value(name)
        if text is None or text.lower() in _FALSE:
            return False
        if text.lower() in _TRUE:
            return True
        raise BadCall(400, f"{name} is {text[:100]!r}; give true or false")

    def level(self, name: str) -> LogLevel:
        """Return a parameter that names a log level, else the lowest one. Raises BadCall."""
        text = self.value(name)
        if text is None:
            return LogLevel.DEBUG
        try:
            return LogLevel[text.upper()]
        except KeyError:
            known = ", ".join(level.name.lower() for level in LogLevel)
            raise BadCall(400, f"{name} is {text[:100]!r}; give one of {known}") from None

    def moment(self, name: str) -> tuple[int, float]:
        """Return a parameter that is a line's number or a time, as (seq, seconds). Raises BadCall.

        A time is as in RFC 3339, with its zone.
        """
        text = self.value(name)
        if text is None:
            return 0, 0.0
        if _is_number(text):
            return int(text), 0.0
        try:
            # A `+` that was not escaped in the query has become a space.
            zoned = text.replace(" ", "+") if "T" in text else text
            time = datetime.datetime.fromisoformat(zoned)
            if time.tzinfo is not None:
                return 0, time.timestamp()
        except (ValueError, OverflowError):
            pass
        raise BadCall(
            400,
            f"{name} is {text[:100]!r}; give the seq of a line, or a time with its zone as in "
            "2026-01-31T12:00:00Z",
        )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


class Desk(Protocol):
    """What routes work with, besides the call."""

    @property
    def control(self) -> Control:
        """The core."""

    @property
    def busy(self) -> set[str]:
        """The plugins that are being reloaded through the API."""


Work = Callable[[Desk, Call], Awaitable[Answer | LogStream]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, as the description tells it."""

    name: str
    text: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route: how it is reached, what it does, what it says of itself.

    `answers` has the document's type by status; a text/event-stream is told by `streams`.
    """

    method: str
    path: str
    work: Work
    text: str
    answers: Mapping[int, type]
    parameters: tuple[Parameter, ...] = ()
    streams: bool = False
    is_open: bool = False
    """Whether it is answered without a token."""

    async def __call__(self, desk: Desk, call: Call) -> Answer | LogStream:
        """Answer a call. Raises BadCall."""
        known = [parameter.name for parameter in self.parameters]
        for name, _ in call.query:
            if name not in known:
                what = f"known: {', '.join(known)}" if known else "this route takes none"
                raise BadCall(400, f"unknown query parameter {name[:100]!r}; {what}")
        return await self.work(desk, call)
