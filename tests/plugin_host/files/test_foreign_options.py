"""What a manifest says of a Proxy-Wasm filter."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_core.plugin_host.faults import ManifestError, ModuleRefused
from proxy_core.plugin_host.files.discovery import Source
from proxy_core.plugin_host.files.foreign_options import ProxyWasmOptions
from proxy_core.plugin_host.files.manifest import CONFIG_BYTES, parse

BASE = 'name = "p"\nwasm = "p.wasm"\n'


def test_all_of_it_is_read() -> None:
    manifest = parse(
        BASE
        + """[proxy_wasm]
        kind = "stream"
        root_id = "r"
        vm_id = "v"
        vm_config = "text"
        upstreams = { auth = "https://127.0.0.1:8443" }
        allow_on_headers_stop_iteration = false
        """
    )
    assert manifest.proxy_wasm == ProxyWasmOptions(
        "stream", "r", "v", b"text", {"auth": "https://127.0.0.1:8443"}, False
    )


def test_none_of_it_is_needed() -> None:
    assert parse(BASE).proxy_wasm == ProxyWasmOptions()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("unknown = 1", "proxy_wasm.unknown"),
        ('kind = "grpc"', "kind"),
        ("root_id = 1", "root_id"),
        ("vm_config = {}", "vm_config"),
        ("allow_on_headers_stop_iteration = 1", "true or false"),
        ("upstreams = 1", "upstreams"),
        ('upstreams = { a = "ftp://x" }', "upstreams.a"),
        ('upstreams = { a = "http://x/path" }', "upstreams.a"),
        ("upstreams = { a = 1 }", "upstreams.a"),
    ],
)
def test_what_is_wrong_is_named(text: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        parse(f"{BASE}[proxy_wasm]\n{text}")


def a_source(directory: Path, extra: str) -> Source:
    (directory / "plugin.toml").write_text(BASE + extra)
    (directory / "p.wasm").write_bytes(b"")
    return Source(directory / "plugin.toml")


def test_a_configuration_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "filter.yaml").write_bytes(b"a: \xff\n")
    manifest, _ = a_source(tmp_path, 'config_file = "filter.yaml"').read()
    assert manifest.config == b"a: \xff\n"


def test_a_configuration_file_is_limited_and_stays_inside(tmp_path: Path) -> None:
    with pytest.raises(ModuleRefused, match="cannot be read"):
        a_source(tmp_path, 'config_file = "absent"').read()
    (tmp_path / "large").write_bytes(bytes(CONFIG_BYTES + 1))
    with pytest.raises(ModuleRefused, match="larger"):
        a_source(tmp_path, 'config_file = "large"').read()
    with pytest.raises(ManifestError, match="config_file"):
        a_source(tmp_path, 'config_file = "../x"').read()
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ModuleRefused, match="leads out"):
        a_source(tmp_path, 'config_file = "link"').read()


def test_there_is_one_configuration(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="both"):
        parse(f'{BASE}config_file = "f"\n[config]\na = 1')
