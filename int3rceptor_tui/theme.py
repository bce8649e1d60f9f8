"""The console's colours: one dark theme, calm, with colour kept for what it means.

Its greys have so little colour in them that terminals of 256 colours show a grey for each, and
not black for all. Where there are 16, which the user has chosen, another theme names them as they
are: the nearest of them to a calm colour is always white.
"""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

THEME: Final = Theme(
    name="int3rceptor",
    primary="#5fafd7",
    secondary="#87afaf",
    accent="#d7af5f",
    foreground="#d0d4d8",
    background="#121518",
    surface="#181c20",
    panel="#23282e",
    success="#87af5f",
    warning="#d7af5f",
    error="#d75f5f",
    dark=True,
    variables={
        "block-cursor-foreground": "#121518",
        "block-cursor-background": "#5fafd7",
        "block-cursor-blurred-foreground": "#ffffff",
        "block-cursor-blurred-background": "#343b42",
        "footer-key-foreground": "#d7af5f",
        "dim": "#7d8790",
        "notice": "#af87d7",
        "string": "#afd787",
        "resting": "#343b42",
        "strong": "#ffffff",
    },
)

FEW_COLOURS: Final = Theme(
    name="int3rceptor-16",
    primary="#00aaaa",
    secondary="#55ffff",
    accent="#ffff55",
    foreground="#aaaaaa",
    background="#000000",
    surface="#000000",
    panel="#0000aa",
    success="#55ff55",
    warning="#ffff55",
    error="#ff5555",
    dark=True,
    variables={
        "block-cursor-foreground": "#000000",
        "block-cursor-background": "#00aaaa",
        "block-cursor-blurred-foreground": "#ffffff",
        "block-cursor-blurred-background": "#0000aa",
        "footer-key-foreground": "#ffff55",
        "dim": "#aaaaaa",
        "notice": "#ff55ff",
        "string": "#55ff55",
        "resting": "#0000aa",
        "strong": "#ffffff",
    },
)


def theme_for(color_system: str | None) -> Theme:
    """Return the theme that suits one of Rich's colour systems."""
    return FEW_COLOURS if color_system in ("standard", "windows") else THEME
