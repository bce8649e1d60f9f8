from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.model.host_names import to_a_labels


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.com", "EXAMPLE.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),  # IDNA 2003 made another name of it
        ("βόλος.example", "xn--nxasmm1c.example"),
        ("bu\N{COMBINING DIAERESIS}cher.example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("ｅｘａｍｐｌｅ.com", "example.com"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("my_host.bücher.example", "my_host.xn--bcher-kva.example"),
        ("bücher.example.", "xn--bcher-kva.example."),
    ],
)
def test_name_becomes_what_dns_has(name: str, expected: str) -> None:
    assert to_a_labels(name) == expected


@pytest.mark.parametrize(
    "name",
    ["xn--\N{SNOWMAN}.example", "ü" * 64, "ü" * 300, "a\N{ZERO WIDTH NON-JOINER}b", "\udcff"],
)
def test_name_that_dns_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        to_a_labels(name)


@given(st.text(max_size=40))
def test_any_name_becomes_ascii_or_is_refused(name: str) -> None:
    try:
        made = to_a_labels(name)
    except ValueError:
        return
    assert made.isascii()
    assert to_a_labels(made) == made
