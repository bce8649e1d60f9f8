"""The demo origin, and clients that reach it through a proxy that only passes bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from int3rceptor_tui.demo.client import ProxyClient
from int3rceptor_tui.demo.origin import DemoOrigin
from tests.demo.passing_proxy import PassingProxy


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> OriginCertificate:
    return OriginCertificate(tmp_path_factory.mktemp("origin"))


@pytest.fixture
async def origin(certificate: OriginCertificate) -> AsyncIterator[DemoOrigin]:
    async with DemoOrigin(certificate) as running:
        yield running


@pytest.fixture
async def proxy(certificate: OriginCertificate) -> AsyncIterator[PassingProxy]:
    async with PassingProxy(certificate.ca_file) as running:
        yield running


@pytest.fixture
def client(proxy: PassingProxy) -> ProxyClient:
    host, _, port = proxy.listening[0].rpartition(":")
    return ProxyClient(host, int(port), proxy.ca_path)
