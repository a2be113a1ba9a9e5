"""What people do anyway, and what they look at."""

from collections.abc import Mapping

from changeover.byhand.base import ByHand
from changeover.model.instructions import Instruction
from changeover.model.moments import dated
from changeover.model.plan import Plan, Step


def _approve(step: Step, _: Plan) -> tuple[Instruction, ...]:
    who = ", ".join(step.who) or step.owner or "a person"
    return (Instruction(who, step.summary, "go on only when that is said"),)


def _host(step: Step, _: Plan) -> tuple[Instruction, ...]:
    free = step.do.params["disk_free"] // (1024 * 1024)
    skew = f"as here, within {step.do.params['clock_skew']:g} s"
    path = step.do.params["path"]
    return (
        Instruction(step.do.target, f"df --human-readable {path}", f"{free} MiB are available"),
        Instruction(step.do.target, "date", skew),
    )


def _wait(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    window = plan.release.window
    return (Instruction("", "wait", dated(step.do.params["until"], window.zone if window else "")),)


BY_HAND: Mapping[str, ByHand] = {
    "people.approve": _approve,
    "host.check": _host,
    "time.wait": _wait,
}
