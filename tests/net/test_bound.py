from __future__ import annotations

import socket

import pytest

from proxy_core.errors import ListenError
from proxy_core.net.bound import bind
from proxy_core.net.guard import OwnAddresses


async def test_it_listens_at_once_and_is_known_as_our_own() -> None:
    own = OwnAddresses()
    bound = await bind("127.0.0.1", 0, "--api", own)
    host, _, port = bound.address.rpartition(":")
    assert host == "127.0.0.1"
    assert own.is_own("127.0.0.1", int(port))
    assert bound.is_local
    socket.create_connection((host, int(port))).close()
    bound.close()
    bound.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


async def test_all_addresses_of_a_name_have_the_same_port() -> None:
    bound = await bind("localhost", 0, "--api", OwnAddresses())
    assert len({sock.getsockname()[1] for sock in bound.sockets}) == 1
    assert bound.host == "localhost"
    bound.close()


async def test_an_address_for_all_machines_is_not_local() -> None:
    bound = await bind("0.0.0.0", 0, "--api", OwnAddresses())
    assert not bound.is_local
    bound.close()


async def test_all_of_ipv6_is_all_of_ipv4_too_and_known_as_both() -> None:
    own = OwnAddresses()
    bound = await bind("::", 0, "--api", own)
    port = int(bound.address.rpartition(":")[2])
    for address in ("127.0.0.1", "::1"):
        socket.create_connection((address, port)).close()
        assert own.is_own(address, port)
    assert not own.is_own("192.0.2.1", port)
    assert not bound.is_local
    bound.close()


async def test_a_taken_port_is_told_with_what_to_do() -> None:
    own = OwnAddresses()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"port {port} is taken .*; pass --api or stop"):
            await bind("127.0.0.1", port, "--api", own)
    assert not own.listens_at(port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.name.invalid", "a" * 300])
async def test_an_address_that_is_not_ours_is_told_with_what_to_do(host: str) -> None:
    with pytest.raises(ListenError, match="pass --api"):
        await bind(host, 0, "--api", OwnAddresses())
