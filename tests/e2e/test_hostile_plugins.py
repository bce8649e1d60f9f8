"""All hostile modules at once in a running proxy: what passes through it is as without them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartProxy
from tests.e2e.harness import BackgroundOrigin, Curl, ProxyProcess
from tests.e2e.plugged import put_module
from tests.e2e.test_curl import over_all, site
from tests.plugin_host.guests import guest
from tests.plugin_host.hostile.modules import IN_A_HOOK

pytestmark = pytest.mark.tools("curl")

BODY = "some text, " * 5000


@pytest.fixture(scope="module")
def proxy(
    origin: BackgroundOrigin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyProcess]:
    """A proxy with every hostile module that fails in a hook."""
    directory = tmp_path_factory.mktemp("hostile")
    for number, hostile in enumerate(IN_A_HOOK.values()):
        name = f"hostile-{number}"
        put_module(directory / "plugins", name, hostile.module, hostile.manifest)
    arguments = ("--upstream-ca", str(origin.ca), "--plugins", str(directory / "plugins"))
    with ProxyProcess.running(directory, *arguments) as running:
        yield running
    told = (directory / "serve.log").read_text(encoding="utf-8")
    assert all(f" hostile-{number} #" in told for number in range(len(IN_A_HOOK)))


@over_all
def test_heads_and_bodies_pass_unharmed(
    curl: Curl, origin: BackgroundOrigin, flag: str, way: str
) -> None:
    url = site(origin, way)
    echoed = curl(f"{url}/echo?a=b", flag, "-d", BODY, "-H", "X-Mine: yes")
    assert (echoed.status, echoed.body.decode()) == (200, BODY)
    seen = origin.recording.of("/echo")[-1]
    assert (seen.method, seen.target) == (b"POST", b"/echo?a=b")
    assert seen.values(b"x-mine") == [b"yes"]
    told = json.loads(curl(f"{url}/headers", flag).body)
    names = {name.lower() for name, _ in told["fields"] if not name.startswith(":")}
    assert names - {"host"} == {"user-agent", "accept"}


@pytest.mark.parametrize("hook", ["on_request", "on_response", "on_request_chunk"])
def test_a_flow_ends_with_502_where_a_plugin_must_not_fail(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path, hook: str
) -> None:
    module = guest("unreachable", hook)
    put_module(tmp_path / "plugins", "strict", module, 'on_failure = "closed"')
    proxy = start_proxy("--upstream-ca", str(origin.ca), "--plugins", str(tmp_path / "plugins"))
    curl = Curl(proxy, tmp_path)
    for flag, way in (("--http1.1", "http"), ("--http2", "https")):
        # It answers behind the whole body: what has begun to answer is broken off instead.
        answer = curl(f"{site(origin, way)}/upload", flag, "-d", "body")
        assert answer.status == 502
        assert b"plugin strict" in answer.body


@pytest.mark.parametrize("hook", ["on_request", "on_response"])
def test_what_a_plugin_holds_goes_on_where_there_is_no_console(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path, hook: str
) -> None:
    put_module(tmp_path / "plugins", "holder", guest("i32.const 2", hook))
    proxy = start_proxy("--plugins", str(tmp_path / "plugins"))
    echoed = Curl(proxy, tmp_path)(f"{site(origin, 'http')}/echo", "-d", BODY)
    assert (echoed.status, echoed.body.decode()) == (200, BODY)
