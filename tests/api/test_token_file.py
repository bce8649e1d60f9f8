from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from proxy_core.api.token_file import load_or_make_token, read_token
from proxy_core.errors import ConfigError, PrivateFileError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "api" / "token"


def test_the_first_run_makes_a_private_token(path: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        token = load_or_make_token(path, tmp_path / "data")
    finally:
        os.umask(before)
    assert token.is_new
    assert len(token.secret) >= 43
    assert path.read_bytes() == token.secret + b"\n"
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["token"]


def test_it_is_private_before_its_first_byte(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    real_open = os.open

    def watched(path: os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            opened.append(mode)
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", watched)
    load_or_make_token(path, tmp_path / "data")
    assert opened == [0o600]


def test_later_runs_read_it(path: Path, tmp_path: Path) -> None:
    made = load_or_make_token(path, tmp_path / "data")
    again = load_or_make_token(path, tmp_path / "data")
    assert (again.secret, again.is_new, again.repairs) == (made.secret, False, ())
    assert read_token(path) == made.secret


def test_two_first_runs_make_different_tokens(tmp_path: Path) -> None:
    made = {load_or_make_token(tmp_path / name / "token", tmp_path).secret for name in "ab"}
    assert len(made) == 2


def test_one_that_is_open_to_others_is_closed_loudly(path: Path, tmp_path: Path) -> None:
    load_or_make_token(path, tmp_path / "data")
    path.chmod(0o644)
    path.parent.chmod(0o755)
    token = load_or_make_token(path, tmp_path / "data")
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    directory, file = token.repairs
    assert "mode 0755" in directory
    assert "mode 0644" in file
    assert "have a new token made" in file


def test_one_that_cannot_be_closed_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_or_make_token(path, tmp_path / "data")
    path.chmod(0o644)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(PrivateFileError, match=r"open to other users .*--api-token-file"):
        load_or_make_token(path, tmp_path / "data")


def test_another_user_s_file_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_or_make_token(path, tmp_path / "data")
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(PrivateFileError, match="belongs to another user"):
        load_or_make_token(path, tmp_path / "data")


def test_a_file_elsewhere_is_made_and_its_directory_left_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir(mode=0o755)
    token = load_or_make_token(place / "token", tmp_path / "data")
    assert mode(place / "token") == 0o600
    assert mode(place) == 0o755
    assert token.is_new


@pytest.mark.parametrize(
    "content", [b"", b"short", b"two words of a token", b"x" * 600, b"\xff" * 20]
)
def test_what_is_no_token_is_refused_without_telling_it(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"holds no token .*; delete it") as caught:
        load_or_make_token(path, path.parent)
    assert "words" not in str(caught.value)


def test_it_is_not_in_what_is_printed_of_it(path: Path, tmp_path: Path) -> None:
    token = load_or_make_token(path, tmp_path)
    assert token.secret.decode() not in repr(token)


def test_a_client_is_told_where_there_is_none(path: Path) -> None:
    assert read_token(path) is None
