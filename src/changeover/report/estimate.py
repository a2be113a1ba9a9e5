"""When each step would run, by the plan's own estimates, and how many servers are left in rotation meanwhile."""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Mapping

from changeover.model.plan import Plan, Stage, Step
from changeover.model.values import Value

LEAVE, ENTER = "traffic.drain", "traffic.enter"
"""The actions with which a server leaves the rotation, and comes back."""


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


def estimate(plan: Plan, *, at_worst: bool = False) -> Estimate:
    """Every step as early as what it needs and the plan's limits allow, stage after stage.

    Each takes its estimate or, `at_worst`, the 90th percentile of what it took before where that is known.
    """
    now = 0.0
    stages: dict[str, Span] = {}
    steps: dict[str, Span] = {}
    for stage in plan.stages:
        steps.update(_stage(stage, plan.limits, now, at_worst=at_worst))
        end = max((steps[step.id].end for step in stage.steps if step.id in steps), default=now)
        stages[stage.name] = Span(now, end)
        now = end
    return Estimate(stages, steps)


def _stage(stage: Stage, limits: Mapping[str, int], now: float, *, at_worst: bool) -> dict[str, Span]:
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
                end = now + (max(step.estimate, step.at_worst) if at_worst else step.estimate)
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


def rotation(plan: Plan, times: Estimate) -> dict[str, dict[str, list[int]]]:
    """Stage → balancer → how many of our servers are in rotation: at first, then after every change."""
    inside = {
        balancer.name: {
            node.servers[balancer.name]
            for node in plan.site.application.nodes
            if balancer.name in node.servers
        }
        for balancer in plan.site.balancers
    }
    counts: dict[str, dict[str, list[int]]] = {}
    for stage in plan.stages:
        counts[stage.name] = {balancer: [len(servers)] for balancer, servers in inside.items()}
        for step in sorted(filter(_moves, stage.steps), key=lambda step: _takes_effect(step, times)):
            for balancer, server in step.do.params["servers"].items():
                change = inside[balancer].discard if step.do.action == LEAVE else inside[balancer].add
                change(server)
                seen = counts[stage.name][balancer]
                if seen[-1] != len(inside[balancer]):
                    seen.append(len(inside[balancer]))
    return counts


def _moves(step: Step) -> bool:
    return step.do.action in (LEAVE, ENTER)


def _takes_effect(step: Step, times: Estimate) -> tuple[float, bool]:
    """The careful moment: out as soon as the step starts, back only when it has ended."""
    span = times.steps.get(step.id, Span(0, 0))
    return (span.start, False) if step.do.action == LEAVE else (span.end, True)
