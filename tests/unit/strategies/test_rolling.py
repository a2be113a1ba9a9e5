"""The rolling strategy: what it plans, and what it refuses to plan."""

import msgspec
import pytest

from changeover.errors import SpecError
from changeover.model.plan import Facts, Plan
from changeover.model.release import (
    Ability,
    Batch,
    Budgets,
    Coexistence,
    CommandMigration,
    Fallback,
    Gate,
    Migrations,
    Release,
)
from changeover.strategies.rolling import batches, rolling
from tests.sites import a_release, a_site


def _plan(release: Release | None = None, nodes: int = 4) -> Plan:
    return rolling(a_site(nodes), release or a_release(), Facts())


def test_the_stages_come_in_the_order_that_keeps_the_way_back() -> None:
    """Check, stage, snapshot, expand, the batches, verify, and finalize last."""
    names = [stage.name for stage in _plan().stages]
    assert names[:4] == ["check", "install", "snapshot", "expand"]
    assert names[4:] == ["batch-1", "batch-2", "batch-3", "batch-4", "verify", "finalize"]


def test_a_node_goes_through_its_steps_in_order() -> None:
    """Each step of a node needs the one before it, from drain to enter."""
    stage = next(stage for stage in _plan().stages if stage.name == "batch-1")
    assert [step.id.partition("/")[2] for step in stage.steps] == [
        "drain", "out", "stop", "switch", "start", "health", "version", "enter",
    ]  # fmt: skip
    for before, after in zip(stage.steps, stage.steps[1:], strict=False):
        assert after.needs == (before.id,)


def test_every_step_is_undone_or_says_why_not() -> None:
    """No step leaves open how it is taken back, and ids are unique."""
    plan = _plan()
    steps = list(plan.steps())
    assert all(step.undo or step.restore or step.undo_note for step in steps)
    assert len({step.id for step in steps}) == len(steps)


def test_needs_name_steps_of_the_same_or_an_earlier_stage() -> None:
    """The plan can be executed in the order in which it is written down."""
    seen: set[str] = set()
    for step in _plan().steps():
        assert seen.issuperset(step.needs)
        seen.add(step.id)


@pytest.mark.parametrize(
    ("declared", "sizes"),
    [
        ((Batch(count=1),), [1, 1, 1, 1]),
        ((Batch(count=1), Batch(percent=50)), [1, 2, 1]),
        ((Batch(percent=50),), [2, 2]),
        ((Batch(percent=1),), [1, 1, 1, 1]),
        ((Batch(count=9),), [4]),
    ],
)
def test_batches_are_taken_by_number_or_percent(declared: tuple[Batch, ...], sizes: list[int]) -> None:
    """The last size is repeated, a percentage is of all nodes and comes to at least one."""
    release = a_release(batches=declared, keep_serving=0)
    assert [len(batch) for batch in batches(a_site(4).application.nodes, release)] == sizes


def test_a_batch_that_breaks_the_floor_is_refused() -> None:
    """Planning names the batch, what it would leave, and the floor."""
    with pytest.raises(
        SpecError, match=r"batch 2 \(50%\) takes 2 of 4 serving nodes out and leaves 2; keep_serving is 3"
    ):
        _plan(a_release(batches=(Batch(count=1), Batch(percent=50)), keep_serving=3))


def test_the_floor_itself_is_allowed() -> None:
    """A batch that leaves exactly keep_serving nodes is planned, and says what stays in rotation."""
    plan = _plan(a_release(batches=(Batch(count=2),), keep_serving=2))
    assert [stage.in_rotation for stage in plan.stages if stage.batch] == [2, 2]


def test_a_missing_capability_is_named() -> None:
    """What rolling needs and nobody binds is an error of planning."""
    site = a_site()
    fewer = {name: binding for name, binding in site.application.capabilities.items() if name != "switch"}
    application = msgspec.structs.replace(site.application, capabilities=fewer)
    with pytest.raises(SpecError, match="not bound: switch"):
        rolling(msgspec.structs.replace(site, application=application), a_release(), Facts())


def test_a_node_in_no_pool_is_refused() -> None:
    """A node that no balancer knows cannot be drained."""
    site = a_site(2)
    lonely = tuple(msgspec.structs.replace(node, servers={}) for node in site.application.nodes)
    application = msgspec.structs.replace(site.application, nodes=lonely)
    with pytest.raises(SpecError, match="app1 is in no pool"):
        rolling(msgspec.structs.replace(site, application=application), a_release(), Facts())


def test_the_canary_is_the_first_batch_and_its_gate_comes_right_after() -> None:
    """A hold is measured first, then a person is asked."""
    release = a_release(
        batches=(Batch(count=1), Batch(count=2)), gates=(Gate("canary", approve=True, hold=30),)
    )
    stages = {stage.name: stage for stage in _plan(release).stages}
    names = list(stages)
    assert names[names.index("canary") + 1] == "after-canary"
    watch, approve = stages["after-canary"].steps
    assert (watch.do.target, watch.do.params) == ("app1", {"seconds": 30})
    assert approve.person
    assert approve.needs == (watch.id,)


def test_a_gate_after_nothing_is_refused() -> None:
    """The error names the stages that there are."""
    with pytest.raises(SpecError, match="after 'nonsense'; this plan has batch-1"):
        _plan(a_release(gates=(Gate("nonsense", approve=True),)))


