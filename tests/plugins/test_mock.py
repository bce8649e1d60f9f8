"""mock: what its configuration says is answered, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import CONTINUE, Respond, Verdict
from tests.plugin_host.guests import Host, make_flow
from tests.plugins.conftest import install


async def start(host: Host, directory: Path, *answers: str) -> None:
    """Load it with these tables as its answers."""
    configure(host, directory, "".join(f"[[config.answers]]\n{answer}\n" for answer in answers))
    assert (await host.start()).refused == ()


def configure(host: Host, directory: Path, config: str) -> None:
    manifest = install(host, directory, "mock")
    text, _, _ = manifest.read_text().partition("[[config")
    manifest.write_text(text + config, encoding="utf-8")


async def ask(host: Host, path: bytes, method: bytes = b"GET") -> Verdict:
    flow = make_flow(method=method)
    flow.request = flow.request.replace(path=path)
    return await host.request(flow)


async def body_of(host: Host, path: bytes, method: bytes = b"GET") -> bytes | None:
    """What is answered, None where the request goes on."""
    verdict = await ask(host, path, method)
    if verdict is CONTINUE:
        return None
    assert isinstance(verdict, Respond)
    return verdict.body


async def test_as_it_comes_it_answers_one_path(host: Host, directory: Path) -> None:
    install(host, directory, "mock")
    assert (await host.start()).refused == ()
    verdict = await ask(host, b"/int3-mock?x=1")
    assert isinstance(verdict, Respond)
    assert verdict.head.status == 200
    assert verdict.head.headers.get(b"content-type") == b"application/json"
    assert json.loads(verdict.body) == {"mock": True}
    assert await ask(host, b"/int3-mock/below") is CONTINUE
    assert await ask(host, b"/int3-mock", b"POST") is CONTINUE


async def test_the_first_that_fits_answers(host: Host, directory: Path) -> None:
    await start(
        host,
        directory,
        'path = "/a/b"\nmethod = "POST"\nbody = "posted"',
        'path = "/a/b"\nbody = "exact"',
        'prefix = "/a/"\nbody = "below"',
        'path = "/q?x"\nbody = "never"',
        'prefix = ""\nmethod = "DELETE"\nbody = "any"',
    )
    assert await body_of(host, b"/a/b", b"POST") == b"posted"
    assert await body_of(host, b"/a/b?c=/a/") == b"exact"
    assert await body_of(host, b"/a/bc") == b"below"
    assert await body_of(host, b"/a/") == b"below"
    assert await body_of(host, b"/a") is None
    assert await body_of(host, b"/q?x") is None
    assert await body_of(host, b"/", b"DELETE") == b"any"


async def test_status_headers_and_text_arrive_as_meant(host: Host, directory: Path) -> None:
    body = '"\\/\b\f\n\r\t\x01\x1f{[,:]}\u00e9\U0001f600'
    await start(
        host,
        directory,
        "status = 418\n"
        f"body = {json.dumps(body, ensure_ascii=False)}\n"
        "prefix = '/'\n"
        'headers = { "X-One" = "1, \\"2\\"", "X-Two" = "}]" }',
    )
    verdict = await ask(host, b"/")
    assert isinstance(verdict, Respond)
    assert verdict.head.status == 418
    assert verdict.body == body.encode()
    assert verdict.head.headers.get(b"x-one") == b'1, "2"'
    assert verdict.head.headers.get(b"x-two") == b"}]"


async def test_a_configuration_of_the_longest_is_read_through_within_its_fuel(
    host: Host, directory: Path
) -> None:
    answers = [f'method = "GET"\npath = "/nowhere/{number:03}"' for number in range(1000)]
    await start(host, directory, *answers, 'path = "/last"\nbody = "found"')
    assert await body_of(host, b"/last") == b"found"
    assert host.status("mock").traps == 0


async def test_what_the_host_refuses_goes_on_to_the_origin(host: Host, directory: Path) -> None:
    await start(host, directory, 'path = "/"\nstatus = 204\nbody = "no room for it"')
    assert await ask(host, b"/") is CONTINUE
    assert host.texts(LogLevel.WARN) == ["the host refused an answer; the request goes on"]


@pytest.mark.parametrize("config", ["", "[config]\n", "[config]\nanswers = []"])
async def test_without_answers_everything_goes_on(host: Host, directory: Path, config: str) -> None:
    configure(host, directory, config)
    assert (await host.start()).refused == ()
    assert await ask(host, b"/int3-mock") is CONTINUE


@pytest.mark.parametrize(
    "config",
    [
        "[config]\nanswer = []",
        "[config]\nanswers = 5",
        "[config]\nanswers = [5]",
        '[[config.answers]]\nbody = "for whom?"',
        '[[config.answers]]\npath = "/"\nprefix = "/"',
        '[[config.answers]]\npath = "/"\nstatus = 101',
        '[[config.answers]]\npath = "/"\nstatus = 2000',
        '[[config.answers]]\npath = "/"\nstatus = "200"',
        '[[config.answers]]\npath = "/"\nheaders = { A = 1 }',
        '[[config.answers]]\npath = "/"\nheaders = ["A"]',
        '[[config.answers]]\npath = "/"\nbody = 5',
        '[[config.answers]]\npath = "/"\ncode = 5',
        '[[config.answers]]\npath = "/"\n[config.more]\nx = 1',
        f'[[config.answers]]\npath = "/"\nbody = "{"x" * 61440}"',
    ],
)
async def test_a_configuration_it_does_not_know_is_declined(
    host: Host, directory: Path, config: str
) -> None:
    configure(host, directory, config)
    ((_, why),) = (await host.start()).refused
    assert why == "plugin_init returned 1; 0 means ready"
    assert any(text.startswith("config ") for text in host.texts(LogLevel.ERROR))
