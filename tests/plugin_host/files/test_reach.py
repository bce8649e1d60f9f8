"""Entries of `network` and `filesystem`: how they may be written, and what they cover."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_core.plugin_host.faults import ManifestError
from proxy_core.plugin_host.files.reach import (
    MOST_ENTRIES,
    check_entries,
    covers_host,
    real_directories,
)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("example.com", "example.com"),
        ("API.Example.COM:0443", "api.example.com:443"),
        ("*.example.com", "*.example.com"),
        ("*.example.com:8080", "*.example.com:8080"),
        ("localhost", "localhost"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[0:0::1]:80", "[::1]:80"),
        ("[::1]", "[::1]"),
        ("my_host", "my_host"),
    ],
)
def test_hosts_are_kept_in_one_spelling(written: str, kept: str) -> None:
    assert check_entries("network", [written]) == (kept,)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "*",
        "*:80",
        "*.*.com",
        "a.*.com",
        "*example.com",
        "http://example.com",
        "example.com/",
        "example.com:0",
        "example.com:65536",
        "example.com:",
        "example.com:\u0663",
        "user@example.com",
        "exam ple.com",
        "b\u00fccher.example",
        "::1",
        "[::1",
        "[::1]80",
        "[example.com]",
        "-a.com",
        ".com",
        "a..com",
        "a" * 64 + ".com",
        "a." * 140 + "com",
        "x" * 1001,
        "example.com\n",
        7,
    ],
)
def test_what_is_no_host_is_refused(written: object) -> None:
    with pytest.raises(ManifestError, match="network"):
        check_entries("network", [written])


@pytest.mark.parametrize(
    ("written", "kept"),
    [("/srv/lists/", "/srv/lists"), ("~", "~"), ("~/a", "~/a"), ("a/./b", "a/b"), (".", ".")],
)
def test_directories_are_kept_in_one_spelling(written: str, kept: str) -> None:
    assert check_entries("filesystem", [written]) == (kept,)


@pytest.mark.parametrize(
    "written", ["", "/", "//", "/a/../b", "..", "~root", "~root/a", "/a\0b", "/a\nb", 7, "/" * 2000]
)
def test_what_is_no_directory_is_refused(written: object) -> None:
    with pytest.raises(ManifestError, match="filesystem"):
        check_entries("filesystem", [written])


def test_entries_are_bounded_and_told_once() -> None:
    assert check_entries("network", ["a", "b", "A"]) == ("a", "b")
    with pytest.raises(ManifestError, match="65 entries; at most 64"):
        check_entries("network", ["a"] * (MOST_ENTRIES + 1))


@pytest.mark.parametrize(
    ("entry", "host", "port", "covered"),
    [
        ("example.com", "example.com", 80, True),
        ("example.com", "EXAMPLE.com.", 4711, True),
        ("example.com", "www.example.com", 80, False),
        ("example.com", "badexample.com", 80, False),
        ("example.com:443", "example.com", 443, True),
        ("example.com:443", "example.com", 80, False),
        ("*.example.com", "www.example.com", 80, True),
        ("*.example.com", "a.b.example.com", 80, True),
        ("*.example.com", "example.com", 80, False),
        ("*.example.com", "badexample.com", 80, False),
        ("*.example.com:1", "a.example.com", 2, False),
        ("[::1]:80", "0:0:0::1", 80, True),
        ("[::1]", "::2", 80, False),
        ("[::1]", "::1%eth0", 80, False),
        ("127.0.0.1", "127.0.0.1", 80, True),
    ],
)
def test_entries_cover_what_they_name(entry: str, host: str, port: int, covered: bool) -> None:
    assert covers_host([entry], host, port) is covered
    assert covers_host(["other.example", entry], host, port) is covered
    assert not covers_host([], host, port)


def test_directories_are_asked_about_where_they_really_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "secret").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "secret")
    asked = real_directories(["data", "~/x", "/srv/a", "new"], tmp_path)
    real = tmp_path.resolve()
    assert asked == (f"{real}/secret", f"{real}/home/x", "/srv/a", f"{real}/new")
