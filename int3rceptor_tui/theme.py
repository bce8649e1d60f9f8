"""The console's colours: one dark theme, calm, with colour kept for what it means."""

from __future__ import annotations

from textual.theme import Theme

THEME = Theme(
    name="int3rceptor",
    primary="#5fafd7",
    secondary="#87afaf",
    accent="#d7af5f",
    foreground="#d0d4d8",
    background="#101418",
    surface="#161b21",
    panel="#1d242c",
    success="#87af5f",
    warning="#d7af5f",
    error="#d75f5f",
    dark=True,
    variables={
        "block-cursor-foreground": "#101418",
        "block-cursor-background": "#5fafd7",
        "footer-key-foreground": "#d7af5f",
    },
)
