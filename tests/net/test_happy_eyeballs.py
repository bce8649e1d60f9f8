from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

import pytest

from proxy_core.net import happy_eyeballs
from proxy_core.net.happy_eyeballs import Address, addresses_of, connect_first, in_turn
from tests.waiting import until

V4, V6 = socket.AF_INET, socket.AF_INET6
DEAD, ALIVE, LATE = (Address(V4, (f"127.0.0.{n}", 80)) for n in (1, 2, 3))


class Net:
    """Addresses that answer when they are told to, and the sockets that were made for them."""

    def __init__(self) -> None:
        self.tried: list[Address] = []
        self.sockets: dict[Address, socket.socket] = {}
        self._answers: dict[Address, asyncio.Future[None]] = {}

    async def connect(self, address: Address) -> socket.socket:
        self.tried.append(address)
        sock = self.sockets[address] = socket.socket(address.family)
        try:
            await self.answer_of(address)
        except BaseException:
            sock.close()
            raise
        return sock

    def answer_of(self, address: Address) -> asyncio.Future[None]:
        if address not in self._answers:
            self._answers[address] = asyncio.get_running_loop().create_future()
        return self._answers[address]

    def accept(self, address: Address) -> None:
        self.answer_of(address).set_result(None)

    def refuse(self, address: Address, number: int = errno.ECONNREFUSED) -> None:
        self.answer_of(address).set_exception(OSError(number, "no"))

    async def all_closed_but(self, *kept: Address) -> None:
        await until(
            lambda: all((sock.fileno() < 0) is (a not in kept) for a, sock in self.sockets.items())
        )
        for sock in self.sockets.values():
            sock.close()


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    made = Net()
    monkeypatch.setattr(happy_eyeballs, "_connect", made.connect)
    return made


@pytest.fixture
def head_start(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda seconds: monkeypatch.setattr(happy_eyeballs, "HEAD_START", seconds)


async def test_an_address_that_says_nothing_is_passed_after_its_head_start(
    net: Net, head_start: Callable[[float], None]
) -> None:
    head_start(0.001)
    net.accept(ALIVE)
    tried: dict[str, str] = {}
    connected = await connect_first([DEAD, ALIVE, LATE], tried)
    assert connected is net.sockets[ALIVE]
    assert net.tried[:2] == [DEAD, ALIVE]
    assert tried[str(DEAD)] == "no answer"
    await net.all_closed_but(ALIVE)


async def test_the_first_address_has_the_connection_to_itself_while_it_may_answer(
    net: Net, head_start: Callable[[float], None]
) -> None:
    head_start(3600)
    async with asyncio.TaskGroup() as group:
        connecting = group.create_task(connect_first([LATE, ALIVE], {}))
        await until(lambda: net.tried)
        net.accept(LATE)
    assert connecting.result() is net.sockets[LATE]
    assert net.tried == [LATE]
    await net.all_closed_but(LATE)


async def test_a_refusal_gives_the_next_its_turn_at_once(
    net: Net, head_start: Callable[[float], None]
) -> None:
    head_start(3600)
    net.refuse(DEAD)
    net.accept(ALIVE)
    tried: dict[str, str] = {}
    assert await connect_first([DEAD, ALIVE], tried) is net.sockets[ALIVE]
    assert tried[str(DEAD)] == "connection refused"
    await net.all_closed_but(ALIVE)


async def test_an_earlier_address_may_still_win(
    net: Net, head_start: Callable[[float], None]
) -> None:
    head_start(0.001)
    async with asyncio.TaskGroup() as group:
        connecting = group.create_task(connect_first([LATE, DEAD], {}))
        await until(lambda: len(net.tried) == 2)
        net.accept(LATE)
    assert connecting.result() is net.sockets[LATE]
    await net.all_closed_but(LATE)


async def test_of_two_that_answer_at_once_one_is_closed(
    net: Net, head_start: Callable[[float], None]
) -> None:
    head_start(0.001)
    async with asyncio.TaskGroup() as group:
        connecting = group.create_task(connect_first([LATE, ALIVE], {}))
        await until(lambda: len(net.tried) == 2)
        net.accept(LATE)
        net.accept(ALIVE)
    winner = LATE if connecting.result() is net.sockets[LATE] else ALIVE
    await net.all_closed_but(winner)


async def test_where_all_fail_each_is_told(net: Net, head_start: Callable[[float], None]) -> None:
    head_start(3600)
    net.refuse(DEAD)
    net.refuse(LATE, errno.EHOSTUNREACH)
    tried: dict[str, str] = {}
    with pytest.raises(ConnectionRefusedError):
        await connect_first([DEAD, LATE], tried)
    assert tried == {str(DEAD): "connection refused", str(LATE): "no route to host"}
    await net.all_closed_but()


async def test_no_more_is_tried_without_descriptors(
    net: Net, head_start: Callable[[float], None]
) -> None:
    head_start(3600)
    net.refuse(DEAD, errno.EMFILE)
    with pytest.raises(OSError, match="no") as failure:
        await connect_first([DEAD, ALIVE], {})
    assert failure.value.errno == errno.EMFILE
    assert net.tried == [DEAD]


async def test_whoever_waits_no_longer_leaves_no_socket_behind(
    net: Net, head_start: Callable[[float], None]
) -> None:
    head_start(0.001)
    task = asyncio.get_running_loop().create_task(connect_first([DEAD, LATE], {}))
    await until(lambda: len(net.tried) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await net.all_closed_but()


async def test_a_real_connection_is_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (address,) = await addresses_of("127.0.0.1", port)
        with await connect_first([address], {}) as connected:
            assert connected.getpeername() == ("127.0.0.1", port)
            assert not connected.getblocking()


def test_families_take_turns_and_no_address_comes_twice() -> None:
    a, b, c = (Address(V6, (f"2001:db8::{n}", 80, 0, 0)) for n in (1, 2, 3))
    x, y = (Address(V4, (f"192.0.2.{n}", 80)) for n in (1, 2))
    assert in_turn([a, b, c, a, x, y]) == [a, x, b, y, c]
    assert in_turn([x, y]) == [x, y]
