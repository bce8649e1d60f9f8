from __future__ import annotations

import msgspec
import pytest

from int3rceptor_tui.view_model.welcome_lines import welcome_lines
from tests.tui.fake_control import FakeControl


def text_for(*modes: str, note: str = "") -> str:
    listening = tuple(f"127.0.0.1:{8080 + number}" for number in range(len(modes)))
    status = msgspec.structs.replace(
        FakeControl().core_status, modes=modes, listening=listening, ca_path="/d/it's ca.pem"
    )
    return "\n".join("".join(text for text, _ in line) for line in welcome_lines(status, note))


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("regular", "curl -x http://127.0.0.1:8080 --cacert $CA https://example.com/"),
        ("regular", "http://int3rceptor.internal/"),
        ("upstream:http://proxy:3128", "export http_proxy=http://127.0.0.1:8080"),
        ("socks5", "curl -x socks5h://127.0.0.1:8080"),
        ("reverse:https://o.example:443", "curl http://127.0.0.1:8080/"),
        ("reverse:tcp://db.example:5432", "Connect to it instead of to db.example:5432"),
        ("transparent", "docs/transparent.md"),
    ],
)
def test_each_mode_says_how_to_use_it(mode: str, words: str) -> None:
    text = text_for(mode)
    assert words in text
    assert "? keys" in text


def test_every_listener_is_named_and_paths_are_quoted() -> None:
    text = text_for("regular", "socks5")
    assert "listens on 127.0.0.1:8080\n" in text
    assert "listens on 127.0.0.1:8081  socks5" in text
    assert """CA='/d/it'"'"'s ca.pem'""" in text


def test_what_the_console_itself_has_to_say_comes_first() -> None:
    assert (
        text_for("regular", note="port \x1b taken").strip().splitlines()[-1] == "port \u241b taken"
    )


@pytest.mark.parametrize("mode", ["regular", "socks5", "reverse:https://o.example:443"])
def test_it_fits_80_columns_and_24_lines(mode: str) -> None:
    lines = text_for(mode).replace("/d/it's", "/var/lib/somebody/data/int3rceptor/ca").splitlines()
    assert len(lines) <= 21
