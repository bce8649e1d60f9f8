from __future__ import annotations

import subprocess

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.net.password_hashes import fits, is_hash, rounds_of

LONG = "pa ss:wört-very-long-indeed-1234567890" * 3


@pytest.mark.tools("openssl")
@pytest.mark.parametrize("scheme", ["-1", "-apr1", "-5", "-6"])
@pytest.mark.parametrize("salt", ["a", "saltsalt", "./sixteen.bytes/"])
@pytest.mark.parametrize("password", ["s", "secret", LONG])
def test_what_openssl_writes_is_taken(scheme: str, salt: str, password: str) -> None:
    command = ["openssl", "passwd", scheme, "-salt", salt, "-stdin"]
    done = subprocess.run(command, input=password, capture_output=True, text=True, check=True)
    stored = done.stdout.strip()
    assert is_hash(stored)
    assert fits(password.encode(), stored)
    assert not fits(password.encode() + b"x", stored)


@pytest.mark.parametrize(
    ("password", "stored"),
    [  # from the specification of SHA-crypt
        (
            "Hello world!",
            "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
        ),
        (
            "Hello world!",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJu"
            "esI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        ),
    ],
)
def test_what_the_specification_gives_is_taken(password: str, stored: str) -> None:
    assert fits(password.encode(), stored)


@pytest.mark.parametrize("mark", ["2a", "2b", "2y"])
def test_bcrypt_is_taken_under_each_of_its_names(mark: str) -> None:
    made = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    stored = made.replace("$2b$", f"${mark}$")
    assert is_hash(stored)
    assert fits(b"secret", stored)
    assert not fits(b"secreT", stored)
    assert not fits(b"sec\0ret", stored)


def test_sha_1_without_a_salt_is_taken() -> None:
    stored = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
    assert is_hash(stored)
    assert fits(b"secret", stored)
    assert not fits(b"other", stored)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "rqXexS6ZhobKA",
        "$2y$05$x",
        "{SHA}x",
        "$1$a$b",
        "$apr1$ü$" + "." * 22,
        "{SSHA}x",
    ],
)
def test_what_is_cut_short_or_of_another_kind_is_no_hash(stored: str) -> None:
    assert not is_hash(stored)


@pytest.mark.parametrize(
    ("stored", "rounds"),
    [
        ("$5$salt$" + "." * 43, 5000),
        ("$6$rounds=10$salt$" + "." * 86, 1000),
        ("$6$rounds=70000$salt$" + "." * 86, 70000),
        ("$apr1$salt$" + "." * 22, 0),
    ],
)
def test_rounds_are_told(stored: str, rounds: int) -> None:
    assert is_hash(stored)
    assert rounds_of(stored) == rounds


@pytest.mark.parametrize("start", ["$5$salt$" + "." * 43, "$6$salt$" + "." * 86])
def test_a_password_of_many_bytes_is_not_worth_the_time(
    start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashlib.new", lambda *_: pytest.fail("it was hashed"))
    assert not fits(b"x" * 60_000, start)


@given(st.binary(max_size=80))
def test_any_password_fits_or_does_not(password: bytes) -> None:
    assert not fits(password, "$6$rounds=1000$salt$" + "." * 86)
    assert not fits(password, "$1$salt$" + "." * 22)
