"""What the simulated site itself says of a step."""

from changeover.actions import ACTIONS
from changeover.rehearsal import truth
from changeover.rehearsal.exploring import Explorer
from tests.unit.rehearsal.test_rehearsing import a_plan


def test_before_a_step_its_effect_is_missing_unless_it_only_looks() -> None:
    """Each step that changes something is seen not to be done when it begins: what always says yes judges nothing."""
    plan = a_plan()
    explorer = Explorer(plan, ACTIONS)
    explorer.nothing()
    moments, waiting = explorer.base.moments, ("node.health", "node.version")
    said = {
        step.id: truth.missing(step.do, moments[step.id].site, moments[step.id].run)
        for step in plan.steps()
        if step.id in moments and step.do.action not in waiting
    }
    for name, missing in said.items():
        if explorer.base.effects(name):
            assert missing, name
        else:
            assert not missing, name


def test_of_every_kind_of_step_but_what_leaves_nothing_behind_there_is_a_truth() -> None:
    """An action that is added gets one, or is named here."""
    assert ACTIONS.keys() - truth.KINDS == {
        "application.expect",
        "database.check",
        "host.check",
        "log.check",
        "node.hold",
        "node.test",
        "time.wait",
    }
