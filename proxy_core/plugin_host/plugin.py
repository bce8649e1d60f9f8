"""One plugin: where it comes from, the generation at work, and the way into its guests.

`call` is the way into a guest for every hook. It never raises for what a guest does: a failure is
logged, counted, and answered with FAILED.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from proxy_core.exchange.hooks import BODY_TROUBLE
from proxy_core.model.flow import Flow
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import Comparison, WatchReport
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.belongings.belongings import Belongings
from proxy_core.plugin_host.belongings.profile import Profile
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.dialects import Driver
from proxy_core.plugin_host.faults import GuestFailure, ModuleRefused, TooBusy
from proxy_core.plugin_host.files.discovery import Source
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.generation import Generation
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.commit import commit, ready
from proxy_core.plugin_host.loading import Loading
from proxy_core.plugin_host.logs import PluginLog
from proxy_core.plugin_host.several import Several
from proxy_core.plugin_host.standing import Standing

FAILED: Final = -1
SKIPPED: Final = -2
"""The plugin is in quarantine and was not called."""
_CONTINUE: Final = codes.CONTINUE
_SAMPLED: Final = 63
"""Memory is measured at the first call of a hook and every 64th after it."""


_DECIDES_NOTHING: Final = frozenset({Hook.CAPTURE, Hook.TICK})
_CANNOT_BE_HELD: Final = frozenset({Hook.CONNECT, *codes.PIECE_HOOKS})


def _what_is_wrong(hook: Hook, code: int, call: HookCall) -> str | None:
    """Say why a hook's answer cannot be taken, or None."""
    if code < 0:
        return f"failed with {code}"
    if code > codes.SKIP_REST:
        return f"returned {code}, which means nothing"
    if hook in _DECIDES_NOTHING:
        return None
    if code == codes.RESPOND and call.respond_head is None:
        return "returned 3 (respond) without host_respond"
    if code == codes.HOLD and hook in _CANNOT_BE_HELD:
        return "returned 2 (hold), but only a flow and a message can be held"
    return None


Entered = tuple[int, HookCall, int | Coroutine[Any, Any, int]]
"""A flow's place, its call, and the code or what has to be awaited for it."""


