"""Every wait of the exchange and of the net room is made to fail, in every way it can.

Each test plays a scenario over and over. Each time something else goes wrong, at another of
the places at which one of the proxy's tasks waits: a peer resets, ends or stalls, a dial fails,
the client goes away. Whatever it was, all must be over in bounded time, told on the flow, and
leave nothing behind (see `world`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pytest

from proxy_core.exchange.ledger import Ledger
from proxy_core.net.upstream_http1 import Http1Upstream
from tests.faults import (
    hook_scenarios,
    http1_scenarios,
    http2_scenarios,
    tunnel_scenarios,
    way_in_scenarios,
    way_out_scenarios,
    websocket_scenarios,
)
from tests.faults.explore import explore
from tests.faults.inventory import Site, sites
from tests.faults.running import Broken, quick, run_once
from tests.faults.world import Scenario

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="open files are counted as Linux shows them"
)

MESSAGES = [
    http2_scenarios.SLOW_FROM_THE_START,
    *http1_scenarios.SCENARIOS,
    *hook_scenarios.SCENARIOS,
    *websocket_scenarios.SCENARIOS,
]
CONNECTIONS = [
    *http2_scenarios.SCENARIOS,
    *tunnel_scenarios.SCENARIOS,
    *way_in_scenarios.SCENARIOS,
    *way_out_scenarios.SCENARIOS,
]
KNOWN = 2
"""The first scenarios of each kind wait where the others do as well, and are tried for them."""
CASES = [
    (scenario, module.SCENARIOS[: min(KNOWN, number)])
    for module in (
        http1_scenarios,
        hook_scenarios,
        http2_scenarios,
        tunnel_scenarios,
        way_in_scenarios,
        way_out_scenarios,
        websocket_scenarios,
    )
    for number, scenario in enumerate(module.SCENARIOS)
]
ABOUT_CONNECTIONS = (
    "exchange/connections.py",
    "exchange/tunnel.py",
    "net/bound.py",
    "net/channel.py",
    "net/client.py",
    "net/client_http2.py",
    "net/client_http2_stream.py",
    "net/client_tls.py",
    "net/dial.py",
    "net/first_bytes.py",
    "net/happy_eyeballs.py",
    "net/http2_link.py",
    "net/http2_stream.py",
    "net/listener.py",
    "net/parent.py",
    "net/pool.py",
    "net/socks.py",
    "net/upstream_http2.py",
    "net/upstream_http2_stream.py",
)
"""Files whose awaits CONNECTIONS meet; MESSAGES meet those of all others."""

NEVER_WAITS = {
    (
        "exchange/sources.py",
        "Resumable.next",
        "await self.read()",
    ): "what is read has been there before",
    (
        "net/listener.py",
        "Listener.start",
        "await loop.create_server(self._accept, sock=sock, backlog=batch, start_serving=False)",
    ): "the sockets are there already",
    (
        "net/dial.py",
        "Dialer.leads_back",
        "await addresses_of(to_a_labels(host), port)",
    ): "the core starts, and serves nobody yet",
    (
        "exchange/websocket.py",
        "_Session.run",
        "self._time",
    ): "a time limit, which is asynchronous in form only",
    (
        "net/client_http2.py",
        "Http2Client._end",
        "await self.close()",
    ): "`Http2Link.close` waits for nothing",
    (
        "net/upstream_http2.py",
        "Http2Upstream.close",
        "await super().close(code)",
    ): "`Http2Link.close` waits for nothing",
    (
        "net/http2_stream.py",
        "Http2Stream.drain",
        "await channel.drain()",
    ): "the channel can be written to, or is closed, which is then told",
}
"""Awaits at which nobody ever stands still, with the reason. A new one is looked at by somebody."""


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "data"


@pytest.mark.parametrize(("scenario", "known"), CASES, ids=[scenario.name for scenario, _ in CASES])
def test_whatever_fails_at_an_await_is_told_and_leaves_nothing(
    scenario: Scenario, known: Sequence[Scenario], data_dir: Path
) -> None:
    found = explore(scenario, known, data_dir)
    assert not found.broken, "\n\n".join(found.broken)


@pytest.mark.parametrize(
    ("scenarios", "about_connections"), [(MESSAGES, False), (CONNECTIONS, True)]
)
def test_scenarios_wait_at_every_await_that_there_is(
    scenarios: Sequence[Scenario], about_connections: bool, data_dir: Path
) -> None:
    """So that an await that is new, and that no fault meets, is red here."""
    met: set[Site] = set()
    with quick():
        for scenario in scenarios:
            met.update(*(place.chain for place in run_once(scenario, data_dir, None).seen))
    wanted = {
        site
        for site in sites().values()
        if (site.file in ABOUT_CONNECTIONS) is about_connections and site.name not in NEVER_WAITS
    }
    left = sorted(wanted - met)
    assert not left, "no fault meets\n" + "\n".join(map(str, left))
    wrong = [site for site in met if site.name in NEVER_WAITS]
    assert not wrong, f"waits, though said never to: {wrong}"


def test_excuses_are_for_awaits_that_there_are() -> None:
    names = {site.name for site in sites().values()}
    assert not NEVER_WAITS.keys() - names
    assert not set(ABOUT_CONNECTIONS) - {file for file, _, _ in names}


def test_what_is_left_behind_is_told(data_dir: Path) -> None:
    """That nothing is found above has to mean something."""
    scenario = http1_scenarios.SCENARIOS[0]
    with quick(), mock.patch.object(Ledger, "end"), pytest.raises(Broken) as told:
        run_once(scenario, data_dir, None)
    assert "2 active flows left" in str(told.value)
    assert "flow 1 is" in str(told.value)
    with mock.patch.object(Http1Upstream, "abort"):
        found = explore(scenario, (), data_dir)
    assert any("cancelled at" in one and "1 open channels left" in one for one in found.broken)
