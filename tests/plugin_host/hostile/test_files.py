"""Files that are not what they are called, are elsewhere, or have no end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy_core.model.verdict import CONTINUE
from proxy_core.plugin_host.files.module_file import MODULE_BYTES
from tests.plugin_host.guests import Host, guest, make_flow

GOOD = guest("i32.const 0")


async def only_refusal(host: Host) -> str:
    report = await host.start()
    assert report.added == ()
    assert host.hooks.request is None
    ((_, why),) = report.refused
    return why


@pytest.mark.parametrize(
    "name",
    [
        "a b.wasm",
        "a\nb.wasm",
        "a\tb.wasm",
        "-rf.wasm",
        "a..\x1b[31m.wasm",
        "$(reboot).wasm",
        "\u202ea.wasm",
        "é.wasm",
        "a" * 65 + ".wasm",
    ],
)
async def test_files_with_odd_names_are_refused(host: Host, name: str) -> None:
    (host.directory / name).write_bytes(GOOD)
    assert "cannot be a plugin's name" in await only_refusal(host)


@pytest.mark.parametrize("name", [".hidden.wasm", "..wasm", "a.wasm.bak", "wasm"])
async def test_files_that_are_not_called_plugins_are_not_looked_at(host: Host, name: str) -> None:
    (host.directory / name).write_bytes(GOOD)
    report = await host.start()
    assert (report.added, report.refused) == ((), ())


@pytest.mark.parametrize(
    "wasm",
    [
        "../outside.wasm",
        "sub/../../outside.wasm",
        "/etc/passwd",
        "a\\\\..\\\\b.wasm",
        "C:outside.wasm",
        "a\\nb.wasm",
        "",
    ],
)
async def test_a_manifest_names_a_file_of_its_own(host: Host, wasm: str) -> None:
    (host.directory / "outside.wasm.x").write_bytes(GOOD)
    place = host.directory / "hostile"
    place.mkdir()
    (place / "plugin.toml").write_text(f'name = "hostile"\nwasm = "{wasm}"\n')
    assert "inside the plugin's own directory" in await only_refusal(host)


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ('name = "../x"\nwasm = "m.wasm"', "cannot be a plugin's name"),
        ('name = "a\\nb"\nwasm = "m.wasm"', "cannot be a plugin's name"),
        ('name = "x"\nwasm = "m.wasm"\ndescription = "\\u001b[2J"', "printable line"),
        ('name = "x"\nwasm = "m.wasm"\nversion = "\\u202e"', "printable line"),
        ('name = "x"\nwasm = "m.wasm"\npriority = 1e400', "whole number"),
        ('name = "x"\nwasm = "m.wasm"\n[limits]\nfuel = 99999999999999', "from 1 to"),
        ("name = [" * 500, "not valid TOML"),
        ("#" * 70_000, "larger than 65536 bytes"),
    ],
)
async def test_hostile_manifests_are_refused(host: Host, manifest: str, why: str) -> None:
    place = host.directory / "hostile"
    place.mkdir()
    (place / "plugin.toml").write_text(manifest)
    assert why in await only_refusal(host)


async def test_a_manifest_that_is_no_text_is_refused(host: Host) -> None:
    place = host.directory / "hostile"
    place.mkdir()
    (place / "plugin.toml").write_bytes(b'name = "\xff\xfe"')
    assert "not UTF-8" in await only_refusal(host)


async def test_links_out_of_the_directory_are_refused(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(GOOD)
    inside = host.directory / "plugins"
    inside.mkdir()
    (inside / "link.wasm").symlink_to(outside / "secret")
    assert "leads out of" in await only_refusal(host)


async def test_links_in_a_circle_are_refused(host: Host) -> None:
    (host.directory / "a.wasm").symlink_to(host.directory / "b.wasm")
    (host.directory / "b.wasm").symlink_to(host.directory / "a.wasm")
    report = await host.start()
    assert report.added == ()
    assert len(report.refused) == 2
    assert all("cannot be" in why for _, why in report.refused)


async def test_a_link_to_nothing_is_refused(host: Host) -> None:
    (host.directory / "a.wasm").symlink_to(host.directory / "b")
    assert "cannot be read" in await only_refusal(host)


async def test_a_directory_called_like_a_module_is_refused(host: Host) -> None:
    (host.directory / "a.wasm").mkdir()
    assert "cannot be read" in await only_refusal(host)


async def test_a_pipe_is_refused_without_waiting_for_its_writer(host: Host) -> None:
    os.mkfifo(host.directory / "a.wasm")
    assert "not a regular file" in await only_refusal(host)


async def test_a_device_without_end_is_refused(host: Host) -> None:
    (host.directory / "a.wasm").symlink_to("/dev/zero")
    assert "leads out of" in await only_refusal(host)


async def test_a_huge_file_is_refused(host: Host) -> None:
    with (host.directory / "a.wasm").open("wb") as file:
        file.write(GOOD)
        file.truncate(MODULE_BYTES + 1)
    assert f"larger than {MODULE_BYTES} bytes" in await only_refusal(host)


@pytest.mark.parametrize("length", range(0, len(GOOD), 7))
async def test_a_file_cut_anywhere_is_refused(host: Host, length: int) -> None:
    (host.directory / "a.wasm").write_bytes(GOOD[:length])
    await only_refusal(host)


async def test_a_directory_of_bad_files_leaves_the_good_one_alone(host: Host) -> None:
    for number in range(50):
        (host.directory / f"bad{number}.wasm").write_bytes(b"\0asm" + bytes([number]) * number)
    (host.directory / "good.wasm").write_bytes(GOOD)
    report = await host.start()
    assert report.added == ("good",)
    assert len(report.refused) == 50
    assert await host.request(make_flow()) is CONTINUE
