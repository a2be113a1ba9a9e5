"""Owners and planned times, put on the steps of a plan."""

import pytest

from changeover.errors import SpecError
from changeover.model.duties import assigned
from changeover.model.plan import Facts, Plan
from changeover.model.release import Duty
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_site

NIGHT = 1_900_000_000.0


def planned(**duties: Duty) -> Plan:
    """The plan of a rolling upgrade with these duties; `__` stands for a slash."""
    named = {name.replace("__", "/"): duty for name, duty in duties.items()}
    return STRATEGIES["rolling"](a_site(), a_release(duties=named), Facts())


def test_a_stage_has_its_owner_on_every_step_and_its_time_on_the_first() -> None:
    """What comes after within the stage has no time of its own."""
    plan = assigned(planned(expand=Duty("anna", NIGHT)))
    expand = next(stage for stage in plan.stages if stage.name == "expand")
    assert {step.owner for step in expand.steps} == {"anna"}
    assert [step.planned for step in expand.steps if not step.needs] == [NIGHT]
    assert {step.planned for step in expand.steps if step.needs} <= {0.0}
    others = [step for stage in plan.stages if stage is not expand for step in stage.steps]
    assert {(step.owner, step.planned) for step in others} == {("", 0.0)}


def test_a_step_may_be_somebody_elses_than_its_stage() -> None:
    """What is said of the step counts."""
    plan = assigned(planned(expand=Duty("anna", NIGHT), main__expand__001_kind=Duty("lee", NIGHT + 60)))
    steps = {step.id: step for step in plan.steps()}
    assert (steps["main/expand/001_kind"].owner, steps["main/expand/001_kind"].planned) == ("lee", NIGHT + 60)


def test_a_duty_that_is_nothings_is_refused_with_what_was_meant() -> None:
    """And where it was written, as far as that is known."""
    with pytest.raises(
        SpecError, match=r"^upgrade.schedule.expnd: the plan has no such stage or step"
    ) as caught:
        assigned(planned(expnd=Duty("anna")))
    assert caught.value.hint == "did you mean 'expand'?"
    with pytest.raises(SpecError, match=r"^site.yaml:31:14  upgrade.schedule.xyz: ") as caught:
        assigned(planned(xyz=Duty("anna")), {"upgrade.schedule.xyz": "site.yaml:31:14"})
    assert caught.value.hint.startswith("the stages are check, install, ")


def test_without_duties_a_plan_stays_as_it_is() -> None:
    """To the byte."""
    assert assigned(planned()).digest() == planned().digest()
