"""How far a plan has come, seen for its way back."""

from collections.abc import Iterable, Mapping

import msgspec

from changeover.model.plan import Direction, Operation, Plan, Stage, Step
from changeover.model.values import Value

MIGRATES = frozenset({"database.migrate", "database.command"})


class Reached(Value, frozen=True):
    """How far a step has come: begun at that time (seconds since the epoch), and whether it is wholly done."""

    at: float = 0.0
    done: bool = True
    skipped: bool = False


def direction(stage: Stage, plan: Plan) -> Direction:
    """Where a run goes that cannot go on in that stage: as the operator says, else as the strategy does."""
    if stage.finalize:
        return Direction.FORWARD
    return Direction(plan.release.fallback.stages.get(stage.name, stage.back))


def point_of_no_return(plan: Plan) -> Stage | None:
    """The first stage that only goes forward."""
    return next((stage for stage in plan.stages if direction(stage, plan) is Direction.FORWARD), None)


def reachable(plan: Plan) -> tuple[Stage, ...]:
    """The stages from which there is a way back."""
    last = point_of_no_return(plan)
    return plan.stages[: plan.stages.index(last)] if last else plan.stages


def migrates(stage: Stage) -> bool:
    """Whether the stage changes a schema."""
    return any(step.do.action in MIGRATES for step in stage.steps)


class Begun:
    """The plan, seen from how far it has come. `stages` are those that are taken back, the latest first."""

    def __init__(self, plan: Plan, reached: Mapping[str, Reached]) -> None:
        self.plan = plan
        self.reached = reached
        self.stages = [it for it in reversed(reachable(plan)) if direction(it, plan) is not Direction.KEEP]
        self.changed = {it.do.target for it in plan.steps() if it.id in reached and it.do.action in MIGRATES}
        self._unkept = [
            Operation("files.put-back", it.do.target, it.do.params)
            for it in plan.steps()
            if it.do.action == "files.keep" and it.id in reached and reached[it.id].skipped
        ]

    def steps(self, stage: Stage) -> list[Step]:
        """Those of the stage that were begun, in their order. What was never kept is not put back."""
        begun = [step for step in stage.steps if step.id in self.reached and not step.person]
        return [self._possible(step) for step in begun] if self._unkept else begun

    def _possible(self, step: Step) -> Step:
        return msgspec.structs.replace(step, undo=tuple(it for it in step.undo if it.do not in self._unkept))

    def done(self, step: Step) -> bool:
        """Whether it was wholly done, and not skipped."""
        reached = self.reached.get(step.id)
        return reached is not None and reached.done and not reached.skipped

    def needed(self, step: Step) -> bool:
        """Whether it took the snapshot of a database that was changed since: that is the only copy of what was."""
        label = step.do.params.get("label")
        return label is not None and step.do.target in self.changed

    def troubled(self) -> set[str]:
        """The units of which a step was begun and did not come to its end, as when one is not well afterwards."""
        return {
            step.unit
            for step in self.plan.steps()
            if step.unit and (it := self.reached.get(step.id)) and not (it.done or it.skipped)
        }

    def half_done(self, steps: Iterable[Step]) -> bool:
        """Whether the node that these belong to is not back in rotation: its last step says so."""
        *_, last = steps
        reached = self.reached.get(last.id)
        return reached is None or not (reached.done or reached.skipped)
