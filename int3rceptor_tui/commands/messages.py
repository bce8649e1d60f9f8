"""Commands on a WebSocket's messages. Whatever fails raises an error, which the console tells."""

from __future__ import annotations

from int3rceptor_tui.commands.desk import Desk
from int3rceptor_tui.screens.stack import ScreenStack
from int3rceptor_tui.view_model.formats import size_in_words
from proxy_core.errors import ControlError

_TEXT, _BINARY = 1, 2


class MessageCommands:
    """`do_<action>` for the actions that send messages into the selected flow's WebSocket."""

    def __init__(self, desk: Desk, screens: ScreenStack) -> None:
        self._desk = desk
        self._screens = screens

    async def do_message_to_server(self, argument: str) -> None:
        """Send a message to the server; ask for it first where none is given."""
        await self._send("message.to_server", argument, from_client=True)

    async def do_message_to_client(self, argument: str) -> None:
        """Send a message to the client; ask for it first where none is given."""
        await self._send("message.to_client", argument, from_client=False)

    async def _send(self, action_id: str, argument: str, from_client: bool) -> None:
        flow_id = self._screens.selected_flow
        if flow_id is None:
            raise ControlError("There is no flow to choose.")
        if not argument:
            self._screens.open_prompt(f"{action_id} ")
            return
        opcode, payload = parse_message(argument)
        await self._desk.driver.inject_message(flow_id, from_client, opcode, payload)
        whom = "server" if from_client else "client"
        self._desk.tell(f"Sent to the {whom} of flow {flow_id}: {size_in_words(len(payload))}.")


def parse_message(argument: str) -> tuple[int, bytes]:
    """Return opcode and payload of `TEXT`, `text:TEXT` or `hex:BYTES`. Raises ControlError."""
    kind, colon, rest = argument.partition(":")
    if colon and kind == "hex":
        try:
            return _BINARY, bytes.fromhex(rest)
        except ValueError as error:
            raise ControlError(
                f"hex:{rest} is not hexadecimal; write two digits a byte, as in hex:00 ff"
            ) from error
    text = rest if colon and kind == "text" else argument
    return _TEXT, text.encode(errors="replace")
