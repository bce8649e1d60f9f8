"""Replacements, as they are given in settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.config import Replacement, parse_replacement
from proxy_core.errors import ConfigError


def test_a_replacement_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"\\n from /a/ file")
    made = parse_replacement("/~q/a/@new", tmp_path)
    assert made == Replacement("a", b"\\n from /a/ file", "~q")


@pytest.mark.parametrize(
    ("text", "fact", "remedy"),
    [
        ("", "too few parts", "write /REGEX/REPLACEMENT"),
        ("/a", "too few parts", "write /REGEX/REPLACEMENT"),
        ("//b", "the regular expression is empty", "write one"),
        ("/~q//b", "the regular expression is empty", "write one"),
        (r"/a/\q", r"\q stands for nothing", "for a backslash"),
        ("/a/\\", "stands for nothing", "for a backslash"),
        ("|a|@/no/such", "cannot be read (no such file", "name a file"),
        ("/a/@.", "cannot be read (is a directory", "name a file"),
        ("/a/@\0", "cannot be read", "name a file"),
    ],
)
def test_a_replacement_that_is_none_is_refused(text: str, fact: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_replacement(text)
    assert fact in str(caught.value)
    assert remedy in str(caught.value).rsplit("; ", 1)[1]


@given(st.text(alphabet="/|a\\\\nx04@~\0\udcff\n", max_size=12))
def test_any_text_is_a_replacement_or_an_error_of_ours(text: str) -> None:
    try:
        made = parse_replacement(text)
    except ConfigError:
        return
    assert made.pattern
    assert made.filter is None or made.filter in text


@given(st.binary(max_size=20))
def test_any_bytes_can_be_written_as_a_replacement(content: bytes) -> None:
    text = "".join(f"\\x{byte:02x}" for byte in content)
    assert parse_replacement(f"/a/{text}").replacement == content
