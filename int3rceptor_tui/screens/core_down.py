"""What is shown when the proxy could not be started, or has stopped."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from int3rceptor_tui.view_model.visible import visible


class CoreDownScreen(ModalScreen[str]):
    """Says why, and offers to try again; gives `start`, `look` or `quit`."""

    BINDINGS = [
        Binding("r,enter,ctrl+r", "choose('start')", show=False),
        Binding("escape,q", "choose('look')", show=False),
        Binding("Q,ctrl+c", "choose('quit')", show=False),
    ]

    def __init__(self, reason: str) -> None:
        super().__init__()
        self._reason = reason

    def compose(self) -> ComposeResult:
        """Lay out."""
        with Vertical(id="box"):
            yield Static("The proxy is not running", markup=False, id="title")
            yield Static(visible(self._reason), markup=False)
            yield Static("r  try again      q  look around      Q  quit", markup=False, id="keys")

    def action_choose(self, what: str) -> None:
        """Give the choice."""
        self.dismiss(what)
