"""What a plugin has beside its instances, and its host functions work on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from proxy_core.plugin_host.grants import Permits
from proxy_core.plugin_host.metrics import Metrics
from proxy_core.plugin_host.profile import Profile
from proxy_core.plugin_host.state import KeyValueState


@dataclass(slots=True)
class Belongings:
    """Shared by all instances of a plugin, and all but `permits` by its generations."""

    state: KeyValueState = field(default_factory=KeyValueState)
    metrics: Metrics = field(default_factory=Metrics)
    profile: Profile = field(default_factory=Profile)
    foreign: Any = None
    """What a foreign ABI shares between contexts beside these, in memory."""
    permits: Permits = field(default_factory=Permits)
    now_ns: Callable[[], int] = time.time_ns
    """The wall clock of foreign ABIs, and of WASI."""
    steady_ns: Callable[[], int] = time.monotonic_ns
    """A clock that never goes back."""
    random_bytes: Callable[[int], bytes] = os.urandom
    """Where their random bytes come from."""
