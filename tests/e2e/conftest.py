"""One proxy and one origin for all tests that do not need one of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from tests.e2e.harness import BackgroundOrigin, Curl, Nginx, ProxyProcess, running_nginx
from tests.e2e.wires import Wires
from tests.tools import find_tool

StartProxy = Callable[..., ProxyProcess]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> OriginCertificate:
    return OriginCertificate(tmp_path_factory.mktemp("origin"))


@pytest.fixture(scope="session")
def origin(certificate: OriginCertificate) -> Iterator[BackgroundOrigin]:
    running = BackgroundOrigin(certificate)
    yield running
    running.close()


@pytest.fixture(scope="session")
def proxy(
    certificate: OriginCertificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyProcess]:
    """A proxy that trusts the origins."""
    directory = tmp_path_factory.mktemp("proxy")
    with ProxyProcess.running(directory, "--upstream-ca", str(certificate.ca_file)) as running:
        yield running


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[StartProxy]:
    """Starts a proxy for this test alone, with the arguments given."""
    with ExitStack() as stack:

        def start(*arguments: str) -> ProxyProcess:
            directory = tmp_path / f"proxy-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            return stack.enter_context(ProxyProcess.running(directory, *arguments))

        yield start


@pytest.fixture
async def wires(proxy: ProxyProcess) -> AsyncIterator[Wires]:
    opened = Wires(proxy)
    yield opened
    await opened.close()


@pytest.fixture
def curl(proxy: ProxyProcess, tmp_path: Path) -> Curl:
    return Curl(proxy, tmp_path)


@pytest.fixture(scope="session")
def nginx(
    certificate: OriginCertificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nginx]:
    if find_tool("nginx") is None:
        pytest.skip("not installed: nginx")
    root = tmp_path_factory.mktemp("nginx")
    with running_nginx(root, certificate.chain_file) as running:
        yield running
