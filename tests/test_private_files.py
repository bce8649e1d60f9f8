from __future__ import annotations

import stat
from pathlib import Path

import pytest

from proxy_core.errors import PrivateFileError
from proxy_core.private_files import (
    NotPrivate,
    private_directory,
    publish_private,
    read_private,
    write_private,
)
from proxy_core.secret_files import read_secret, secret_directory


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_missing_parents_are_private_too(tmp_path: Path) -> None:
    assert private_directory(tmp_path / "a" / "b") is None
    assert [mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")] == [0o700, 0o700]


def test_directory_that_others_could_use_is_closed_and_told_of(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert secret_directory(tmp_path) == [
        f"{tmp_path} was open to other users (mode 0755); it is 0700 now"
    ]
    assert mode_of(tmp_path) == 0o700


def test_file_where_a_directory_should_be_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o644)
    with pytest.raises(PrivateFileError, match="is a file, not a directory"):
        secret_directory(path)
    assert mode_of(path) == 0o644


def test_file_is_published_once_and_replaced_as_often_as_wanted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert publish_private(path, b"one", b"two", mode=0o644)
    assert not publish_private(path, b"three")
    assert (path.read_bytes(), mode_of(path)) == (b"onetwo", 0o644)
    write_private(path, b"four")
    assert (path.read_bytes(), mode_of(path)) == (b"four", 0o600)
    assert list(tmp_path.iterdir()) == [path]  # no draft is left behind


def test_file_is_read_up_to_a_byte_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert read_private(path, 4) is None
    write_private(path, b"123456")
    assert read_private(path, 4) == b"12345"


@pytest.mark.parametrize("kind", ["directory", "open to others"])
def test_what_is_not_private_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "directory":
        path.mkdir()
    else:
        path.touch()
        path.chmod(0o640)
    with pytest.raises(NotPrivate, match="no regular file" if path.is_dir() else "mode 0640"):
        read_private(path, 4)


def test_secret_behind_a_link_is_read_and_a_file_of_the_hosts_own_is_not(tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", tmp_path / "link"
    write_private(secret, b"hush")
    link.symlink_to(secret)
    assert read_secret(link, "make a new one") == (b"hush", [])
    with pytest.raises(OSError, match="symbolic links"):
        read_private(link, 4)
