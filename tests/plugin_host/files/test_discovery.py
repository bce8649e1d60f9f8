"""What is found in a directory, and what is not followed out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy_core.plugin_host.faults import ManifestError, ModuleRefused
from proxy_core.plugin_host.files.discovery import Source, scan

MANIFEST = 'name = "x"\nwasm = "x.wasm"\n'


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def found(*directories: Path) -> list[Path]:
    sources, refused = scan(directories)
    assert refused == []
    return [source.path for source in sources]


def test_manifests_and_bare_modules_are_found_in_order(tmp_path: Path) -> None:
    a = write(tmp_path / "a" / "plugin.toml", MANIFEST)
    write(tmp_path / "a" / "x.wasm")
    b = write(tmp_path / "b.wasm")
    c = write(tmp_path / "c" / "built.wasm")
    write(tmp_path / "README.md")
    write(tmp_path / "d" / "notes.txt")
    assert found(tmp_path) == [a, b, c]


def test_a_directory_that_is_a_plugin_is_found_itself(tmp_path: Path) -> None:
    manifest = write(tmp_path / "plugin.toml", MANIFEST)
    write(tmp_path / "x.wasm")
    write(tmp_path / "target" / "y.wasm")
    assert found(tmp_path) == [manifest]


def test_build_directories_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "target" / "x.wasm")
    write(tmp_path / "src" / "x.wasm")
    write(tmp_path / "sdk" / "x.wasm")
    write(tmp_path / ".x.wasm")
    write(tmp_path / ".git" / "x.wasm")
    write(tmp_path / "deep" / "deeper" / "x.wasm")
    assert found(tmp_path) == []


def test_directories_that_are_missing_or_given_twice_do_no_harm(tmp_path: Path) -> None:
    module = write(tmp_path / "x.wasm")
    assert found(tmp_path / "nowhere", tmp_path, tmp_path) == [module]


def test_a_crowded_directory_is_refused(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / f"{number}.wasm").touch()
    sources, refused = scan([tmp_path])
    assert sources == []
    ((where, why),) = refused
    assert where == str(tmp_path)
    assert "more than 1000 entries" in why


def test_what_cannot_be_looked_at_hides_no_other(tmp_path: Path) -> None:
    before = write(tmp_path / "a" / "plugin.toml", MANIFEST)
    (tmp_path / "crowded").mkdir()
    for number in range(1001):
        (tmp_path / "crowded" / str(number)).touch()
    behind = write(tmp_path / "z.wasm")
    sources, refused = scan([tmp_path])
    assert [source.path for source in sources] == [before, behind]
    crowded = str(tmp_path / "crowded")
    assert refused == [(crowded, f"cannot be read: {crowded} has more than 1000 entries")]


def test_a_manifest_that_is_no_file_is_found_and_refused(tmp_path: Path) -> None:
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "plugin.toml")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "plugin.toml").symlink_to("nowhere")
    sources, _ = scan([tmp_path])
    assert [source.label for source in sources] == ["link", "pipe"]
    for source, reason in zip(sources, ("No such file", "not a regular file"), strict=True):
        with pytest.raises(ModuleRefused, match=reason):
            source.read()


def test_a_source_reads_its_manifest(tmp_path: Path) -> None:
    source = Source(write(tmp_path / "p" / "plugin.toml", MANIFEST))
    manifest, module = source.read()
    assert manifest.name == "x"
    assert module == tmp_path / "p" / "x.wasm"
    assert source.label == "p"


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.wasm")
    source = Source(write(tmp_path / "p" / "plugin.toml", MANIFEST))
    (tmp_path / "p" / "x.wasm").symlink_to(outside)
    with pytest.raises(ModuleRefused, match="leads out of"):
        source.read()


def test_a_link_inside_the_directory_is_followed(tmp_path: Path) -> None:
    source = Source(write(tmp_path / "p" / "plugin.toml", MANIFEST))
    write(tmp_path / "p" / "build" / "y.wasm")
    (tmp_path / "p" / "x.wasm").symlink_to("build/y.wasm")
    assert source.read()[1] == tmp_path / "p" / "x.wasm"


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "p"
    source = Source(write(directory / "plugin.toml", MANIFEST))
    (directory / "x.wasm").symlink_to("y.wasm")
    (directory / "y.wasm").symlink_to("x.wasm")
    try:
        _, module = source.read()
    except ModuleRefused:
        return  # up to Python 3.12 resolving it fails
    assert not module.exists()


def test_a_manifest_must_be_text_of_modest_size(tmp_path: Path) -> None:
    path = tmp_path / "plugin.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ManifestError, match="not UTF-8"):
        Source(path).read()
    path.write_bytes(b"#" * (64 * 1024 + 1))
    with pytest.raises(ModuleRefused, match="larger than"):
        Source(path).read()