def test_finalize_waits_for_a_person_in_every_step() -> None:
    """Nothing that gives up the way back can begin before the approval."""
    finalize = _plan().stages[-1]
    gate, *work = finalize.steps
    assert finalize.finalize
    assert gate.person
    kinds = {"database.snapshot", "database.verify", "database.migrate", "node.uninstall"}
    assert {step.do.action for step in work} == kinds
    assert all(gate.id in step.needs for step in work)


def test_a_migration_without_a_down_text_goes_back_by_the_snapshot() -> None:
    """The plan says so where it cannot be undone by itself."""
    contract = next(step for step in _plan().steps() if step.id == "main/contract/002_legacy")
    assert contract.undo == ()
    assert contract.restore == "before-contract-v2"


def test_no_migration_runs_without_the_verified_snapshot() -> None:
    """Every migration names the snapshot that the plan has taken and verified before."""
    plan = _plan()
    labels = {step.do.params["label"] for step in plan.steps() if step.do.action == "database.verify"}
    migrations = [step for step in plan.steps() if step.do.action == "database.migrate"]
    assert migrations
    assert {step.do.params["backup"] for step in migrations} == labels


def test_the_applications_own_migration_runs_on_its_node() -> None:
    """A command migration is observed by one capability, run and undone by others."""
    own = CommandMigration("expand", "expand", "expanded", "app1", undo="unexpand")
    plan = _plan(a_release(migrations=(Migrations("main", expand=(own,), lock_timeout=1, attempts=7),)))
    step = next(step for step in plan.steps() if step.id == "main/expand/expand")
    assert (step.do.params["run"], step.do.params["expect"], step.attempts) == ("expand", "yes", 7)
    assert (step.do.params["release"], step.do.params["lock_timeout"]) == ("v2", 1)
    (undo,) = step.undo
    assert (undo.do.params["run"], undo.do.params["expect"]) == ("unexpand", "no")


def test_budgets_are_in_the_plan_with_their_units() -> None:
    """A reader sees how many nodes may fail, and where."""
    plan = _plan(a_release(budgets=Budgets(batch=1, total=2, consecutive=1)))
    assert [(b.scope, b.limit, b.unit) for b in plan.budgets] == [
        ("batch", 1, "nodes"),
        ("total", 2, "nodes"),
        ("consecutive", 1, "nodes"),
    ]


def test_the_same_input_gives_the_same_plan() -> None:
    """Planning is pure: same digest, and the JSON brings the very plan back."""
    plan = _plan()
    assert plan.digest() == _plan().digest()
    assert Plan.from_json(plan.to_json()) == plan
    assert Plan.from_json(plan.to_json()).digest() == plan.digest()


def test_a_site_half_way_is_planned_from_where_it_is() -> None:
    """After an abort: what serves v2 is only verified, what is out of rotation goes first, the rest as ever."""
    facts = Facts(
        versions={"app1": "v2", "app2": "", "app3": "v1", "app4": "v1"},
        pools={"public": {"app1": "ready", "app2": "maint", "app3": "ready", "app4": "ready"}},
    )
    plan = rolling(a_site(), a_release(), facts)
    upgraded = [stage.steps[0].do.target for stage in plan.stages if stage.batch]
    assert upgraded == ["app2", "app3", "app4"]
    assert [stage.in_rotation for stage in plan.stages if stage.batch] == [3, 3, 3]
    checked = {step.id: step.do.params for step in plan.steps() if step.do.action == "node.check"}
    assert checked == {f"app{n}/check": {"version": v} for n, v in [(1, "v2"), (3, "v1"), (4, "v1")]}
    assert {step.do.target for step in plan.steps() if step.do.action == "node.verify"} == set(facts.versions)


def test_a_node_of_a_third_version_is_refused() -> None:
    """Planning says which node, and which versions it knows."""
    with pytest.raises(SpecError, match="app3 runs v0; the upgrade is from v1 to v2"):
        rolling(a_site(), a_release(), Facts(versions={"app3": "v0"}))


def test_what_belongs_to_a_node_is_counted_as_its_failure() -> None:
    """A node that is set aside takes its verification along, so that the others can be finished."""
    plan = _plan(a_release(gates=(Gate("verify", hold=5),)))
    assert all(step.unit for step in plan.steps() if step.do.action in ("node.verify", "node.hold"))


def test_an_old_version_that_cannot_run_on_the_new_schema_is_refused() -> None:
    """Rolling migrates while the old nodes serve."""
    release = a_release(coexistence=Coexistence(old_on_new=Ability.NO))
    with pytest.raises(SpecError, match="v1 cannot run on the new schema"):
        rolling(a_site(), release, Facts())


def test_a_schema_that_is_kept_must_be_one_that_the_old_version_can_start_on() -> None:
    """Else the way back would end with nodes that cannot be started."""
    release = a_release(
        coexistence=Coexistence(old_on_new=Ability.RUN), fallback=Fallback(stages={"expand": "keep"})
    )
    with pytest.raises(SpecError, match="cannot be started on the new schema"):
        rolling(a_site(), release, Facts())


def test_only_what_leaves_no_node_behind_can_be_kept() -> None:
    """A batch that is kept would run on what goes back under it."""
    with pytest.raises(SpecError, match="batch-1 cannot be kept on the way back"):
        rolling(a_site(), a_release(fallback=Fallback(stages={"batch-1": "keep"})), Facts())
