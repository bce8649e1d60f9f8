"""The prompt at the bottom: `:` for commands with completion and history, `/` for searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.binding import Binding
from textual.suggester import Suggester
from textual.widgets import Input, Static

from int3rceptor_tui.widgets.candidate_line import CandidateLine

_HISTORY = 200


class Prompt(Input):
    """Hidden until `open`; tells what was entered."""

    BINDINGS = [
        Binding("escape,ctrl+c", "close", show=False),
        Binding("tab", "complete(1)", show=False),
        Binding("shift+tab", "complete(-1)", show=False),
        Binding("up", "recall(-1)", show=False),
        Binding("down", "recall(1)", show=False),
    ]

    def __init__(
        self, on_entered: Callable[[str, str], None], on_closed: Callable[[], None]
    ) -> None:
        """Make it; `on_closed` is called whenever it goes, then `on_entered` with kind and text.

        Called, not posted: what they do comes before the next key.
        """
        super().__init__(id="prompt", compact=True, select_on_focus=False)
        self.display = False
        self.kind = ":"
        self._on_entered = on_entered
        self._on_closed = on_closed
        self.completions: Callable[[str], Sequence[str]] = lambda text: ()
        """What `text` could become, the likeliest first."""
        self.mark = Static(id="mark", markup=False)
        self.candidates = CandidateLine()
        self._offered: list[str] = []
        self._taken: int | None = None  # which of those offered is in the prompt
        self._history: dict[str, list[str]] = {}
        self._at = 0
        self._draft = ""
        self.suggester = _Completer(self)

    def open(self, text: str, kind: str) -> None:
        """Show the prompt and take the keys."""
        self.kind = kind
        self.value = text
        self._at = len(self._history.get(kind, []))
        self.border_title = None
        self.placeholder = "command" if kind == ":" else "search"
        self.mark.update(kind)
        self.display = self.mark.display = True
        self._offer()
        self.screen.set_focus(self)
        self.cursor_position = len(text)

    def close(self) -> None:
        """Go away."""
        self.display = self.mark.display = self.candidates.display = False
        self.value = ""
        self._on_closed()

    def complete(self, text: str) -> str | None:
        """Return the likeliest completion of `text`, or None."""
        if self.kind != ":":
            return None
        return next((found for found in self.completions(text) if found != text), None)

    def action_close(self) -> None:
        """Leave without entering anything."""
        self.close()

    def action_complete(self, by: int) -> None:
        """Take the likeliest completion; after that the next, or the one before."""
        self._offer()
        offered = self._offered
        if not offered:
            return
        if self._taken is not None:
            self._taken = (self._taken + by) % len(offered)
        else:
            self._taken = 0 if by > 0 else len(offered) - 1
        self.value = offered[self._taken]
        self.cursor_position = len(self.value)
        self.candidates.show(offered, self._taken)
        if len(offered) == 1:
            self._taken = None  # what could follow it comes next

    def on_input_changed(self) -> None:
        """Offer what the text could become now."""
        if self.display:
            self._offer()

    def _offer(self) -> None:
        """Look for completions, unless the text is one of those that are being gone through."""
        taken = self._taken
        if taken is None or self.value != self._offered[taken]:
            found = self.completions(self.value) if self.kind == ":" else ()
            self._offered = [text for text in found if text != self.value]
            self._taken = None
        self.candidates.show(self._offered, self._taken)

    def action_recall(self, by: int) -> None:
        """Show what was entered before, or after that."""
        history = self._history.get(self.kind, [])
        if self._at == len(history):
            self._draft = self.value
        self._at = max(0, min(self._at + by, len(history)))
        self.value = history[self._at] if self._at < len(history) else self._draft
        self.cursor_position = len(self.value)

    def action_delete_left(self) -> None:
        """Delete; in an empty prompt, leave."""
        if self.value:
            super().action_delete_left()
        else:
            self.close()

    async def action_submit(self) -> None:
        """Take what was entered."""
        text = self.value.strip()
        kind = self.kind
        self.close()
        if text:
            history = self._history.setdefault(kind, [])
            if text in history:
                history.remove(text)
            history.append(text)
            del history[:-_HISTORY]
            self._on_entered(kind, text)


class _Completer(Suggester):
    """Shows the likeliest completion behind the cursor."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._prompt = prompt

    async def get_suggestion(self, value: str) -> str | None:
        """Return what the value could become."""
        return self._prompt.complete(value) if value else None
