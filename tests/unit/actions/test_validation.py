"""What no action could perform is found before the first one is."""

from collections.abc import Callable

import msgspec
import pytest

from changeover.actions.validation import validate
from changeover.errors import SpecError
from changeover.model.plan import Facts, Plan, Step
from changeover.model.values import Json
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_site

PLAN = STRATEGIES["rolling"](a_site(), a_release(), Facts())


def _edited(step: str, edit: Callable[[Step], Step]) -> Plan:
    """The plan in which one step is another one."""
    stages = tuple(
        msgspec.structs.replace(
            stage, steps=tuple(edit(each) if each.id == step else each for each in stage.steps)
        )
        for stage in PLAN.stages
    )
    return msgspec.structs.replace(PLAN, stages=stages)


def _with(params: dict[str, Json]) -> Callable[[Step], Step]:
    return lambda step: msgspec.structs.replace(step, do=msgspec.structs.replace(step.do, params=params))


def test_what_a_strategy_makes_is_accepted() -> None:
    """Every step of a whole plan and every way back carries what its kind declares, as it is read back too."""
    validate(PLAN)
    validate(Plan.from_json(PLAN.to_json()))


@pytest.mark.parametrize(
    ("step", "params", "said", "expected"),
    [
        (
            "app1/install",
            {},
            "node.install: Object missing required field `release`",
            "expected release: str;",
        ),
        ("app1/install", {"release": 2}, "node.install: Expected `str`, got `int` - at `$.release`", "str"),
        (
            "app1/install",
            {"release": "v2", "wait": 1},
            "node.install: Object contains unknown field `wait`",
            "str",
        ),
        (
            "app1/out",
            {"servers": {}, "escalation": "hope"},
            "traffic.remove: Invalid enum value 'hope' - at `$.escalation`",
            "escalation: Literal['stop', 'wait', 'cut'] (optional)",
        ),
        (
            "main/expand/001_kind",
            {"migration": {"kind": "sql", "name": "x"}, "lock_timeout": 1},
            "database.migrate: Object missing required field `sql` - at `$.migration`",
            "lock_timeout: float",
        ),
        (
            "app1/start",
            {"release": "v2"},
            "node.start: Object contains unknown field `release`",
            "expected none;",
        ),
    ],
)
def test_a_parameter_that_is_wrong_is_named(
    step: str, params: dict[str, Json], said: str, expected: str
) -> None:
    """The step, the parameter, and what was expected of it."""
    with pytest.raises(SpecError) as error:
        validate(_edited(step, _with(params)))
    assert error.value.message == f"step {step}: the parameters of {said}"
    assert expected in error.value.hint


def test_an_action_that_nobody_knows_is_named() -> None:
    """It is from another version, or from hands."""
    edited = _edited(
        "app1/stop",
        lambda step: msgspec.structs.replace(step, do=msgspec.structs.replace(step.do, action="x")),
    )
    with pytest.raises(SpecError, match="step app1/stop: nobody knows how to do 'x'"):
        validate(edited)


def test_a_way_back_is_looked_at_too() -> None:
    """What would only fail in the fallback fails here."""
    edited = _edited(
        "app1/switch", lambda step: msgspec.structs.replace(step, undo=tuple(map(_with({}), step.undo)))
    )
    with pytest.raises(SpecError, match="missing required field `release`"):
        validate(edited)
