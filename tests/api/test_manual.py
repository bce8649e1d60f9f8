"""The examples of docs/api.md, as a reader would type them, against a core of their own."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy_core.api.app import ENDPOINTS
from tests.e2e.harness import Curl, ProxyProcess
from tests.project.tree import ROOT

MANUAL = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", MANUAL, re.MULTILINE | re.DOTALL)
PREAMBLE, EXAMPLES = BLOCKS[0], [line for block in BLOCKS[1:] for line in block.splitlines()]


@pytest.fixture(scope="module")
def preamble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What the manual sets first, with the token and address of a core that has seen a flow."""
    directory = tmp_path_factory.mktemp("manual")
    arguments = ("--api", "127.0.0.1:0", "--plugins", str(ROOT / "plugins"))
    with ProxyProcess.running(directory, *arguments) as proxy:
        url = proxy.read_api_url()
        Curl(proxy, directory)("http://int3rceptor.internal/")
        text = PREAMBLE.replace("http://127.0.0.1:3000", url)
        yield text.replace("~/.local/share/int3rceptor", str(proxy.data_dir))


@pytest.mark.tools("curl")
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_works(preamble: str, example: str, tmp_path: Path) -> None:
    script = preamble + example
    if "follow=true" in example:
        script += " --max-time 2"  # else it would go on
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    if "follow=true" in example:
        assert done.returncode == 28, done
        assert "event: log\nid: " in done.stdout
    else:
        assert done.returncode == 0, done
        assert done.stdout.startswith("{")


def test_every_route_has_an_example() -> None:
    paths = [
        urlsplit(match.strip('"')).path
        for example in EXAMPLES
        for match in re.findall(r"\$API(\S+)", example)
    ]
    for endpoint in ENDPOINTS:
        pattern = re.sub(r"\{\w+\}", r"[\\w-]+", endpoint.path)
        post = endpoint.method == "POST"
        shown = [
            path
            for path, example in zip(paths, EXAMPLES, strict=True)
            if re.fullmatch(pattern, path) and ("-X POST" in example) is post
        ]
        assert shown, endpoint.path
