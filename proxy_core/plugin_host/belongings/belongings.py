"""What a plugin has beside its instances, and its host functions work on."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakValueDictionary

from proxy_core.exchange.fetch import Fetched
from proxy_core.model.headers import Field
from proxy_core.plugin_host.belongings.grants import Permits
from proxy_core.plugin_host.belongings.metrics import Metrics
from proxy_core.plugin_host.belongings.profile import Profile
from proxy_core.plugin_host.belongings.state import KeyValueState


class Fetches(Protocol):
    """Makes HTTP exchanges for plugins."""

    async def fetch(
        self, method: bytes, url: str, headers: Sequence[Field], body: bytes, seconds: float
    ) -> Fetched:
        """Return the whole answer. Raises Int3rceptorError where there is none in time."""


@dataclass(slots=True)
class Commons:
    """What plugins have in common where they say so."""

    machines: WeakValueDictionary[str, Any] = field(default_factory=WeakValueDictionary)
    """What a foreign ABI shares between plugins of one VM ID, while there are any."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))


@dataclass(slots=True)
class Belongings:
    """Shared by all instances of a plugin, and all but `permits` by its generations."""

    state: KeyValueState = field(default_factory=KeyValueState)
    metrics: Metrics = field(default_factory=Metrics)
    profile: Profile = field(default_factory=Profile)
    stores: set[int] = field(default_factory=set)
    """Numbers of the instances, of any generation, whose memory was not freed yet."""
    foreign: Any = None
    """What a foreign ABI shares between contexts beside these, in memory."""
    commons: Commons = field(default_factory=Commons)
    """The same for all plugins of a host."""
    permits: Permits = field(default_factory=Permits)
    fetcher: Fetches | None = None
    """The way to other origins; None where there is no network."""
    now_ns: Callable[[], int] = time.time_ns
    """The wall clock."""
    steady_ns: Callable[[], int] = time.monotonic_ns
    """A clock that never goes back."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """How what a hook delays is waited for."""
    random_bytes: Callable[[int], bytes] = os.urandom
    """Where random bytes come from."""
