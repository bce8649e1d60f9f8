from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.net.guard import ClientGuard, OwnAddresses, parse_address

PUBLIC = ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"]
PRIVATE = ["10.1.2.3", "192.168.0.9", "172.16.0.1", "100.64.3.4", "fd00::1", "fe80::1%eth0"]
HERE = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]


@pytest.mark.parametrize("host", PUBLIC)
def test_public_clients_are_refused_unless_wanted(host: str) -> None:
    refusal = ClientGuard().refusal(host)
    assert refusal is not None
    assert "pass --allow-public-clients" in refusal
    assert ClientGuard(allow_public=True).refusal(host) is None
    assert ClientGuard(refuse_private=True).refusal(host) is not None


@pytest.mark.parametrize("host", PRIVATE)
def test_private_clients_are_served_unless_refused(host: str) -> None:
    assert ClientGuard().refusal(host) is None
    refusal = ClientGuard(refuse_private=True).refusal(host)
    assert refusal is not None
    assert "leave out --refuse-private-clients" in refusal


@pytest.mark.parametrize("host", HERE)
def test_clients_on_this_machine_are_always_served(host: str) -> None:
    assert ClientGuard(refuse_private=True).refusal(host) is None


def own(*bound: tuple[str, int]) -> OwnAddresses:
    addresses = OwnAddresses()
    for host, port in bound:
        addresses.add(host, port)
    return addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::ffff:127.0.0.1", "0.0.0.0", "::1"])
def test_loopback_in_every_spelling_is_a_loopback_listener(host: str) -> None:
    addresses = own(("127.0.0.1", 8080))
    assert addresses.is_own(host, 8080)
    assert not addresses.is_own(host, 8081)
    assert addresses.listens_at(8080)
    assert not addresses.listens_at(8081)


def test_every_local_address_is_a_listener_on_all_of_them() -> None:
    addresses = own(("0.0.0.0", 8080))
    assert addresses.is_own("127.0.0.1", 8080)
    assert addresses.is_own("0.0.0.0", 8080)
    assert not addresses.is_own("192.0.2.1", 8080)


def test_other_addresses_at_the_same_port_are_others() -> None:
    assert not own(("127.0.0.1", 8080)).is_own("192.0.2.1", 8080)
    assert not own(("192.0.2.1", 8080)).is_own("127.0.0.1", 8080)
    assert not own(("127.0.0.1", 8080)).is_own("name.example", 8080)


def test_mapped_addresses_and_zones_are_seen_through() -> None:
    assert str(parse_address("::ffff:192.0.2.1")) == "192.0.2.1"
    assert str(parse_address("fe80::1%eth0")) == "fe80::1"
    assert parse_address("host.example") is None


@given(st.ip_addresses())
def test_every_address_that_is_written_is_read(address: IPv4Address | IPv6Address) -> None:
    mapped = getattr(address, "ipv4_mapped", None)
    assert parse_address(str(address)) == (mapped or address)
    assert parse_address(address.exploded) == (mapped or address)


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(list("0123456789abcdef:.%[]x")), max_size=20).map("".join)
)
def test_any_text_is_an_address_or_none(text: str) -> None:
    address = parse_address(text)
    assert address is None or parse_address(str(address)) == address
    assert OwnAddresses().is_own(text, 80) is False
    assert isinstance(ClientGuard().refusal(text), str | None)


def test_proxy_knows_the_connections_that_it_made_itself() -> None:
    addresses = OwnAddresses()
    local, remote = ("192.0.2.1", 40000), ("198.51.100.1", 80)
    addresses.dials(local, remote)
    assert addresses.has_dialled(local, remote)
    assert not addresses.has_dialled(local, ("198.51.100.2", 80))
    assert not addresses.has_dialled(("192.0.2.1", 40001), remote)
    addresses.dials_no_more(local, remote)
    assert not addresses.has_dialled(local, remote)
