from __future__ import annotations

from proxy_core.bus.rate_limiter import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_refills_with_time() -> None:
    clock = Clock()
    limiter = RateLimiter(8, clock)
    assert [limiter.allow() for _ in range(9)] == [True] * 8 + [False]
    clock.now += 0.125
    assert [limiter.allow(), limiter.allow()] == [True, False]
    clock.now += 3600
    assert sum(limiter.allow() for _ in range(20)) == 8
