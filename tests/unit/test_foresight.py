"""A plan on its own arithmetic: what every strategy makes passes, and what was edited into harm does not."""

from collections.abc import Callable
from itertools import product

import msgspec
import pytest

from changeover.errors import SpecError
from changeover.foresight import changed, effect, endangers, refuse
from changeover.interlocks import ObservedDatabase, ObservedSite
from changeover.model.plan import Facts, Operation, Plan, Step
from changeover.model.release import Ability, Coexistence, CommandMigration, Fallback, Migrations
from changeover.strategies.rolling import rolling
from tests.sites import CONTRACT, EXPAND, a_release, a_site

OWN = CommandMigration("own", "migrate", "migrated", "app1", "downgrade")


def a_plan(facts: Facts | None = None, **changes: object) -> Plan:
    """A rolling one of four nodes."""
    return rolling(a_site(), a_release(**changes), facts or Facts())


def edited(plan: Plan, edit: Callable[[Step], Step | None]) -> Plan:
    """The plan with each step as the edit has it, or without it."""
    stages = [
        msgspec.structs.replace(stage, steps=tuple(new for step in stage.steps if (new := edit(step))))
        for stage in plan.stages
    ]
    return msgspec.structs.replace(plan, stages=tuple(stages))


def without(*names: str) -> Callable[[Step], Step | None]:
    """Leaves out steps, and what needs them needs them no more."""

    def edit(step: Step) -> Step | None:
        if step.id in names:
            return None
        needs = tuple(need for need in step.needs if need not in names)
        return msgspec.structs.replace(step, needs=needs)

    return edit


WELL = Facts()
OUT = Facts(pools={"public": {"app1": "maint", "app2": "maint", "app3": "drain", "app4": "ready"}})
HALF = Facts(versions={"app1": "v2", "app2": "v1", "app3": "", "app4": "v1"})
APPLIED = Facts(schemas={"main": (EXPAND.name,)})


@pytest.mark.parametrize(
    ("old_on_new", "facts"),
    [*product([Ability.START], [WELL, OUT, HALF, APPLIED]), *product([Ability.RUN], [WELL, OUT])],
)
@pytest.mark.parametrize("new_on_old", [*Ability])
def test_what_rolling_makes_breaks_nothing(old_on_new: Ability, new_on_old: Ability, facts: Facts) -> None:
    """Whatever the versions can do on each other's schema, and from wherever the site is; nor does its way back."""
    refuse(a_plan(facts, coexistence=Coexistence(old_on_new, new_on_old)))


@pytest.mark.parametrize("facts", [HALF, APPLIED])
def test_where_there_is_no_way_back_the_plan_must_say_so(facts: Facts) -> None:
    """The old version cannot be started on a schema that was there before the run, and stays."""
    coexistence = Coexistence(Ability.RUN)
    with pytest.raises(SpecError, match=r"on the way back .* app4 would be started as v1") as error:
        refuse(a_plan(facts, coexistence=coexistence))
    assert error.value.hint.endswith("`upgrade.fallback.stages: {batch-1: forward}`")
    refuse(a_plan(facts, coexistence=coexistence, fallback=Fallback(stages={"batch-1": "forward"})))


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (without("app2/out", "app2/drain"), "app2/stop: nothing serving is stopped"),
        (without("main/expand/001_kind"), "app1/start: no forbidden pair: app1 would be started as v2"),
        (without("main/verify-snapshot"), "main/expand/001_kind: verified backup"),
        (
            without("app2/drain", "app2/out", "app2/stop", "app2/switch", "app2/start"),
            "main/contract/002_legacy: no forbidden pair: app2 serves as v1",
        ),
        (without("app1/start"), "app1/enter: in rotation is running, well and of an allowed version"),
    ],
)
def test_an_edited_plan_that_breaks_an_interlock_is_refused(
    edit: Callable[[Step], Step | None], says: str
) -> None:
    """At the step where it would, with the rule, the evidence and a way out."""
    with pytest.raises(SpecError) as error:
        refuse(edited(a_plan(), edit))
    assert f"the plan would break an interlock at {says}" in error.value.message
    assert error.value.hint