class _InternalError(Exception):
    """An exception that no host function should have raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"met an internal error: {type(cause).__name__}: {cause}")


class Plugin:
    """Changed on the core's loop only."""

    def __init__(self, name: str, source: Source, log: PluginLog) -> None:
        self.name = name
        self.source = source
        self.log = log
        self.standing = Standing(log)
        self.belongings = Belongings()
        self.manifest: Manifest | None = None
        self.generation: Generation | None = None
        self.generations = 0
        self.enabled = True
        self.loading: Loading | None = None
        """The load that is under way."""
        self.load_seconds = 0.0
        """How long the load of this generation took."""
        self.compared: Comparison | None = None
        """This generation beside the one before."""
        self.watched: WatchReport | None = None
        """What watching its files last led to."""

    @property
    def order(self) -> tuple[int, str]:
        """Where it stands among the others: by priority, then by name."""
        return (100 if self.manifest is None else self.manifest.priority, self.name)

    @property
    def profile(self) -> Profile:
        """What it has cost and done so far."""
        return self.belongings.profile

    @property
    def hooks(self) -> frozenset[Hook]:
        """The hooks to call it for."""
        generation = self.generation
        if generation is None:
            return frozenset()
        driver = generation.driver
        return generation.blueprint.contract.hooks if driver is None else driver.hooks

    @property
    def driver(self) -> Driver | None:
        """Who runs its hooks, where it speaks another ABI than ours."""
        return None if self.generation is None else self.generation.driver

    @property
    def closed_on_failure(self) -> bool:
        """Whether a flow may not go on without it."""
        return self.manifest is not None and self.manifest.on_failure == "closed"

    async def call(self, hook: Hook, call: HookCall) -> int:
        """Run one hook; return its code (>= 0), FAILED or SKIPPED.

        The call's edits are on the flow where the code is not negative, and nowhere otherwise.
        """
        code = self.enter(hook, call)
        return code if isinstance(code, int) else await code

    def enter(self, hook: Hook, call: HookCall) -> int | Coroutine[Any, Any, int]:
        """Do what `call` does as far as that takes no turn of the loop.

        Return the code, or, where the guest is not done yet or there is none at hand, what has to
        be awaited for it. Most hooks are over at once, and need no coroutine of their own.
        """
        generation = self.generation
        if generation is None:
            return _CONTINUE
        if self.standing.ailing and self.standing.rests():
            return SKIPPED
        if generation.driver is not None:
            return self._drive(generation, generation.driver, hook, call)
        idle = generation.idle
        if not idle:
            return self._enter_later(generation, hook, call)
        return self._enter(generation, idle.pop(), hook, call)

    def enter_several(self, hook: Hook, manifest: Manifest, flows: Sequence[Flow]) -> list[Entered]:
        """Do for several flows, in order, what `enter` does for one.

        Return those that do not just go on: the flow's place, its call, and what `enter` returns.
        """
        special: list[Entered] = []
        at = 0
        while at < len(flows):
            done = self._enter_together(hook, manifest, flows, at, special)
            if not done:
                call = HookCall(hook, manifest, self.log, flows[at], self.belongings)
                answer = self.enter(hook, call)
                if answer != _CONTINUE or call.delay:
                    special.append((at, call, answer))
                done = 1
            at += done
        return special

    def _enter_together(
        self,
        hook: Hook,
        manifest: Manifest,
        flows: Sequence[Flow],
        at: int,
        special: list[Entered],
    ) -> int:
        """Take flows from a place on through one guest in one entry; return how many there were.

        0 where the next has to be entered for by itself.
        """
        generation = self.generation
        if generation is None or generation.driver is not None or self.standing.ailing:
            return 0
        record = self.belongings.profile.records[hook.index]
        guest = generation.idle[-1] if generation.idle else None
        desk = None if guest is None else guest.desk
        if guest is None or desk is None or not record.recent:
            return 0
        # By the last call: one that was out of the ordinary is forgotten with the next.
        most = desk.most_flows(record.last_fuel, record.recent[-1])
        if most < 2 or len(flows) - at < 2:
            return 0
        if at or most < len(flows):
            flows = flows[at : at + most]
        generation.idle.pop()

        def conclude(place: int, code: int, call: HookCall) -> None:
            answer = self._conclude(hook, call, code)
            if answer != _CONTINUE or call.delay:
                special.append((at + place, call, answer))

        several = Several(desk, hook, flows, manifest, self.log, self.belongings, conclude)
        host = guest.host
        host.call = generation.used
        guest.host = several.side(host)
        failure: Exception | None = None
        done = len(flows)
        try:
            if desk.begin(hook) is None:
                done = desk.place
                desk.stop()
                desk.begin_anew()
        except Exception as error:
            failure, done = error, desk.place
        except BaseException:
            self._account(guest, hook)
            generation.discard(guest)
            raise
        finally:
            guest.host = host
        self._account_several(guest, hook, done, more=done < len(flows))
        several.settle(done)
        if failure is None and done == len(flows):
            generation.release(guest)
            return done
        call = host.call = several.at_hand
        if failure is None:
            special.append((at + done, call, self._finish(generation, guest, hook, call)))
        else:
            answer = self._ended_badly(generation, guest, hook, call, failure)
            special.append((at + done, call, answer))
        return done + 1

    def _account_several(self, guest: Guest, hook: Hook, done: int, *, more: bool) -> None:
        """Count what several flows took, each its share; with `more`, leave that of one more."""
        profile = self.belongings.profile
        record = profile.records[hook.index]
        share = guest.seconds / (done + more)
        record.fuel += guest.fuel_used
        record.last_fuel = guest.fuel_used / (done + more)
        record.seconds += share * done
        record.recent.extend([share] * done)
        record.calls += done
        if record.calls & _SAMPLED < done:
            profile.pages = guest.host.memory.pages()
        guest.fuel_used, guest.seconds = 0, share

    async def _enter_later(self, generation: Generation, hook: Hook, call: HookCall) -> int:
        """Wait for an instance, and run the hook."""
        try:
            guest = await generation.acquire()
        except TooBusy as failure:
            return self._failed(hook, failure, call.flow_id, generation)
        except (GuestFailure, ModuleRefused) as failure:
            return self._trapped(hook, failure, call.flow_id, generation)
        if self.standing.ailing and self.standing.rests():  # since it began to wait
            generation.release(guest)
            return SKIPPED
        code = self._enter(generation, guest, hook, call)
        return code if isinstance(code, int) else await code

    def _enter(
        self, generation: Generation, guest: Guest, hook: Hook, call: HookCall
    ) -> int | Coroutine[Any, Any, int]:
        """Run the hook's first slice, which is the only one of most."""
        guest.host.call = call
        try:
            code = guest.begin(hook.export)
        except Exception as error:
            return self._ended_badly(generation, guest, hook, call, error)
        except BaseException:
            self._account(guest, hook)
            generation.discard(guest)
            raise
        if code is None:
            return self._finish(generation, guest, hook, call)
        self._account(guest, hook)
        generation.release(guest)
        if code == _CONTINUE and not call.edited and not self.standing.ailing:
            return code  # as most do
        return self._conclude(hook, call, code)

    async def _finish(
        self, generation: Generation, guest: Guest, hook: Hook, call: HookCall
    ) -> int:
        """Run the rest of a hook, a slice at each turn of the loop."""
        try:
            code = await guest.finish()
        except Exception as error:
            return self._ended_badly(generation, guest, hook, call, error)
        except BaseException:
            # Cancelled half-way: the client is gone and the guest's state is anybody's guess.
            self._account(guest, hook)
            generation.discard(guest)
            raise
        self._account(guest, hook)
        generation.release(guest)
        answer = self._conclude(hook, call, code)
        return answer if isinstance(answer, int) else await answer

    def _ended_badly(
        self,
        generation: Generation,
        guest: Guest,
        hook: Hook,
        call: HookCall,
        error: Exception,
    ) -> int:
        self._account(guest, hook)
        generation.discard(guest)
        if not isinstance(error, GuestFailure | ModuleRefused):
            error = _InternalError(error)  # a bug of ours in a host function must not end the flow
        return self._trapped(hook, error, call.flow_id, generation)

    def _account(self, guest: Guest, hook: Hook) -> None:
        profile = self.belongings.profile
        record = profile.records[hook.index]
        seconds = guest.seconds
        record.fuel += guest.fuel_used
        record.last_fuel = guest.fuel_used
        record.seconds += seconds
        record.recent.append(seconds)
        record.calls += 1
        if record.calls & _SAMPLED == 1:
            profile.pages = guest.host.memory.pages()

    async def _drive(
        self, generation: Generation, driver: Driver, hook: Hook, call: HookCall
    ) -> int:
        """Have a driver run a hook of a module that speaks another ABI than ours."""
        record = self.belongings.profile.records[hook.index]
        whole = None if call.flow is None else call.flow.whole
        began_with = None if whole is None else whole.data
        began = time.perf_counter()
        try:
            code = await driver.hook(hook, call)
        except TooBusy as failure:
            return self._failed(hook, failure, call.flow_id, generation)
        except (GuestFailure, ModuleRefused) as failure:
            return self._trapped(hook, failure, call.flow_id, generation)
        except BODY_TROUBLE:
            raise  # met where the driver has read ahead in a body; not the plugin's fault
        except Exception as error:  # a bug of ours must not end the flow
            return self._trapped(hook, _InternalError(error), call.flow_id, generation)
        finally:
            record.calls += 1
            record.recent.append(time.perf_counter() - began)
        answer = self._conclude(hook, call, code, began_with)
        return answer if isinstance(answer, int) else await answer

    def complain(self, failure: GuestFailure) -> None:
        """Account for a failure outside any hook."""
        self._trapped(Hook.START, failure, None, self.generation, "between hooks")

    def _conclude(
        self, hook: Hook, call: HookCall, code: int, began_with: bytes | None = None
    ) -> int | Coroutine[Any, Any, int]:
        """Take a hook's answer: commit its edits, or say why not."""
        if code != _CONTINUE:
            wrong = _what_is_wrong(hook, code, call)
            if wrong is not None:
                self.standing.failed(f"{hook.export} {wrong}; its edits are dropped", call.flow_id)
                return FAILED
            if code == codes.RESPOND:
                record = self.belongings.profile.records[hook.index]
                record.bytes_changed += len(call.respond_body)
        if call.edited_bodies:
            return self._commit_bodies(hook, call, code, began_with)
        if call.edited or began_with is not None:
            self._commit(hook, call, began_with)
        if self.standing.ailing:
            self.standing.went_well()
        return code

    async def _commit_bodies(
        self, hook: Hook, call: HookCall, code: int, began_with: bytes | None
    ) -> int:
        """Commit edits of which some are of bodies, which may take long to code."""
        await ready(call)
        self._commit(hook, call, began_with)
        self.standing.went_well()
        return code

    def _commit(self, hook: Hook, call: HookCall, began_with: bytes | None) -> None:
        record = self.belongings.profile.records[hook.index]
        record.bytes_changed += commit(call, began_with)

    def _failed(
        self,
        hook: Hook,
        failure: Exception,
        flow_id: FlowId | None,
        generation: Generation,
    ) -> int:
        text = f"{hook.export} {failure}"
        if not self._is_of_before(generation, text, flow_id):
            self.standing.failed(text, flow_id)
        return FAILED

    def _is_of_before(
        self, generation: Generation | None, text: str, flow_id: FlowId | None
    ) -> bool:
        """Whether a version failed that was replaced meanwhile; the one at work is not to blame."""
        if generation is self.generation:
            return False
        self.log.complain(LogLevel.ERROR, f"{text}, in the version before", flow_id)
        return True

    def _trapped(
        self,
        hook: Hook,
        failure: Exception,
        flow_id: FlowId | None,
        generation: Generation | None,
        where: str = "",
    ) -> int:
        self.belongings.profile.records[hook.index].traps += 1
        text = f"{where or hook.export} {failure}"
        if not self._is_of_before(generation, text, flow_id):
            self.standing.trapped(text, flow_id)
        return FAILED
