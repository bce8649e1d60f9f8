"""A browser behind the proxy: HTTP/2, a WebSocket, and the CA trusted as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

import pytest

from tests.e2e.harness import BackgroundOrigin, Nginx, ProxyProcess

pytestmark = [
    pytest.mark.tools("chromium", "nginx"),
    pytest.mark.skipif(find_library("nss3") is None, reason="the browser's trust is set with NSS"),
    pytest.mark.timeout(90),
]

_PAGE = """<!doctype html><title>test</title>
<link rel=stylesheet href=style.css><script>
const facts = {};
window.onload = async () => {
  const answer = await fetch("data.json");
  facts.data = (await answer.json()).hello;
  facts.colour = getComputedStyle(document.body).color;
  facts.protocols = performance.getEntriesByType("resource").map(entry => entry.nextHopProtocol);
  facts.page = performance.getEntriesByType("navigation")[0].nextHopProtocol;
  const socket = new WebSocket("wss://localhost:SOCKET/ws");
  socket.onopen = () => socket.send("friend");
  socket.onmessage = async event => {
    facts.echo = event.data;
    await fetch("/up/facts.json", {method: "PUT", body: JSON.stringify(facts)});
    socket.close();
  };
};
</script>"""


@contextmanager
def chromium(proxy: ProxyProcess, scheme: str, home: Path, url: str) -> Iterator[None]:
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-m", "tests.e2e.nss", str(database), str(proxy.ca)],
        check=True,
        cwd=Path(__file__).parents[2],
    )
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--proxy-bypass-list=<-loopback>",
    ]
    flags += [f"--user-data-dir={home}/user", f"--proxy-server={scheme}://localhost:{proxy.port}"]
    process = subprocess.Popen(
        ["chromium", *flags, url],
        env={**os.environ, "HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_page_its_parts_and_a_web_socket_come_through(
    scheme: str, proxy: ProxyProcess, nginx: Nginx, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    site = nginx.root
    (site / "page.html").write_text(_PAGE.replace("SOCKET", str(origin.https1)))
    (site / "style.css").write_text("body { color: rgb(1, 2, 3) }")
    (site / "data.json").write_text('{"hello": "world"}')
    result = site / "up" / "facts.json"
    result.unlink(missing_ok=True)
    with chromium(proxy, scheme, tmp_path, f"https://localhost:{nginx.https}/page.html"):
        end = time.monotonic() + 60
        while not result.exists():
            assert time.monotonic() < end, "the page never told what it saw"
            time.sleep(0.1)
    facts = json.loads(result.read_text())
    assert (facts["data"], facts["colour"], facts["echo"]) == ("world", "rgb(1, 2, 3)", "friend")
    assert len(facts["protocols"]) >= 2  # the browser may ask for an icon too
    assert {facts["page"], *facts["protocols"]} == {"h2"}
