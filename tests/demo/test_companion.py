"""The demo beside a core: settings, traffic of every kind, and nothing left behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from int3rceptor_tui.demo import companion
from int3rceptor_tui.demo.companion import Demo, bundled_plugins, prepare_demo
from proxy_core.config import ModeSpec, RegularMode, ReverseMode, Settings
from proxy_core.errors import ConfigError
from tests.demo.passing_proxy import PassingProxy
from tests.waiting import until

BEGIN = b"-----BEGIN CERTIFICATE-----"


def settings_in(directory: Path) -> Settings:
    return Settings(data_dir=directory, mode=(ModeSpec(RegularMode()),))


def test_the_settings_trust_the_demo_origin(tmp_path: Path) -> None:
    settings, _demo = prepare_demo(settings_in(tmp_path))
    assert settings.upstream_ca is not None
    assert settings.upstream_ca.read_bytes().count(BEGIN) == 1


def test_the_user_s_own_upstream_ca_stays_trusted(tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    other = Demo()
    own.write_bytes(other.trust(None).read_bytes())
    settings, _demo = prepare_demo(replace(settings_in(tmp_path), upstream_ca=own))
    assert settings.upstream_ca is not None
    combined = settings.upstream_ca.read_bytes()
    assert combined.count(BEGIN) == 2
    assert own.read_bytes().strip() in combined


def test_an_upstream_ca_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        prepare_demo(replace(settings_in(tmp_path), upstream_ca=missing))


def test_a_reverse_proxy_has_no_demo(tmp_path: Path) -> None:
    mode = (ModeSpec(ReverseMode("https", "example.com", 443)),)
    with pytest.raises(ConfigError, match="reverse:https"):
        prepare_demo(replace(settings_in(tmp_path), mode=mode))


def test_bundled_plugins_are_added_once_after_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companion, "bundled_plugins", lambda: tmp_path / "bundled")
    own = tmp_path / "own"
    settings, _ = prepare_demo(replace(settings_in(tmp_path), plugins=(own,)))
    assert settings.plugins == (own, tmp_path / "bundled")
    again, _ = prepare_demo(settings)
    assert again.plugins == settings.plugins


def test_bundled_plugins_are_those_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "checkout" / "int3rceptor_tui"
    package.mkdir(parents=True)
    monkeypatch.setattr("int3rceptor_tui.__file__", str(package / "__init__.py"))
    assert bundled_plugins() is None
    beside = package.parent / "plugins" / "one" / "plugin.toml"
    within = package / "bundled_plugins" / "one" / "plugin.toml"
    for manifest in (beside, within):
        manifest.parent.mkdir(parents=True)
        manifest.touch()
        assert bundled_plugins() == manifest.parent.parent


def test_the_private_files_go_with_the_demo(tmp_path: Path) -> None:
    settings, demo = prepare_demo(settings_in(tmp_path))
    assert settings.upstream_ca is not None
    directory = settings.upstream_ca.parent
    assert directory.stat().st_mode & 0o077 == 0
    del demo
    assert not directory.exists()


async def show_until_cancelled(demo: Demo, core: PassingProxy) -> None:
    wanted = core.connections + 6
    task = asyncio.get_running_loop().create_task(demo(core))
    await until(lambda: core.connections >= wanted or task.done())
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_traffic_of_every_kind_flows_until_it_is_cancelled() -> None:
    demo = Demo()
    async with PassingProxy(demo.trust(None)) as core:
        await show_until_cancelled(demo, core)
        # A core that died may be started again, beside the same demo.
        await show_until_cancelled(demo, core)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_core_that_is_gone_does_not_end_the_demo() -> None:
    demo = Demo()
    async with PassingProxy(demo.trust(None)) as core:
        pass
    task = asyncio.get_running_loop().create_task(demo(core))
    await asyncio.sleep(0.1)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
