"""The console's colours, in terminals that have fewer of them."""

from __future__ import annotations

import pytest
from rich.color import Color, ColorSystem
from textual.theme import Theme

from int3rceptor_tui.app import ConsoleApp
from int3rceptor_tui.theme import FEW_COLOURS, THEME, theme_for
from proxy_core.config import Settings


def shown(theme: Theme, name: str, system: ColorSystem) -> int | None:
    colour = getattr(theme, name, None) or theme.variables[name]
    return Color.parse(colour).downgrade(system).number


def test_what_lies_behind_text_can_be_told_apart_in_256_colours() -> None:
    behind = ("background", "surface", "panel", "resting", "block-cursor-background")
    assert len({shown(THEME, name, ColorSystem.EIGHT_BIT) for name in behind}) == len(behind)


def test_what_colours_mean_can_be_told_apart_in_16() -> None:
    meaning = ("success", "warning", "error", "notice", "foreground", "strong", "primary")
    assert len({shown(FEW_COLOURS, name, ColorSystem.STANDARD) for name in meaning}) == len(meaning)
    behind = ("background", "resting", "block-cursor-background")
    assert len({shown(FEW_COLOURS, name, ColorSystem.STANDARD) for name in behind}) == len(behind)


def test_both_themes_name_the_same_colours() -> None:
    assert THEME.variables.keys() == FEW_COLOURS.variables.keys()


@pytest.mark.parametrize(
    ("term", "colorterm", "theme"),
    [
        ("xterm-256color", "", THEME),
        ("xterm-256color", "truecolor", THEME),
        ("xterm-16color", "", FEW_COLOURS),
    ],
)
def test_the_terminal_decides(
    term: str, colorterm: str, theme: Theme, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLORTERM", colorterm)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert ConsoleApp(Settings()).theme == theme.name


def test_no_colours_at_all_take_the_calm_theme() -> None:
    assert theme_for(None) is THEME
