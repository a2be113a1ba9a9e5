"""The differences between two plans."""

import msgspec
import pytest

from changeover.model.diff import Difference, Kind, Subject, diff
from changeover.model.plan import Budget, Facts, Operation, Plan, Stage, Step
from changeover.model.release import Release
from changeover.model.site import Application, HostConfig, Node, Shell, Site

replace = msgspec.structs.replace


def step(name: str, **fields: object) -> Step:
    """A step that starts something."""
    return replace(Step(id=name, do=Operation("node.start", name), summary=f"start {name}"), **fields)


PLAN = Plan(
    site=Site(
        name="identity",
        hosts=(HostConfig("h1", "10.0.0.1"), HostConfig("h2", "10.0.0.2")),
        application=Application(
            "keystone", (Node("app1", "h1"), Node("app2", "h2")), {"start": Shell("true")}
        ),
    ),
    release=Release("1", "2"),
    stages=(
        Stage("one", "One", (step("app1/start"), step("app1/look"))),
        Stage("two", "Two", (step("app2/start"),)),
    ),
    facts=Facts(versions={"app1": "1"}, schemas={"main": ("a",)}),
    limits={"rotation": 1},
    budgets=(Budget("batch", 0),),
)
ONE, TWO = PLAN.stages


def with_site(**fields: object) -> Plan:
    """The plan for another site."""
    return replace(PLAN, site=replace(PLAN.site, **fields))


def test_a_plan_does_not_differ_from_itself_read_back_from_json() -> None:
    """Saved and read again, nothing differs."""
    assert diff(PLAN, Plan.from_json(PLAN.to_json())) == ()


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (
            with_site(hosts=(HostConfig("h1", "10.0.0.9"), PLAN.site.hosts[1])),
            Difference(Subject.SITE, Kind.CHANGED, "", "hosts.h1.address", "10.0.0.1", "10.0.0.9"),
        ),
        (
            with_site(hosts=PLAN.site.hosts[::-1]),
            Difference(Subject.SITE, Kind.CHANGED, "", "order of hosts", ["h1", "h2"], ["h2", "h1"]),
        ),
        (
            replace(PLAN, release=Release("1", "2", keep_serving=2)),
            Difference(Subject.RELEASE, Kind.CHANGED, "", "keep_serving", 1, 2),
        ),
        (
            replace(PLAN, facts=replace(PLAN.facts, versions={"app1": "1", "app2": "1"})),
            Difference(Subject.FACTS, Kind.ADDED, "", "versions.app2", None, "1"),
        ),
        (
            replace(PLAN, facts=replace(PLAN.facts, schemas={"main": ("a", "b")})),
            Difference(Subject.FACTS, Kind.CHANGED, "", "schemas.main", ["a"], ["a", "b"]),
        ),
        (
            replace(PLAN, limits={}),
            Difference(Subject.PLAN, Kind.REMOVED, "", "limits.rotation", 1, None),
        ),
        (
            replace(PLAN, budgets=(Budget("batch", 2),)),
            Difference(Subject.PLAN, Kind.CHANGED, "", "budgets.batch.limit", 0, 2),
        ),
        (
            replace(PLAN, stages=(TWO, ONE)),
            Difference(Subject.PLAN, Kind.CHANGED, "", "order of stages", ["one", "two"], ["two", "one"]),
        ),
        (
            replace(PLAN, stages=(replace(ONE, in_rotation=3), TWO)),
            Difference(Subject.STAGE, Kind.CHANGED, "one", "in_rotation", 0, 3),
        ),
        (
            replace(PLAN, stages=(replace(ONE, steps=(step("app1/start", timeout=5.0), ONE.steps[1])), TWO)),
            Difference(Subject.STEP, Kind.CHANGED, "app1/start", "timeout", 60.0, 5.0),
        ),
        (
            replace(PLAN, stages=(replace(ONE, steps=ONE.steps[::-1]), TWO)),
            Difference(
                Subject.STAGE,
                Kind.CHANGED,
                "one",
                "order of steps",
                ["app1/start", "app1/look"],
                ["app1/look", "app1/start"],
            ),
        ),
        (
            replace(
                PLAN,
                stages=(replace(ONE, steps=ONE.steps[:1]), replace(TWO, steps=(*TWO.steps, ONE.steps[1]))),
            ),
            Difference(Subject.STEP, Kind.CHANGED, "app1/look", "stage", "one", "two"),
        ),
    ],
)
def test_one_change_is_told_at_its_deepest_place(after: Plan, expected: Difference) -> None:
    """Exactly what was changed is told, by name, with both values."""
    assert diff(PLAN, after) == (expected,)


def test_a_stage_that_was_added_and_removed_is_told_with_its_steps() -> None:
    """The stage and each of its steps are told, whole."""
    three = Stage("three", "Three", (step("app3/start"),))
    added = diff(PLAN, replace(PLAN, stages=(ONE, TWO, three)))
    assert [(d.subject, d.kind, d.name) for d in added] == [
        (Subject.STAGE, Kind.ADDED, "three"),
        (Subject.STEP, Kind.ADDED, "app3/start"),
    ]
    assert added[0].after["title"] == "Three"
    removed = diff(replace(PLAN, stages=(ONE, TWO, three)), PLAN)
    assert [(d.kind, d.before["stage"]) for d in removed if d.subject is Subject.STEP] == [
        (Kind.REMOVED, "three")
    ]


def test_differences_are_json() -> None:
    """They survive JSON there and back."""
    found = diff(PLAN, replace(PLAN, limits={"rotation": 2}, stages=(ONE,)))
    assert msgspec.json.decode(msgspec.json.encode(found), type=tuple[Difference, ...]) == found
