"""As many file descriptors as the system lets us have: a proxy takes two for every client."""

from __future__ import annotations

import contextlib
import resource

_ENOUGH = 1 << 20
_ALWAYS_ALLOWED = 10240  # what macOS takes where its hard limit says "infinity"


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    for wanted in (_ENOUGH if hard == unlimited else min(hard, _ENOUGH), _ALWAYS_ALLOWED):
        if soft == unlimited or soft >= wanted:
            break
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
