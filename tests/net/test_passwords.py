from __future__ import annotations

import asyncio
import base64
import os
import threading
from pathlib import Path

import bcrypt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy_core.errors import ConfigError
from proxy_core.net.passwords import Passwords

APR1 = "$apr1$abcdefgh$umV7Hk9DYlYPq9YyaJkW60"
LONG = "pa ss:wört-very-long-indeed-1234567890"


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


def test_the_one_user_is_accepted_and_nobody_else() -> None:
    passwords = Passwords("me:se:cret")
    assert passwords.accept("me", "se:cret")
    assert not passwords.accept("me", "se")
    assert not passwords.accept("you", "se:cret")
    assert not passwords.accept("", "")


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (basic("me:secret"), True),
        (b"basic   " + base64.b64encode(b"me:secret"), True),
        (basic("me:wrong"), False),
        (basic("mesecret"), False),
        (b"Basic !!!", False),
        (b"Basic", False),
        (b"Basic \xff", False),
        (b"Basic " + base64.b64encode(b"\xff:\xff"), False),
        (b"Bearer " + base64.b64encode(b"me:secret"), False),
        (b"", False),
        (None, False),
    ],
)
async def test_field_is_read_as_rfc_7617_says(value: bytes | None, accepted: bool) -> None:
    assert await Passwords("me:secret").admit_header(value) is accepted


async def test_a_file_may_hold_what_htpasswd_writes(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    file = tmp_path / "users"
    lines = ["# people", "", f"a:{APR1}", "b:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", f"c:{hashed}"]
    file.write_text("\n".join(lines), encoding="utf-8")
    passwords = Passwords(f"@{file}")
    for user, password in (("a", LONG), ("b", "secret"), ("c", "secret")):
        for _ in range(2):
            assert passwords.accept(user, password)
        assert not passwords.accept(user, password + "x")
    assert not passwords.accept("d", "secret")
    assert await passwords.admit_header(basic("c:secret"))


async def test_what_is_no_utf_8_is_taken_as_it_is() -> None:
    passwords = Passwords(os.fsdecode(b"me:\xe9"))
    assert await passwords.admit_header(b"Basic " + base64.b64encode(b"me:\xe9"))
    assert not await passwords.admit_header(b"Basic " + base64.b64encode(b"me:\xff"))


async def test_a_password_that_takes_long_holds_up_nobody_who_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "users"
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    file.write_text(f"me:{hashed}\n", encoding="utf-8")
    passwords = Passwords(f"@{file}")
    assert await passwords.admit("me", "secret")
    go_on = threading.Event()

    def check(password: bytes, stored: bytes) -> bool:
        return go_on.wait(10) and False

    monkeypatch.setattr(bcrypt, "checkpw", check)
    async with asyncio.TaskGroup() as group:
        guesses = [group.create_task(passwords.admit("me", str(number))) for number in range(3)]
        await asyncio.sleep(0)
        assert await passwords.admit("me", "secret")
        go_on.set()
    assert not any(guess.result() for guess in guesses)
    passwords.close()


def test_an_unknown_name_takes_as_long_as_a_known_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    file = tmp_path / "users"
    file.write_text(f"me:{hashed}\n", encoding="utf-8")
    passwords = Passwords(f"@{file}")
    checked: list[bytes] = []
    really = bcrypt.checkpw

    def check(password: bytes, stored: bytes) -> bool:
        checked.append(password)
        return really(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", check)
    assert not passwords.accept("you", "secret")
    assert not passwords.accept("me", "other")
    assert checked == [b"secret", b"other"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "names nobody"),
        (b"me:plain\n", "line 1 of .* has no hash that is taken .* plain text and DES are not"),
        (b"me:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nyou:rqXexS6ZhobKA\n", "line 2 of .* no hash"),
        (b"me:$2y$05$cut.short\n", "line 1 of .* has no hash that is taken"),
        (b"me:$6$rounds=999999999$salt$" + b"." * 86, "999999999 rounds, of which 1000000 are"),
        (b"# x\nnobody\n", "line 2 of .* is not USER:HASH; make it with htpasswd -B"),
        (b"me:\xff\n", "it is no text"),
    ],
)
def test_a_file_of_another_kind_is_refused(content: bytes, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        Passwords(f"@{file}")


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(no such file"):
        Passwords(f"@{tmp_path / 'none'}")
    with pytest.raises(ConfigError, match="not USER:PASSWORD"):
        Passwords("me")


_SHOWN = st.characters(exclude_categories=["C", "Z"])


@given(
    st.text(_SHOWN, min_size=1).filter(lambda user: user[0] != "@" and ":" not in user),
    st.text(_SHOWN),
)
async def test_whoever_is_named_is_accepted_by_the_field_a_client_makes(
    user: str, password: str
) -> None:
    passwords = Passwords(f"{user}:{password}")
    assert await passwords.admit_header(basic(f"{user}:{password}"))
    assert not await passwords.admit_header(basic(f"{user}:{password}x"))
    assert not await passwords.admit_header(basic(f"x{user}:{password}"))


@given(
    st.binary(max_size=40)
    | st.binary(max_size=20).map(lambda raw: b"Basic " + base64.b64encode(raw))
)
async def test_any_field_is_somebody_s_or_nobody_s(value: bytes) -> None:
    assert await Passwords("me:secret").admit_header(value) is (value == basic("me:secret"))


_LINES = st.lists(
    st.sampled_from(
        ["me", ":", "$apr1$", "$apr1$a$b", "{SHA}", "$2y$", "$2y$05$x", "#", "\n", "\x00", "ü"]
    ),
    max_size=12,
).map("".join)


@given(_LINES | st.text(max_size=60))
@example("me:$apr1$ü")
@example("me:{SHA}ü")
@example("me:$2y$05$ü")
@settings(max_examples=50)  # each looks at passwords six times, which is meant to take long
def test_any_file_is_refused_or_lets_nobody_in_by_accident(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.mktemp("users", numbered=True) / "users"
    file.write_bytes(text.encode(errors="replace"))
    try:
        passwords = Passwords(f"@{file}")
    except ConfigError:
        return
    for user in ("me", ""):
        for password in ("", "secret", "\0"):
            assert not passwords.accept(user, password)