def test_what_may_leave_at_the_same_time_is_counted_together() -> None:
    """Two nodes of one batch are both out at the worst, whatever their order in the plan."""
    plan = a_plan(keep_serving=3)
    refuse(plan)
    first, second = (stage for stage in plan.stages if stage.name in ("batch-1", "batch-2"))
    both = msgspec.structs.replace(first, steps=(*first.steps, *second.steps))
    merged = msgspec.structs.replace(
        plan, stages=tuple(both if stage is first else stage for stage in plan.stages if stage is not second)
    )
    with pytest.raises(SpecError, match=r"app2/drain: capacity floor: public would be left with 2 of 3"):
        refuse(merged)


def test_the_servers_of_another_node_are_not_touched() -> None:
    """A step names what its own node is at the balancer."""

    def edit(step: Step) -> Step:
        do = msgspec.structs.replace(step.do, params={"servers": {"public": "app3"}})
        return msgspec.structs.replace(step, do=do) if step.id == "app1/drain" else step

    with pytest.raises(
        SpecError, match="only the named servers: the step names app3 at public, where app1 is app1"
    ):
        refuse(edited(a_plan(), edit))


def test_versions_that_may_not_run_together_cannot_roll() -> None:
    """The first new node would start beside the old ones."""
    with pytest.raises(SpecError, match="app1 as v2 and app2 as v1 would run in one cluster"):
        refuse(a_plan(coexistence=Coexistence(together=False)))


def test_a_target_that_the_site_has_not_is_said() -> None:
    """Of a plan edited by hand."""

    def edit(step: Step) -> Step:
        do = msgspec.structs.replace(step.do, target="app9")
        return msgspec.structs.replace(step, do=do) if step.id == "app1/start" else step

    with pytest.raises(SpecError, match="no node named 'app9' in the site"):
        refuse(edited(a_plan(), edit))


def _sql(action: str, name: str) -> Operation:
    return Operation(action, "main", {"migration": {"name": name}})


def _own(run: str, expect: str) -> Operation:
    return Operation("database.command", "main", {"run": run, "observe": "migrated", "expect": expect})


RESTORE = Operation(
    "database.restore",
    "main",
    {"instead_of": [msgspec.to_builtins(it) for it in (_sql("database.migrate", EXPAND.name), _own("migrate", "yes"))]},
)  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "names", "left", "dangerous"),
    [
        (_sql("database.migrate", EXPAND.name), {EXPAND.name}, {EXPAND.name, "own"}, False),
        (_sql("database.migrate", CONTRACT.name), {CONTRACT.name}, {CONTRACT.name, EXPAND.name, "own"}, True),
        (_sql("database.revert", EXPAND.name), {EXPAND.name}, {"own"}, True),
        (_own("migrate", "yes"), {"own"}, {EXPAND.name, "own"}, False),
        (_own("downgrade", "no"), {"own"}, {EXPAND.name}, True),
        (RESTORE, {EXPAND.name, "own"}, set(), True),
    ],
)
def test_what_a_step_does_to_the_schema(
    operation: Operation, names: set[str], left: set[str], dangerous: bool
) -> None:
    """By its own ledger or the application's; forwards, backwards, or by the snapshot."""
    release = a_release(migrations=(Migrations("main", (EXPAND, OWN), (CONTRACT,)),))
    assert changed(operation, release) == names
    assert endangers(operation, release) is dangerous
    before = ObservedDatabase(applied=frozenset({EXPAND.name, "own"}), begun=frozenset({EXPAND.name}))
    after = effect(operation, release, ObservedSite(databases={"main": before})).databases["main"]
    assert after.applied == left
    assert after.begun == before.begun - names


def test_nothing_is_in_danger_where_every_version_runs_everywhere() -> None:
    """Then the nodes are not asked."""
    release = a_release(coexistence=Coexistence(new_on_old=Ability.RUN))
    assert not endangers(_sql("database.revert", EXPAND.name), release)
