"""Running the tools for real, and the files that they are given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from int3rceptor_tui import cli


@dataclass(frozen=True)
class Ran:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Tool:
    """`int3rceptor-tui plugin`, through the program's entry point."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: object) -> Ran:
        self._capture.readouterr()
        code = cli.main(["plugin", *map(str, arguments)])
        out, err = self._capture.readouterr()
        return Ran(code, out, err)


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(capsys)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return tmp_path / "home"


def entry(url: str = "http://example.com/", **changes: Any) -> dict[str, Any]:
    """One entry of an archive; `request` and `response` are laid over what is there."""
    request = {"method": "GET", "url": url, "httpVersion": "HTTP/1.1", "headers": []}
    response = {
        "status": 200,
        "statusText": "OK",
        "httpVersion": "HTTP/1.1",
        "headers": [{"name": "Server", "value": "nginx"}],
        "content": {"text": "hello"},
    }
    request.update(changes.pop("request", {}))
    response.update(changes.pop("response", {}))
    return {
        "startedDateTime": "2024-05-14T10:00:00.000Z",
        "request": request,
        "response": response,
        **changes,
    }


def archive(entries: Sequence[object]) -> bytes:
    """An archive's bytes."""
    return json.dumps({"log": {"version": "1.2", "entries": list(entries)}}).encode()


@pytest.fixture
def har(tmp_path: Path) -> Path:
    """Three exchanges over two connections."""
    path = tmp_path / "flows.har"
    path.write_bytes(
        archive(
            [
                entry("http://example.com/a"),
                entry("https://secure.example/b?c=d"),
                entry("http://example.com/e", response={"status": 404, "statusText": "Not Found"}),
            ]
        )
    )
    return path


def put(directory: Path, name: str, module: bytes, manifest: str = "") -> Path:
    """Write a plugin's directory; return it."""
    place = directory / name
    place.mkdir(parents=True, exist_ok=True)
    text = f'name = "{name}"\nwasm = "{name}.wasm"\n{manifest}'
    (place / "plugin.toml").write_text(text, encoding="utf-8")
    (place / f"{name}.wasm").write_bytes(module)
    return place
