"""How fast a rehearsal is, and how it grows with the number of nodes.

    python bench/rehearsal.py            # a few minutes
    python bench/rehearsal.py --quick    # four nodes, and the growth to 50

Every ratio is between numbers of the same run on the same machine.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))  # the sites of the tests are used here, too

from changeover.actions import ACTIONS
from changeover.model.plan import Facts, Plan
from changeover.rehearsal import rehearse
from changeover.rehearsal.exploring import Explorer
from changeover.rehearsal.symmetry import reduced
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_site
from tests.unit.rehearsal.plans import a_full_stop, a_window

GOAL = 10.0
"""Seconds for all single faults of a rolling plan of four nodes, on two processors."""

T = TypeVar("T")


def a_plan(nodes: int) -> Plan:
    """Rolling, one node at a time, with an expand and a contract migration."""
    return STRATEGIES["rolling"](a_site(nodes), a_release(), Facts())


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What it returns, the seconds that it took, and those of this processor's time."""
    began, used = time.perf_counter(), time.process_time()
    made = work()
    return made, time.perf_counter() - began, time.process_time() - used


def single_faults() -> None:
    """All single faults of four nodes: in one process, and in one for each processor."""
    plan = a_plan(4)
    processors = len(os.sched_getaffinity(0))
    made, alone, used = timed(lambda: rehearse(plan, workers=1))
    print(
        f"four nodes, {made.steps} steps: {made.cases} cases, {made.plays} of them played, {len(made.findings)} findings"
    )
    print(
        f"  in one process       {alone:6.1f} s ({used:.1f} s of it used), {made.cases / used:6.0f} cases/s of processor time"
    )
    _, shared, _ = timed(lambda: rehearse(plan))
    print(
        f"  in {processors} processes       {shared:6.1f} s, {made.cases / shared:6.0f} cases/s; ratio {shared / alone:.2f}"
    )
    print(f"  goal: {GOAL:g} s: {'met' if shared <= GOAL else 'missed'}")
    longer, time_with, _ = timed(lambda: rehearse(plan, pairs=200, seed=1, workers=1))
    pairs = longer.cases - made.cases
    print(f"  {pairs} pairs of faults besides: {max(time_with - alone, 0.0):.1f} s")


def simulations(sizes: list[int]) -> None:
    """A plan, and the whole run of it in which nothing goes wrong, watched at every moment."""
    print("plan and full simulation:")
    before: tuple[int, float] | None = None
    for nodes in sizes:
        plan, planned, _ = timed(lambda nodes=nodes: a_plan(nodes))  # type: ignore[misc]
        explorer = Explorer(plan, ACTIONS, wanted=reduced(plan)[0])
        outcome, _, used = timed(explorer.nothing)
        steps = sum(1 for _ in plan.steps())
        growth = f", {used / before[1]:.1f} times that of {before[0]} nodes" if before else ""
        print(
            f"  {nodes:4} nodes, {steps:5} steps: planned in {planned * 1000:5.0f} ms, simulated in {used:6.2f} s of "
            f"processor time ({outcome.end}){growth}"
        )
        before = nodes, used


def rehearsals(sizes: list[int]) -> None:
    """All single faults, reduced by symmetry where the plan is large."""
    print("all single faults, in one process:")
    before: tuple[int, float] | None = None
    for nodes in sizes:
        plan = a_plan(nodes)
        made, _, used = timed(lambda plan=plan: rehearse(plan, workers=1))  # type: ignore[misc]
        growth = f", {used / before[1]:.1f} times that of {before[0]} nodes" if before else ""
        print(
            f"  {nodes:4} nodes: {made.rehearsed_steps} of {made.steps} steps, {made.cases} cases, {used:6.1f} s{growth}"
        )
        before = nodes, used


def closed() -> None:
    """All single faults of a full stop and of a window."""
    print("where nobody is served meanwhile, two nodes, all single faults, in one process:")
    for name, plan in (("full-stop", a_full_stop()), ("window", a_window())):
        made, _, used = timed(lambda plan=plan: rehearse(plan, workers=1))  # type: ignore[misc]
        print(
            f"  {name}: {made.steps} steps, {made.cases} cases, {len(made.findings)} findings, {used:.1f} s"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    single_faults()
    simulations([25, 50] if quick else [25, 50, 100, 200])
    closed()
    rehearsals([4, 8] if quick else [4, 8, 16, 32])


if __name__ == "__main__":
    main()
