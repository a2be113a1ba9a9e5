"""Who owns the steps of a plan, and when they are planned to begin: what the release says, put on the steps. Pure."""

from collections.abc import Mapping
from difflib import get_close_matches

import msgspec

from changeover.errors import SpecError
from changeover.model.plan import Plan, Stage, Step
from changeover.model.release import Duty

NOWHERE: Mapping[str, str] = {}


def assigned(plan: Plan, places: Mapping[str, str] = NOWHERE) -> Plan:
    """The plan with an owner and a planned time on each step that its release has a duty for.

    A stage's owner is that of all its steps that have none of their own, its time that of the steps it begins with.
    `SpecError` for a duty that is no stage's and no step's; `places` says where each key was written.
    """
    names = {it.name for it in plan.stages} | {step.id for step in plan.steps()}
    for name in plan.release.duties:
        if name not in names:
            key = f"upgrade.schedule.{name}"
            near = get_close_matches(name, sorted(names), n=1)
            known = ", ".join(stage.name for stage in plan.stages)
            raise SpecError(
                f"{places.get(key, '')}  {key}: the plan has no such stage or step".lstrip(),
                hint=f"did you mean {near[0]!r}?" if near else f"the stages are {known}",
            )
    stages = tuple(_stage(stage, plan.release.duties) for stage in plan.stages)
    return msgspec.structs.replace(plan, stages=stages)


def _stage(stage: Stage, duties: Mapping[str, Duty]) -> Stage:
    of_all = duties.get(stage.name, Duty())
    here = {step.id for step in stage.steps}
    steps = (
        _step(step, duties.get(step.id, Duty()), of_all, first=here.isdisjoint(step.needs))
        for step in stage.steps
    )
    return msgspec.structs.replace(stage, steps=tuple(steps))


def _step(step: Step, own: Duty, of_all: Duty, *, first: bool) -> Step:
    return msgspec.structs.replace(
        step,
        owner=own.owner or of_all.owner or step.owner,
        planned=own.at or (of_all.at if first else 0.0) or step.planned,
    )
