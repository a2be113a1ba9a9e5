"""When each step of a plan would run, by its own estimates."""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from typing import Any

from changeover.model.plan import Plan, Stage, Step
from changeover.model.values import Value

WAITS = "time.wait"
"""The action of a step that waits until a moment: how long that takes depends on when it begins."""


class Span(Value, frozen=True):
    """From `start` to `end`, seconds after the run began."""

    start: float
    end: float

    @property
    def lasts(self) -> float:
        """Seconds."""
        return self.end - self.start


class Estimate(Value, frozen=True):
    """The spans of the stages and steps by name. People are not estimated: a gate takes no time here."""

    stages: Mapping[str, Span]
    steps: Mapping[str, Span]

    @property
    def lasts(self) -> float:
        """Seconds for all of it."""
        return max((span.end for span in self.stages.values()), default=0.0)


def estimate(plan: Plan, *, at_worst: bool = False, begins: float = 0.0) -> Estimate:
    """Every step as early as what it needs and the plan's limits allow, stage after stage.

    Each takes its estimate or, `at_worst`, the 90th percentile of what it took before where that is known. What
    waits until a moment takes no time unless it is known when the run `begins` (seconds since the epoch).
    """
    now = 0.0
    stages: dict[str, Span] = {}
    steps: dict[str, Span] = {}
    for stage in plan.stages:
        steps.update(_stage(stage, plan.limits, now, at_worst=at_worst, begins=begins))
        end = max((steps[step.id].end for step in stage.steps if step.id in steps), default=now)
        stages[stage.name] = Span(now, end)
        now = end
    return Estimate(stages, steps)


def _stage(
    stage: Stage, limits: Mapping[str, int], now: float, *, at_worst: bool, begins: float
) -> dict[str, Span]:
    within = {step.id for step in stage.steps}
    missing = {step.id: within.intersection(step.needs) for step in stage.steps}
    dependents: defaultdict[str, list[Step]] = defaultdict(list)
    ready: defaultdict[tuple[str, ...], deque[Step]] = defaultdict(deque)
    for step in stage.steps:
        for need in missing[step.id]:
            dependents[need].append(step)
        if not missing[step.id]:
            ready[step.limits].append(step)
    taken: Counter[str] = Counter()
    running: list[tuple[float, int, Step]] = []
    spans: dict[str, Span] = {}
    while True:
        for wanted, queue in ready.items():
            while queue and all(taken[limit] < limits.get(limit, 1) for limit in wanted):
                step = queue.popleft()
                taken.update(wanted)
                end = now + _lasts(step, begins + now if begins else 0.0, at_worst=at_worst)
                spans[step.id] = Span(now, end)
                heapq.heappush(running, (end, len(spans), step))
        if not running:
            return spans
        now, _, finished = heapq.heappop(running)
        taken.subtract(finished.limits)
        for step in dependents[finished.id]:
            missing[step.id].discard(finished.id)
            if not missing[step.id]:
                ready[step.limits].append(step)


def _lasts(step: Step, begins: float, *, at_worst: bool) -> float:
    """Seconds. `begins` is when it does, in seconds since the epoch, or 0 if that is not known."""
    if begins and step.do.action == WAITS:
        until: Any = step.do.params["until"]
        return max(0.0, float(until) - begins)
    return max(step.estimate, step.at_worst) if at_worst else step.estimate
