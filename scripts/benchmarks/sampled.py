#!/usr/bin/env python3
"""Run int3rceptor-tui with a sampler inside: sampled.py OUT.json ARGUMENTS...

A profiling timer interrupts once in a millisecond of CPU time. The sample goes to the stage of the
innermost frame that is ours; what libraries do for it counts for them, C code for its caller.
"""

from __future__ import annotations

import atexit
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL = 0.001

_FILES = {
    "net/tls_session.py": "TLS",
    "net/upstream_tls.py": "TLS",
    "net/listener.py": "accept",
    "net/client.py": "accept",
    "net/client_tls.py": "accept",
    "net/first_bytes.py": "accept",
    "exchange/capture.py": "capture",
    "bus/flow_ring.py": "capture",
    "model/flow.py": "capture",
}
_ROOMS = {
    "wire": "parse",
    "exchange": "exchange",
    "bus": "exchange",
    "plugin_host": "hooks",
    "net": "net",
    "model": "exchange",
    "ca": "TLS",
}
_LIBRARIES = ("/h2/", "/hpack/", "/hyperframe/")

_counts: Counter[str] = Counter()


def _stage_of(frame: FrameType | None) -> str:
    while frame is not None:
        file = frame.f_code.co_filename
        if any(library in file for library in _LIBRARIES):
            return "libraries"
        _, ours, rest = file.rpartition("proxy_core/")
        if ours:
            return _FILES.get(rest) or _ROOMS.get(rest.partition("/")[0], "exchange")
        frame = frame.f_back
    return "loop"


def _sample(_: int, frame: FrameType | None) -> None:
    _counts[_stage_of(frame)] += 1


def main() -> int:
    out = Path(sys.argv[1])
    atexit.register(lambda: out.write_text(json.dumps(_counts)))
    signal.signal(signal.SIGPROF, _sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    from int3rceptor_tui.cli import main as run

    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
