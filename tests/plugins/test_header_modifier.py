"""header-modifier: what its configuration says is done, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_core.model.headers import Field
from proxy_core.model.log_line import LogLevel
from tests.plugin_host.guests import Host, make_flow, respond_with
from tests.plugins.conftest import install

FIELDS: tuple[Field, ...] = ((b"Server", b"secret"), (b"X-Keep", b"1"), (b"server", b"too"))


async def start(host: Host, directory: Path, config: str | None) -> None:
    manifest = install(host, directory, "header-modifier")
    if config is not None:
        text, _, _ = manifest.read_text().partition("[config]")
        manifest.write_text(f"{text}{config}", encoding="utf-8")
    report = await host.start()
    assert report.refused == ()


async def both_ways(host: Host) -> tuple[list[Field], list[Field]]:
    """The header fields of a request and a response that went through."""
    flow = make_flow(FIELDS)
    await host.request(flow)
    respond_with(flow, 200, FIELDS)
    await host.response(flow)
    assert flow.response is not None
    return flow.request.headers.fields, flow.response.headers.fields


async def test_as_it_comes_it_marks_requests_and_responses(host: Host, directory: Path) -> None:
    await start(host, directory, None)
    expected = [*FIELDS, (b"X-Plugin-Modified", b"true")]
    assert await both_ways(host) == (expected, expected)


async def test_headers_are_removed_and_added_in_order(host: Host, directory: Path) -> None:
    config = '[config]\nremove = ["Server", "absent"]\nadd = { Server = "int3", A = "1", B = "2" }'
    await start(host, directory, config)
    expected = [(b"X-Keep", b"1"), (b"Server", b"int3"), (b"A", b"1"), (b"B", b"2")]
    assert await both_ways(host) == (expected, expected)


async def test_one_direction_may_have_its_own(host: Host, directory: Path) -> None:
    config = (
        '[config.request]\nadd = { To = "origin" }\n'
        '[config.response]\nremove = ["server"]\nadd = { To = "client" }\n'
        "[config]\n"
    )
    await start(host, directory, config.replace("[config]\n", ""))
    request, response = await both_ways(host)
    assert request == [*FIELDS, (b"To", b"origin")]
    assert response == [(b"X-Keep", b"1"), (b"To", b"client")]


async def test_after_one_direction_the_rest_is_for_both(host: Host, directory: Path) -> None:
    config = 'config = { request = { add = { A = "1" } }, add = { B = "2" } }\n'
    manifest = install(host, directory, "header-modifier")
    manifest.write_text(
        f'name = "header-modifier"\nwasm = "header-modifier.wasm"\n{config}', encoding="utf-8"
    )
    assert (await host.start()).refused == ()
    request, response = await both_ways(host)
    assert request == [*FIELDS, (b"A", b"1"), (b"B", b"2")]
    assert response == [*FIELDS, (b"B", b"2")]


async def test_escapes_and_text_beyond_ascii_arrive_as_meant(host: Host, directory: Path) -> None:
    await start(host, directory, "[config]\nadd = { E = '\"a\\b/\u00e9, {[:]}\"' }")
    request, _ = await both_ways(host)
    assert request[-1] == (b"E", '"a\\b/\u00e9, {[:]}"'.encode())


async def test_without_configuration_nothing_is_changed(host: Host, directory: Path) -> None:
    await start(host, directory, "")
    assert await both_ways(host) == (list(FIELDS), list(FIELDS))


async def test_empty_lists_are_fine(host: Host, directory: Path) -> None:
    await start(host, directory, "[config]\nadd = {}\nremove = []\nrequest = {}")
    assert await both_ways(host) == (list(FIELDS), list(FIELDS))


async def test_what_the_host_refuses_is_logged_and_the_rest_is_done(
    host: Host, directory: Path
) -> None:
    await start(host, directory, '[config]\nadd = { "Content-Length" = "5", A = "1" }')
    request, _ = await both_ways(host)
    assert request == [*FIELDS, (b"A", b"1")]
    assert host.texts(LogLevel.WARN) == ["the host refused a change"] * 2


@pytest.mark.parametrize(
    "config",
    [
        "[config]\nset = { A = '1' }",
        "[config]\nadd = { A = 1 }",
        "[config]\nadd = 'A'\nremove = true",
        "[config.request.request]\nadd = 5",
        '[config]\nadd = { A = "line\\nbreak" }',
        f"[config]\nremove = ['{'x' * 9000}']",
    ],
)
async def test_a_configuration_it_does_not_know_is_declined(
    host: Host, directory: Path, config: str
) -> None:
    manifest = install(host, directory, "header-modifier")
    text, _, _ = manifest.read_text().partition("[config]")
    manifest.write_text(f"{text}{config}", encoding="utf-8")
    report = await host.start()
    ((_, why),) = report.refused
    assert why == "plugin_init returned 1; 0 means ready"
    assert any(text.startswith("config takes") for text in host.texts(LogLevel.ERROR))
