"""Failure budgets: how many units may fail before the run stops. Pure functions over where the run stands.

A unit (a node, as a rule) has failed while one of its steps has, or while it is set aside. What a person
retried or skipped no longer counts. A step without a unit, or a gate that was refused, is in no budget.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from changeover.engine.fold import RunStatus
from changeover.model import words
from changeover.model.plan import Budget, Step
from changeover.model.release import Cause
from changeover.model.states import SATISFIED, StepState


@dataclass(frozen=True, slots=True)
class _Ended:
    """A unit that has come to its end in a stage, at that place in the journal."""

    seq: int
    stage: str
    unit: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Breach:
    """Why nothing may be launched until a person decides, or the way back begins."""

    cause: Cause
    why: str


def breach(status: RunStatus) -> Breach | None:
    """What is beyond the failure budgets; None while every failure is within all of them."""
    failed = status.steps_in(StepState.FAILED)
    if not failed:
        return None
    by_id = {step.id: step for step in status.plan.steps()}
    for name in failed:
        step = by_id[name]
        if step.person:
            return Breach(Cause.GATE, f"{name} was refused")
        if not step.unit or not status.plan.budgets:
            return Breach(Cause.FAILURE, f"{name} failed: {status.steps[name].evidence}")
    ended = sorted(_ended(status), key=lambda unit: unit.seq)
    for budget in status.plan.budgets:
        count = _count(budget, ended)
        if count > budget.limit:
            return Breach(
                _cause(budget, [by_id[name] for name in failed]),
                f"{', '.join(failed)} failed: {words.count(count, budget.unit.removesuffix('s'))} {_WHERE[budget.scope]}, the limit is {budget.limit}",
            )
    return None


def _cause(budget: Budget, failed: list[Step]) -> Cause:
    """A node that was watched at a gate fails the gate; a budget of none is not a budget that was used up."""
    if all(step.do.action == "node.hold" for step in failed):
        return Cause.GATE
    return Cause.BUDGET if budget.limit else Cause.FAILURE


def set_aside(status: RunStatus) -> Iterator[tuple[str, str]]:
    """The steps to skip, each with the reason, because their unit failed within the budgets."""
    failed = {
        step.unit: step.id
        for step in status.plan.steps()
        if step.unit and status.steps[step.id].state is StepState.FAILED
    }
    for step in status.plan.steps():
        cause = failed.get(step.unit)
        if cause and status.steps[step.id].state in (StepState.FAILED, StepState.PENDING, StepState.WAITING):
            yield step.id, f"{step.unit} was set aside: {cause} failed"


_WHERE = {
    "batch": "failed in one batch",
    "total": "failed in this run",
    "consecutive": "failed one after another",
}


def _count(budget: Budget, ended: list[_Ended]) -> int:
    failed = [unit for unit in ended if unit.failed]
    if budget.scope == "total":
        return len({unit.unit for unit in failed})
    if budget.scope == "batch":
        stages = [unit.stage for unit in failed]
        return max(map(stages.count, set(stages)), default=0)
    streak = 0
    for unit in reversed(ended):
        if not unit.failed:
            break
        streak += 1
    return streak


def _ended(status: RunStatus) -> Iterator[_Ended]:
    counted: set[str] = set()
    for stage in status.plan.stages:
        units: dict[str, list[Step]] = {}
        for step in stage.steps:
            if step.unit:
                units.setdefault(step.unit, []).append(step)
        for unit, steps in units.items():
            at = [status.steps[step.id] for step in steps]
            if any(step.state is StepState.FAILED or step.set_aside for step in at):
                # What is set aside stays so in the later stages; it failed but once.
                if unit not in counted:
                    counted.add(unit)
                    yield _Ended(
                        max(step.last.seq for step in at if step.last), stage.name, unit, failed=True
                    )
            elif all(step.state in SATISFIED for step in at):
                yield _Ended(max(step.last.seq for step in at if step.last), stage.name, unit, failed=False)
