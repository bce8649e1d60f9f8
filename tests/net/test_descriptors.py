from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from proxy_core.net.descriptors import Descriptors


@pytest.mark.parametrize("limit", [16, 64, 256, 1024, 20_000, 1 << 20])
def test_clients_leave_room_for_servers_and_servers_for_files(limit: int) -> None:
    table = Descriptors(limit)
    clients = sum(map(table.admit_client, range(limit)))
    servers = sum(map(table.admit_server, range(limit)))
    assert limit / 2 < clients < servers < limit
    assert 0 < table.batch <= limit - clients


def test_limit_is_the_process_s_own() -> None:
    assert Descriptors().limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.fixture
def every_descriptor() -> Iterator[None]:
    """Uses up the table, which is made small first."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 3, before[1]))
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_table_that_is_used_up_is_noticed(every_descriptor: None) -> None:
    assert Descriptors().exhausted()


def test_table_with_room_is_not_used_up() -> None:
    assert not Descriptors().exhausted()
