"""What a policy, a plugin or the user decides about an exchange at one point of its way."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from proxy_core.model.message import ResponseHead


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on; edits have been put on the flow already.

    It can be awaited, and is there at once: who has nothing to wait for gives it as it is, and who
    asks need not wait for it.
    """

    def __await__(self) -> Generator[Any, None, Continue]:
        yield from ()
        return self


@dataclass(frozen=True, slots=True)
class Block:
    """Refuse: the client gets `status`; a connection that is only being opened is refused."""

    by: str
    """Who blocked: `plugin NAME`, `rule NAME`."""
    status: int = 403


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the flow until the user decides."""

    by: str


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer the client with this instead of what the origin says or would say."""

    by: str
    head: ResponseHead
    body: bytes = b""


Verdict = Continue | Block | Hold | Respond

CONTINUE = Continue()
