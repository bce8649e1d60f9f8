"""Every fault at every place where a scenario waits, one a run, until nothing new is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.injection import Fault
from tests.faults.running import Broken, quick, run_once
from tests.faults.watching import Place
from tests.faults.world import Scenario


@dataclass
class Explored:
    """What came of it."""

    tried: set[tuple[Place, Fault]] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)


def explore(scenario: Scenario, known: Sequence[Scenario], data_dir: Path) -> Explored:
    """Run a scenario over and over, with another fault each time.

    Where it waits as those do that are `known`, nothing is tried once more.
    """
    found = Explored()
    with quick():
        for other in known:
            places = run_once(other, data_dir, None).seen
            found.tried.update((place, fault) for place in places for fault in Fault)
        run_once(scenario, data_dir, None)  # or what breaks would say nothing
        more = True
        while more:
            before = len(found.tried)
            try:
                run_once(scenario, data_dir, found.tried)
            except Broken as error:
                found.broken.append(str(error))
            more = len(found.tried) > before
    return found
