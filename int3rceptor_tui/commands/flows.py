"""Commands on flows. Whatever fails raises an error of ours, which the console tells."""

from __future__ import annotations

from int3rceptor_tui.commands.desk import Desk
from int3rceptor_tui.screens.stack import ScreenStack
from int3rceptor_tui.view_model.copied import copied
from int3rceptor_tui.view_model.formats import size_in_words
from proxy_core.errors import ControlError
from proxy_core.model.flow import FlowState
from proxy_core.model.ids import FlowId
from proxy_core.model.words import counted


class FlowCommands:
    """`do_<action>` for the actions on flows."""

    def __init__(self, desk: Desk, screens: ScreenStack) -> None:
        self._desk = desk
        self._screens = screens

    async def do_flow_clear(self) -> None:
        """Forget all finished flows, if the user means it."""
        flows = self._desk.books.flows
        states = [flows.at(index).state for index in range(len(flows))]
        count = len(states) - states.count(FlowState.ACTIVE) - states.count(FlowState.HELD)
        if await self._desk.ask(f"Clear all finished flows ({count})?"):
            cleared = await self._desk.driver.clear_flows()
            self._desk.tell(f"{counted(cleared, 'flow')} cleared.")

    async def do_flow_resume(self) -> None:
        """Let the held flow go on."""
        flow_id = self._wanted()
        if flow_id is not None and not await self._desk.driver.resume_flows([flow_id]):
            self._desk.tell(f"Flow {flow_id} is not held.")

    async def do_flow_resume_all(self) -> None:
        """Let all held flows go on."""
        resumed = await self._desk.driver.resume_flows(None)
        told = f"{counted(resumed, 'flow')} resumed."
        self._desk.tell(told if resumed else "No flow is held.")

    async def do_flow_kill(self) -> None:
        """End the held flow."""
        flow_id = self._wanted()
        if flow_id is not None and not await self._desk.driver.kill_flows([flow_id]):
            self._desk.tell(f"Flow {flow_id} is not held.")

    async def do_flow_copy(self, form: str) -> None:
        """Put the flow into the terminal's clipboard; ask as what where nothing is said."""
        flow_id = self._wanted()
        if flow_id is None:
            return
        if not form:
            self._screens.open_prompt("flow.copy ")
            return
        flow = await self._desk.driver.flow(flow_id)
        if flow is None:
            raise ControlError(f"flow {flow_id} is no longer in memory")
        text = copied(flow, form)
        self._desk.copy(text)
        length = size_in_words(len(text.encode(errors="replace")))
        self._desk.tell(f"Copied flow {flow_id} as {form}: {length}.")

    do_detail_resume = do_flow_resume
    do_detail_kill = do_flow_kill

    def _wanted(self) -> FlowId | None:
        selected = self._screens.selected_flow
        if selected is None:
            self._desk.tell("There is no flow to choose.")
        return selected
