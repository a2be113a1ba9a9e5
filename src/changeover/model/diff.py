"""What differs between two plans: pure, complete, and in the terms of the plan."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from changeover.model.plan import Plan, Stage
from changeover.model.values import Json, Value

_NAMES = ("name", "id", "database", "after", "scope")
"""What tells the items of a list apart, so that they are compared with their namesakes."""


class Subject(StrEnum):
    """What part of the plan a difference is in."""

    SITE = "site"
    RELEASE = "release"
    FACTS = "facts"
    PLAN = "plan"
    STAGE = "stage"
    STEP = "step"


class Kind(StrEnum):
    """How it differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Difference(Value, frozen=True):
    """One difference. `name` is the stage's or the step's; `field` is a dotted path within the subject.

    `before` is None for what was added, `after` for what was removed.
    """

    subject: Subject
    kind: Kind
    name: str = ""
    field: str = ""
    before: Json = None
    after: Json = None


def diff(before: Plan, after: Plan) -> tuple[Difference, ...]:
    """Everything that differs, the site first and the steps last; empty when nothing does."""
    # Through JSON, so that a plan read from a file and a fresh one are made of the same types.
    before, after = Plan.from_json(before.to_json()), Plan.from_json(after.to_json())
    return (
        *_inside(Subject.SITE, before.site, after.site),
        *_inside(Subject.RELEASE, before.release, after.release),
        *_inside(Subject.FACTS, before.facts, after.facts),
        *_whole(before, after),
        *_stages(before, after),
        *_steps(before, after),
    )


def _whole(before: Plan, after: Plan) -> Iterator[Difference]:
    for field in ("limits", "budgets", "format"):
        yield from _inside(Subject.PLAN, getattr(before, field), getattr(after, field), field=field)
    old, new = [stage.name for stage in before.stages], [stage.name for stage in after.stages]
    yield from _order(Subject.PLAN, "", "order of stages", old, new)


def _stages(before: Plan, after: Plan) -> Iterator[Difference]:
    old, new = ({stage.name: _heading(stage) for stage in plan.stages} for plan in (before, after))
    yield from _named(Subject.STAGE, old, new)


def _steps(before: Plan, after: Plan) -> Iterator[Difference]:
    old, new = (
        {step.id: {"stage": stage.name, **_fields(step)} for stage in plan.stages for step in stage.steps}
        for plan in (before, after)
    )
    yield from _named(Subject.STEP, old, new)
    stages = {stage.name: [step.id for step in stage.steps] for stage in before.stages}
    for stage in after.stages:
        steps = [step.id for step in stage.steps]
        yield from _order(Subject.STAGE, stage.name, "order of steps", stages.get(stage.name, []), steps)


def _heading(stage: Stage) -> dict[str, Any]:
    return {name: value for name, value in _fields(stage).items() if name != "steps"}


def _named(
    subject: Subject, before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]
) -> Iterator[Difference]:
    for name in (*before, *(name for name in after if name not in before)):
        if name not in after:
            yield Difference(subject, Kind.REMOVED, name, before=_plain(before[name]))
        elif name not in before:
            yield Difference(subject, Kind.ADDED, name, after=_plain(after[name]))
        else:
            yield from _inside(subject, before[name], after[name], name=name)


def _inside(
    subject: Subject, before: Any, after: Any, *, name: str = "", field: str = ""
) -> Iterator[Difference]:
    """The differences between two values of the plan, at the deepest place that tells them apart."""
    if before == after and type(before) is type(after):
        return
    old, new = _parts(before), _parts(after)
    if old is None or new is None or type(before) is not type(after):
        values = _plain(before), _plain(after)
        yield Difference(subject, Kind.CHANGED, name, field, *values)
        return
    for part in (*old, *(part for part in new if part not in old)):
        path = f"{field}.{part}" if field else part
        if part not in new:
            yield Difference(subject, Kind.REMOVED, name, path, before=_plain(old[part]))
        elif part not in old:
            yield Difference(subject, Kind.ADDED, name, path, after=_plain(new[part]))
        else:
            yield from _inside(subject, old[part], new[part], name=name, field=path)
    if isinstance(before, Sequence):
        yield from _order(subject, name, f"order of {field}", list(old), list(new))


def _order(subject: Subject, name: str, field: str, old: list[str], new: list[str]) -> Iterator[Difference]:
    """A difference if what both have comes in another order; what only one has is told of elsewhere."""
    if [item for item in old if item in new] != [item for item in new if item in old]:
        yield Difference(subject, Kind.CHANGED, name, field, old, new)


def _parts(value: Any) -> Mapping[str, Any] | None:
    """What a value consists of, by name; None for one that is compared as a whole."""
    if isinstance(value, msgspec.Struct):
        return _fields(value)
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        names = [_name(item) for item in value]
        if all(names) and len(set(names)) == len(names):
            return dict(zip(names, value, strict=True))
    return None


def _name(item: Any) -> str:
    found = (getattr(item, name, "") for name in _NAMES if isinstance(item, msgspec.Struct))
    return next((name for name in found if isinstance(name, str) and name), "")


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _plain(value: Any) -> Json:
    return msgspec.json.decode(msgspec.json.encode(value))
