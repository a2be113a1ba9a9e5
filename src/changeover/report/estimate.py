"""How many servers are left in rotation while a plan runs, by its own estimates."""

from changeover.model.plan import Plan, Step
from changeover.model.timetable import Estimate, Span, estimate

__all__ = ["ENTER", "LEAVE", "Estimate", "Span", "estimate", "rotation"]

LEAVE, ENTER = "traffic.drain", "traffic.enter"
"""The actions with which a server leaves the rotation, and comes back."""


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
