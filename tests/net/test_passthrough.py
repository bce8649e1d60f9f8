from __future__ import annotations

import pytest

from proxy_core.net.passthrough import Passthrough


@pytest.mark.parametrize(
    ("host", "sni", "passed"),
    [
        ("bank.example", None, True),
        ("BANK.example", None, True),
        ("192.0.2.1", "bank.example", True),
        ("shop.example", None, False),
        ("other.example", "shop.example", False),
    ],
)
def test_patterns_are_searched_in_host_and_server_name(
    host: str, sni: str | None, passed: bool
) -> None:
    assert Passthrough(ignore=[r"^bank\.example:443$"]).wants(host, 443, sni) is passed
    assert Passthrough(allow=[r"^bank\.example$"]).wants(host, 443, sni) is not passed


def test_what_is_both_allowed_and_ignored_is_passed_through() -> None:
    both = Passthrough(ignore=["bank"], allow=["example"])
    assert both.wants("bank.example", 443, None)
    assert not both.wants("shop.example", 443, None)


def test_a_host_whose_clients_refuse_twice_in_a_row_is_learnt_and_told_once() -> None:
    told: list[str] = []
    passthrough = Passthrough(learn=True, note=told.append)
    passthrough.refused("pinned.example")
    passthrough.accepted("pinned.example")
    passthrough.refused("pinned.example")
    assert not passthrough.wants("pinned.example", 443, None)
    for _ in range(3):
        passthrough.refused("pinned.example")
    assert passthrough.wants("192.0.2.1", 443, "pinned.example")
    assert len(told) == 1
    assert "pinned.example" in told[0]


def test_nothing_is_learnt_unless_wanted() -> None:
    passthrough = Passthrough()
    for _ in range(3):
        passthrough.refused("pinned.example")
    assert not passthrough.wants("pinned.example", 443, None)


def test_what_is_learnt_is_bounded_and_the_oldest_goes_first() -> None:
    passthrough = Passthrough(learn=True)
    for number in range(2000):
        for _ in range(2):
            passthrough.refused(f"h{number}.example")
    assert not passthrough.wants("h0.example", 443, None)
    assert passthrough.wants("h1999.example", 443, None)
