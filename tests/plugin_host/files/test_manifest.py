"""plugin.toml: what is taken, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy_core.plugin_host.faults import ManifestError
from proxy_core.plugin_host.files.manifest import GuestLimits, Permissions, for_bare_module, parse

LEAST = 'name = "x"\nwasm = "x.wasm"\n'


def test_defaults_are_those_of_the_abi_page() -> None:
    manifest = parse(LEAST)
    assert manifest.priority == 100
    assert manifest.enabled
    assert manifest.on_failure == "open"
    assert not manifest.single_instance
    assert manifest.permissions == Permissions(True, True, True)
    assert manifest.limits == GuestLimits(1_000_000, 5000, 10, 200, 1_048_576)
    assert manifest.config == b"{}"


def test_every_key_is_read() -> None:
    manifest = parse(
        """
        name = "header-modifier"
        version = "1.2.3"
        description = "Adds headers"
        wasm = "build/header_modifier.wasm"
        priority = -5
        enabled = false
        on_failure = "closed"
        single_instance = true
        filter = ""
        [permissions]
        modify_requests = false
        modify_responses = false
        access_bodies = false
        network = ["API.example.com:443", "*.example.org"]
        filesystem = ["/srv/lists/", "~/lists", "data"]
        [limits]
        fuel = 5
        deadline_ms = 6
        memory_mb = 7
        log_lines_per_second = 8
        kv_bytes = 9
        [config]
        add = { "X-Plugin-Modified" = "true" }
        nested = { list = [1, 2.5, true, "\u00e9\\""] }
        """
    )
    assert (manifest.name, manifest.version, manifest.description) == (
        "header-modifier",
        "1.2.3",
        "Adds headers",
    )
    assert manifest.wasm == "build/header_modifier.wasm"
    assert manifest.priority == -5
    assert not manifest.enabled
    assert manifest.on_failure == "closed"
    assert manifest.single_instance
    assert manifest.permissions.names() == ("network", "filesystem")
    assert manifest.permissions.network == ("api.example.com:443", "*.example.org")
    assert manifest.permissions.filesystem == ("/srv/lists", "~/lists", "data")
    assert manifest.limits == GuestLimits(5, 6, 7, 8, 9)
    assert json.loads(manifest.config) == {
        "add": {"X-Plugin-Modified": "true"},
        "nested": {"list": [1, 2.5, True, '\u00e9"']},
    }
    assert b" " not in manifest.config


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ("colour = 1", "'colour'"),
        ("[limits]\nfuels = 1", "'limits.fuels'"),
        ("[permissions]\nmodify = true", "'permissions.modify'"),
        ("priority = 1.5", "priority is 1.5"),
        ("priority = true", "priority is True"),
        ('enabled = "yes"', "enabled must be a boolean"),
        ('on_failure = "maybe"', "on_failure is 'maybe'"),
        ('permissions = "all"', "permissions must be a table"),
        ("[permissions]\naccess_bodies = 1", "access_bodies must be a boolean"),
        ("[limits]\nfuel = 0", "limits.fuel is 0"),
        ("[limits]\nmemory_mb = 100000", "limits.memory_mb is 100000"),
        ("[limits]\ndeadline_ms = -1", "limits.deadline_ms is -1"),
        ('version = "1\\n2"', "version must be one printable line"),
        ('description = "\\u001b[31m"', "description must be one printable line"),
        ('filter = "~zz"', "filter is '~zz'"),
        ("filter = 1", "filter must be a string"),
        ("tick_ms = 1", "tick_ms is 1; it must be a whole number from 10"),
        ("[permissions]\nnetwork = true", "network must be a list"),
        ('[permissions]\nnetwork = ["*"]', "permissions.network has '*'"),
        ('[permissions]\nfilesystem = ["/"]', "permissions.filesystem has '/'"),
        ("[config]\nwhen = 2020-01-01", "config cannot be written as JSON"),
        ("[config]\nmuch = inf", "config cannot be written as JSON"),
        ("[config]\nlong = '" + "x" * 65536 + "'", "config has 65547 bytes"),
        ("name = 'again'", "not valid TOML"),
        ("= =", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_refused_by_name(extra: str, named: str) -> None:
    with pytest.raises(ManifestError, match=named.replace("(", r"\(").replace("[", r"\[")):
        parse(LEAST + extra)


@pytest.mark.parametrize("key", ["name", "wasm"])
def test_name_and_module_are_needed(key: str) -> None:
    lines = [line for line in LEAST.splitlines() if not line.startswith(key)]
    with pytest.raises(ManifestError, match=f"{key} is missing"):
        parse("\n".join(lines))


@pytest.mark.parametrize(
    "path",
    [
        "../x.wasm",
        "a/../../x.wasm",
        "/etc/x.wasm",
        "",
        "..",
        "c:x.wasm",
        "a\\\\b.wasm",
        "a\\nb.wasm",
    ],
)
def test_a_module_outside_the_directory_is_refused(path: str) -> None:
    with pytest.raises(ManifestError, match="inside the plugin's own directory"):
        parse(f'name = "x"\nwasm = "{path}"\n')


@pytest.mark.parametrize("name", ["", "../x", "a b", "a\\nb", "-x", ".x", "x" * 65, "\u00e9"])
def test_names_that_could_be_mistaken_are_refused(name: str) -> None:
    with pytest.raises(ManifestError, match="cannot be a plugin's name"):
        parse(f'name = "{name}"\nwasm = "x.wasm"\n')


def test_a_bare_module_is_named_after_its_file() -> None:
    manifest = for_bare_module(Path("/somewhere/request_counter.wasm"))
    assert manifest.name == "request_counter"
    assert manifest.wasm == "request_counter.wasm"
    assert manifest.limits == GuestLimits()


def test_a_bare_module_needs_a_file_name_that_is_a_name() -> None:
    with pytest.raises(ManifestError, match="my plugin"):
        for_bare_module(Path("my plugin.wasm"))
