"""HTML and XML, laid out for reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int3rceptor_tui.view_model.content import Content
from int3rceptor_tui.view_model.markup_text import looks_like_markup, markup_lines
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import BodyView


def shown(text: str, is_xml: bool = False) -> list[str]:
    lines = markup_lines(text, is_xml)
    assert lines is not None
    return ["".join(piece for piece, _ in lines.line(at)) for at in range(len(lines))]


def test_each_tag_and_text_has_a_line_and_what_is_short_stays_together() -> None:
    html = (
        "<!doctype html><html><head><title>A <b></title><meta charset=utf-8></head>"
        "<body class='x'><p>One</p><p></p><ul><li>a<li>b</ul><br/><!-- c --></body></html>"
    )
    assert shown(html) == [
        "<!doctype html>",
        "<html>",
        "  <head>",
        "    <title>A <b></title>",
        "    <meta charset=utf-8>",
        "  </head>",
        "  <body class='x'>",
        "    <p>One</p>",
        "    <p></p>",
        "    <ul>",
        "      <li>a",
        "        <li>b",
        "    </ul>",
        "    <br/>",
        "    <!-- c -->",
        "  </body>",
        "</html>",
    ]


def test_a_script_is_left_as_it_is() -> None:
    assert shown("<script>\nif (a<b) {\n  c('</p>');\n}\n</script><p>x</p>") == [
        "<script>",
        "  if (a<b) {",
        "    c('</p>');",
        "  }",
        "</script>",
        "<p>x</p>",
    ]


def test_xml_has_no_elements_without_an_end() -> None:
    xml = "<?xml version='1.0'?><a><link><b/></link><![CDATA[<x>]]></a>"
    assert shown(xml, is_xml=True) == [
        "<?xml version='1.0'?>",
        "<a>",
        "  <link>",
        "    <b/>",
        "  </link>",
        "  <![CDATA[<x>]]>",
        "</a>",
    ]


def test_what_is_no_markup_is_not_laid_out() -> None:
    assert markup_lines("no tags") is None
    assert markup_lines("<" * (513 * 1024)) is None
    assert not looks_like_markup("a < b", "text/plain")
    assert looks_like_markup(" <!DOCTYPE html>", "")
    assert looks_like_markup("<a/>", "application/atom+xml; charset=utf-8")


def test_it_is_the_first_way_to_look_at_such_a_body() -> None:
    body = b"<p>only some of it is hidden: \x1b[31m\xe2\x80\xae</p>"
    content = Content(BodyView(body, len(body), "Text/HTML; charset=utf-8"))
    assert content.modes == ("markup", "text", "hex")
    assert [piece for piece, _ in content.open("markup").line(0)][1:] == [
        "<p>",
        "only some of it is hidden: ␛[31m<U+202E>",
        "</p>",
    ]


@pytest.mark.parametrize(
    "piece", ["<!--", "<a ", "</a>", "<a>", "<", "<script>", "</script", "<![CDATA["]
)
def test_hostile_text_is_laid_out_in_one_pass(piece: str) -> None:
    lines = markup_lines(piece * (40_000 // len(piece)))
    assert lines is not None
    assert len(lines) > 0


@given(st.text(st.sampled_from("<>/!-?ab \n\"'=script"), max_size=200), st.booleans())
def test_nothing_but_white_space_is_left_out(text: str, is_xml: bool) -> None:
    lines = markup_lines(text, is_xml)
    if lines is not None:
        pieces = [piece for at in range(len(lines)) for piece, _ in lines.line(at)]
        assert "".join("".join(pieces).split()) == "".join(visible(text).replace("␊", "").split())
