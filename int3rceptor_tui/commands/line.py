"""A line typed at the `:` prompt, understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from int3rceptor_tui.keymap import Action
from int3rceptor_tui.view_model.copied import FORMS
from proxy_core.errors import ControlError

_SHORT = {"q": "app.quit", "quit": "app.quit", "help": "app.help"}


@dataclass(frozen=True, slots=True)
class Command:
    """An action, and what was typed behind its name."""

    action: Action
    argument: str


def parse(text: str, actions: Mapping[str, Action]) -> Command:
    """Understand a line. Raises ControlError with what there is instead."""
    name, _, argument = text.strip().partition(" ")
    name = _SHORT.get(name, name)
    action = actions.get(name)
    if action is None:
        near = get_close_matches(name, actions, n=3, cutoff=0.5)
        there_is = (
            f"; did you mean {' or '.join(near)}?"
            if near
            else f"; press {actions['app.help'].hint} for what there is"
        )
        raise ControlError(f"there is no command {name!r}{there_is}")
    argument = argument.strip()
    if argument and not action.argument:
        raise ControlError(f"{name} takes no argument, not {argument!r}")
    return Command(action, argument)


def completions(text: str, actions: Mapping[str, Action], plugins: Iterable[str]) -> Sequence[str]:
    """Return what the line could become."""
    name, space, argument = text.partition(" ")
    if not space:
        found = [known for known in actions if known.startswith(name)]
        found.sort(key=lambda known: (not actions[known].listed, known))
        return [known + (" " if actions[known].argument else "") for known in found]
    action = actions.get(name)
    arguments = {"NAME": plugins, "FORM": FORMS}.get("" if action is None else action.argument, ())
    return [f"{name} {known}" for known in arguments if known.startswith(argument)]
