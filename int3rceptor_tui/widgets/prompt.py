"""The prompt at the bottom: `:` for commands with completion and history, `/` for searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input

_HISTORY = 200


class Prompt(Input):
    """Hidden until `open`; posts what was entered."""

    class Entered(Message):
        """The user pressed enter."""

        def __init__(self, kind: str, text: str) -> None:
            super().__init__()
            self.kind = kind
            self.text = text

    class Closed(Message):
        """The prompt went away, entered or not."""

    def __init__(self) -> None:
        super().__init__(id="prompt", compact=True, select_on_focus=False)
        self.display = False
        self.kind = ":"
        self.completions: Callable[[str], Sequence[str]] = lambda text: ()
        """What `text` could become, the likeliest first."""
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
        self.display = True
        self.focus()
        self.cursor_position = len(text)

    def close(self) -> None:
        """Go away."""
        self.display = False
        self.value = ""
        self.post_message(self.Closed())

    def complete(self, text: str) -> str | None:
        """Return the likeliest completion of `text`, or None."""
        if self.kind != ":":
            return None
        return next((found for found in self.completions(text) if found != text), None)

    async def _on_key(self, event: events.Key) -> None:
        if event.key in ("escape", "ctrl+c"):
            event.stop()
            event.prevent_default()
            self.close()
        elif event.key == "tab":
            event.stop()
            event.prevent_default()
            found = self.complete(self.value)
            if found is not None:
                self.value = found
                self.cursor_position = len(found)
        elif event.key in ("up", "down"):
            event.stop()
            event.prevent_default()
            self._recall(-1 if event.key == "up" else 1)
        elif event.key == "backspace" and not self.value:
            event.stop()
            event.prevent_default()
            self.close()
        else:
            await super()._on_key(event)

    def _recall(self, by: int) -> None:
        history = self._history.get(self.kind, [])
        if self._at == len(history):
            self._draft = self.value
        self._at = max(0, min(self._at + by, len(history)))
        self.value = history[self._at] if self._at < len(history) else self._draft
        self.cursor_position = len(self.value)

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
            self.post_message(self.Entered(kind, text))


class _Completer(Suggester):
    """Shows the likeliest completion behind the cursor."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._prompt = prompt

    async def get_suggestion(self, value: str) -> str | None:
        """Return what the value could become."""
        return self._prompt.complete(value) if value else None
