"""The plan as a graph: what waits for what. It does not change while the plan runs."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from changeover.errors import RefusedError
from changeover.model.plan import Plan, Stage, Step


class Graph:
    """Steps by their place in the plan, with the places that wait for each.

    Only needs within a stage are kept: those in earlier stages are met when the stage begins.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.steps: Sequence[Step] = tuple(plan.steps())
        self.place: Mapping[str, int] = {step.id: place for place, step in enumerate(self.steps)}
        self.stage: list[int] = []
        self.needs: list[int] = []
        self.dependents: dict[int, list[int]] = {}
        for number, stage in enumerate(plan.stages):
            begins = len(self.stage)
            for place, step in enumerate(stage.steps, begins):
                within = 0
                for need in step.needs:
                    other = self.place[need]
                    if other >= begins:
                        self.dependents.setdefault(other, []).append(place)
                        within += 1
                self.stage.append(number)
                self.needs.append(within)

    def stage_of(self, step: Step) -> Stage:
        """The stage that the step is in."""
        return self.plan.stages[self.stage[self.place[step.id]]]


def check(plan: Plan) -> None:
    """Refuse a plan that could not be executed as it reads, with everything that is wrong with it."""
    problems = [*_names(plan), *_finalize(plan)]
    if not problems:
        problems = _cycle(plan)
    if problems:
        raise RefusedError(f"the plan cannot be executed: {'; '.join(problems)}", hint="make the plan anew")


def _names(plan: Plan) -> list[str]:
    problems = []
    known: set[str] = set()
    for stage in plan.stages:
        here = {step.id for step in stage.steps}
        problems += [f"{name} is there twice" for name in here & known]
        problems += [
            f"{a} is there twice" for a, b in pairwise(sorted(step.id for step in stage.steps)) if a == b
        ]
        known |= here
        for step in stage.steps:
            problems += [
                f"{step.id} needs {need}, which is not before it" for need in step.needs if need not in known
            ]
            problems += [
                f"{step.id} takes a place in {name}, no limit of the plan"
                for name in step.limits
                if name not in plan.limits
            ]
    problems += [f"the limit {name} has no places" for name, places in plan.limits.items() if places < 1]
    return problems


def _finalize(plan: Plan) -> list[str]:
    """Every way into a finalize stage leads through a gate for a person."""
    problems = []
    for stage in plan.stages:
        here = {step.id for step in stage.steps}
        if stage.finalize:
            problems += [
                f"{step.id} gives up the way back without a gate for a person"
                for step in stage.steps
                if not step.person and here.isdisjoint(step.needs)
            ]
    return problems


def _cycle(plan: Plan) -> list[str]:
    graph = Graph(plan)
    left = list(graph.needs)
    free = [place for place, needs in enumerate(left) if not needs]
    for place in free:  # it grows while it is read
        for dependent in graph.dependents.get(place, ()):
            left[dependent] -= 1
            if not left[dependent]:
                free.append(dependent)
    stuck = [graph.steps[place].id for place, needs in enumerate(left) if needs]
    return [f"these wait for each other: {', '.join(stuck)}"] if stuck else []
