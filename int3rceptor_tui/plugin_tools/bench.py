"""`plugin bench`: what each hook costs a flow, in time and in fuel.

Measured is what the exchange waits for: the host's dispatch, the guest, and what the host
functions do for it. Each round gets a fresh flow; a body that streams counts as one call.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from int3rceptor_tui.plugin_tools.har import Recorded
from proxy_core.model.headers import Headers
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.recorded.offline import OfflineHost
from proxy_core.plugin_host.recorded.rerun import Payload, Rerun, Step

_WARM_UP: Final = 50
_ORDER: Final = (
    Hook.CONNECT,
    Hook.REQUEST,
    Hook.REQUEST_CHUNK,
    Hook.RESPONSE,
    Hook.RESPONSE_CHUNK,
    Hook.WEBSOCKET_MESSAGE,
    Hook.CAPTURE,
)


@dataclass(slots=True)
class Measured:
    """One hook's figures."""

    hook: str
    calls: int = 0
    failures: int = 0
    microseconds: list[float] = field(default_factory=list)
    fuel: list[int] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The figures as JSON takes them."""
        return {
            "hook": self.hook,
            "calls": self.calls,
            "failures": self.failures,
            "microseconds": {
                "p50": round(percentile(self.microseconds, 50), 2),
                "p99": round(percentile(self.microseconds, 99), 2),
            },
            "fuel": {"p50": percentile(self.fuel, 50), "p99": percentile(self.fuel, 99)},
        }

    def line(self) -> str:
        """The figures for people."""
        failed = f"  {self.failures} failed" if self.failures else ""
        return (
            f"{self.hook:<21}{self.calls:>8}"
            f"{percentile(self.microseconds, 50):>11.1f}{percentile(self.microseconds, 99):>11.1f}"
            f"{percentile(self.fuel, 50):>11}{percentile(self.fuel, 99):>11}{failed}"
        )


HEADING: Final = (
    f"{'hook':<21}{'calls':>8}{'us p50':>11}{'us p99':>11}{'fuel p50':>11}{'fuel p99':>11}"
)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of `values` that `percent` of them do not exceed; 0 where there are none."""
    if not values:
        return 0
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def ordinary_exchange() -> Recorded:
    """An exchange such as browsers make, with 15 headers each way."""
    request = RequestHead(
        b"GET",
        "https",
        b"www.example.com",
        b"/articles/2024/05/index.html?page=2",
        Headers(
            [
                (b"Host", b"www.example.com"),
                (b"User-Agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Firefox/126.0"),
                (b"Accept", b"text/html,application/xhtml+xml,*/*;q=0.8"),
                (b"Accept-Language", b"en-GB,en;q=0.5"),
                (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
                (b"Referer", b"https://www.example.com/"),
                (b"Cookie", b"session=0123456789abcdef; theme=dark; consent=yes"),
                (b"DNT", b"1"),
                (b"Sec-Fetch-Dest", b"document"),
                (b"Sec-Fetch-Mode", b"navigate"),
                (b"Sec-Fetch-Site", b"same-origin"),
                (b"Sec-Fetch-User", b"?1"),
                (b"Upgrade-Insecure-Requests", b"1"),
                (b"Priority", b"u=0, i"),
                (b"Connection", b"keep-alive"),
            ]
        ),
    )
    response = ResponseHead(
        200,
        b"OK",
        Headers(
            [
                (b"Date", b"Tue, 14 May 2024 10:00:00 GMT"),
                (b"Content-Type", b"text/html; charset=utf-8"),
                (b"Content-Length", b"1024"),
                (b"Connection", b"keep-alive"),
                (b"Server", b"nginx"),
                (b"Cache-Control", b"max-age=300, public"),
                (b"ETag", b'"5e15153d-120f"'),
                (b"Last-Modified", b"Mon, 13 May 2024 08:00:00 GMT"),
                (b"Vary", b"Accept-Encoding"),
                (b"Set-Cookie", b"session=0123456789abcdef; Secure; HttpOnly"),
                (b"X-Frame-Options", b"DENY"),
                (b"X-Content-Type-Options", b"nosniff"),
                (b"Strict-Transport-Security", b"max-age=31536000"),
                (b"Referrer-Policy", b"same-origin"),
                (b"Accept-Ranges", b"bytes"),
            ]
        ),
    )
    return Recorded(1, request, b"", response, b"x" * 1024, 0.0, "192.0.2.2", "1")


async def measure(host: OfflineHost, exchanges: Sequence[Recorded], calls: int) -> list[Measured]:
    """Run `exchanges` in turn until each hook that is called was called `calls` (>= 1) times."""
    stopwatch = _Stopwatch(host, calls)
    for _ in range(calls + _WARM_UP):  # whatever is called at all is called in each round
        for exchange in exchanges:
            await Rerun(host, exchange.recording(), stopwatch).run()
            host.take_lines()
        if stopwatch.is_done:
            break
    return [measured for _, measured in sorted(stopwatch.measured.items(), key=_place)]


def _place(item: tuple[Hook, Measured]) -> int:
    return _ORDER.index(item[0])


class _Stopwatch:
    """Measures each call: implements `Witness`."""

    def __init__(self, host: OfflineHost, calls: int) -> None:
        self.measured: dict[Hook, Measured] = {}
        self._host = host
        self._calls = calls
        self._warmed_up: Counter[Hook] = Counter()
        self._fuel = self._failures = self._began = 0

    @property
    def is_done(self) -> bool:
        """Whether each hook that was called has been called often enough."""
        return all(measured.calls == self._calls for measured in self.measured.values())

    def before(self, _: Step) -> None:
        """See `Witness`."""
        self._fuel, self._failures = self._host.plugin.profile.fuel, self._host.failures
        self._began = time.perf_counter_ns()

    def after(self, step: Step) -> None:
        """See `Witness`."""
        took = time.perf_counter_ns() - self._began
        measured = self.measured.setdefault(step.hook, Measured(step.hook.export))
        if self._warmed_up[step.hook] < _WARM_UP:
            self._warmed_up[step.hook] += 1  # first calls fill caches
        elif measured.calls < self._calls:
            measured.calls += 1
            measured.failures += self._host.failures - self._failures
            measured.microseconds.append(took / 1000)
            measured.fuel.append(self._host.plugin.profile.fuel - self._fuel)

    def goes_on(self, head: RequestHead | ResponseHead, body: Payload) -> None:
        """See `Witness`."""
