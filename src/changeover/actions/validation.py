"""Whether a plan's steps can be performed as they read, asked before the first one is."""

import inspect

import msgspec
from msgspec.structs import fields

from changeover.actions import ACTIONS, Action
from changeover.errors import SpecError
from changeover.model.plan import Plan, Step


def validate(plan: Plan) -> None:
    """`SpecError` names the first step of the plan, or of its ways back, that nobody could perform, and why."""
    for step in plan.steps():
        for each in (step, *step.undo):
            if not each.person:
                _validate(each)


def _validate(step: Step) -> None:
    action = ACTIONS.get(step.do.action)
    if action is None:
        raise SpecError(
            f"step {step.id}: nobody knows how to do {step.do.action!r}",
            hint="run the plan with the version of Changeover that made it, or make a new one",
        )
    try:
        action.params.of(step.do)
    except msgspec.ValidationError as error:
        raise SpecError(
            f"step {step.id}: the parameters of {step.do.action}: {error}",
            hint=f"expected {_expected(action)}; make a new plan",
        ) from error


def _expected(action: Action) -> str:
    said = [
        f"{field.name}: {inspect.formatannotation(field.type)}" + ("" if field.required else " (optional)")
        for field in fields(action.params)
    ]
    return ", ".join(said) or "none"
