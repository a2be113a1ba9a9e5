"""The way back, derived from a plan and from how far it has come."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from changeover.engine.graph import check
from changeover.errors import RefusedError
from changeover.fallback import Reached, from_the_end_of, point_of_no_return, reachable, way_back
from changeover.model.plan import Direction, Facts, Plan, Stage
from changeover.model.release import (
    Ability,
    Batch,
    Coexistence,
    Fallback,
    Migrations,
    Release,
    SqlMigration,
)
from changeover.spec import load
from changeover.strategies.rolling import rolling
from tests.sites import CONTRACT, EXPAND, a_release, a_site
from tests.unit.spec.conftest import Written

NODES = ("app1", "app2", "app3", "app4")


def _plan(release: Release | None = None, facts: Facts | None = None) -> Plan:
    return rolling(a_site(), release or a_release(), facts or Facts())


def _through(plan: Plan, last: str) -> dict[str, Reached]:
    """Every step done, up to that one, which is half-way."""
    reached: dict[str, Reached] = {}
    for step in plan.steps():
        reached[step.id] = Reached(at=1_800_000_000.0, done=step.id != last)
        if step.id == last:
            return reached
    raise AssertionError(last)


def _ids(stage: Stage) -> list[str]:
    return [step.id for step in stage.steps]


def _names(plan: Plan) -> list[str]:
    return [stage.name for stage in plan.stages]


def _all(plan: Plan) -> list[str]:
    return [step.id for step in plan.steps()]


def test_nothing_begun_is_nothing_to_take_back() -> None:
    """A run that has only looked so far goes nowhere."""
    plan = _plan()
    assert not way_back(plan, {}).stages
    assert not way_back(plan, _through(plan, "public/pool-check")).stages


def test_a_half_done_node_comes_back_first_and_its_new_version_is_not_waited_for() -> None:
    """It is stopped, switched, started and seen well in the old version, and nobody asks the new one's health."""
    plan = _plan()
    back = way_back(plan, _through(plan, "app2/health"))
    assert _names(back)[:3] == ["back-half-done", "back-batch-1", "back-expand"]
    assert _ids(back.stages[0]) == [
        f"back/app2/{verb}" for verb in ("stop", "switch", "start", "health", "version", "enter")
    ]
    switch = next(step for step in back.steps() if step.id == "back/app2/switch")
    assert switch.do.params["release"] == "v1"


def test_a_node_that_serves_the_new_version_is_drained_before_it_goes_back() -> None:
    """It leaves the rotation as politely as it did on the way there."""
    plan = _plan()
    back = way_back(plan, _through(plan, "app2/drain"))
    half_done, batch = back.stages[0], back.stages[1]
    assert _ids(half_done) == ["back/app2/enter"]
    assert _ids(batch)[:3] == ["back/app1/drain", "back/app1/out", "back/app1/stop"]
    assert all(a.id in b.needs for a, b in pairwise(batch.steps))
    assert batch.steps[0].limits == ("rotation",)


def test_batches_go_back_the_latest_first() -> None:
    """And no stage takes more nodes out than the same stage did."""
    plan = _plan(a_release(batches=(Batch(count=1), Batch(count=2))))
    back = from_the_end_of(next(stage for stage in plan.stages if stage.name == "verify"), plan)
    assert _names(back) == [
        "back-batch-3", "back-batch-2", "back-canary", "back-expand", "back-verify", "back-install",
    ]  # fmt: skip
    was = {f"back-{stage.name}": stage.in_rotation for stage in plan.stages}
    assert all(stage.in_rotation == was[stage.name] for stage in back.stages[:3])


def test_every_step_of_a_whole_way_back_has_its_counterpart() -> None:
    """From the last moment before the point of no return everything that changes something is taken back."""
    plan = _plan()
    back = from_the_end_of(reachable(plan)[-1], plan)
    undone = {undo.id for stage in reachable(plan) for step in stage.steps for undo in step.undo}
    assert undone - set(_all(back)) == {
        "back/main/drop-snapshot"
    }  # the only copy of what a down script drops
    assert [step.id for step in back.steps() if step.id.endswith("/verify")] == [
        f"back/{name}/verify" for name in NODES
    ]


def test_past_the_point_of_no_return_there_is_no_way_back() -> None:
    """Finalize has begun: that is said, with what can be done instead."""
    plan = _plan()
    last = point_of_no_return(plan)
    assert last
    assert last.name == "finalize"
    with pytest.raises(RefusedError, match="no way back any more: finalize") as refused:
        way_back(plan, _through(plan, "main/snapshot-before-contract"))
    assert "--stay" in refused.value.hint


def test_an_open_finalize_gate_does_not_end_the_way_back() -> None:
    """A gate that waits has changed nothing."""
    plan = _plan()
    assert way_back(plan, _through(plan, "finalize/approve")).stages


def _no_down(transactional: bool = True, down: str = "") -> Release:
    one = SqlMigration("001_kind", "ALTER TABLE t ADD kind text", "c1", down="ALTER TABLE t DROP kind")
    two = SqlMigration("002_more", "UPDATE t SET more = 1", "c2", transactional=transactional, down=down)
    return a_release(migrations=(Migrations("main", (one, two), (CONTRACT,)),))


def test_a_restore_takes_the_place_of_every_undo_after_the_snapshot() -> None:
    """One migration without a down script: the snapshot replaces both, behind a person who knows the loss."""
    plan = _plan(_no_down())
    back = way_back(plan, _through(plan, "main/expand/002_more"))
    schema = next(stage for stage in back.stages if stage.name == "back-expand")
    assert _ids(schema) == ["back/main/restore/approve", "back/main/restore"]
    assert schema.steps[0].person
    assert "written to main since 2027-01-15 08:00:00 UTC is lost" in schema.steps[0].summary
    assert schema.steps[1].do.params["label"] == "before-v2"
    assert schema.steps[1].needs == (schema.steps[0].id,)
    assert "back/main/drop-snapshot" not in _all(back)


def test_a_migration_that_died_between_two_statements_is_restored_although_it_has_a_down_script() -> None:
    """What is half there cannot be taken back by a script that expects all of it."""
    plan = _plan(_no_down(transactional=False, down="UPDATE t SET more = 0"))
    assert "back/main/restore" in _all(way_back(plan, _through(plan, "main/expand/002_more")))
    assert "back/main/restore" not in _all(way_back(plan, _through(plan, "app1/drain")))


@pytest.mark.parametrize(("driver", "way"), [("mariadb", "restore"), ("postgresql", "expand/001_add")])
def test_a_torn_migration_of_mariadb_is_restored_although_its_file_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, way: str
) -> None:
    """As a file is read for that site: half of it may be there on MariaDB, and the driver reverts no unfinished one."""
    monkeypatch.chdir(tmp_path)
    files = Written(tmp_path)
    files.change("{postgresql: {host: db1", f"{{{driver}: {{host: db1")
    spec = load(files.path)
    plan = rolling(spec.site, spec.release, Facts())
    torn = way_back(plan, _through(plan, "main/expand/001_add"))
    assert [name for name in _all(torn) if name.startswith("back/main/")][-1] == f"back/main/{way}"


def test_what_a_person_skipped_is_taken_back_but_never_by_a_restore() -> None:
    """They may have done it by hand; writes are not lost for what may never have happened."""
    plan = _plan(_no_down())
    reached = _through(plan, "main/expand/002_more") | {
        "main/expand/002_more": Reached(done=False, skipped=True)
    }
    back = way_back(plan, reached)
    assert "back/main/expand/001_kind" in _all(back)
    assert "back/main/restore" not in _all(back)


def test_an_old_version_that_cannot_start_on_the_new_schema_waits_for_the_schema() -> None:
    """Where the new one can run on the old schema, the schema goes first and nobody is missed."""
    plan = _plan(a_release(coexistence=Coexistence(Ability.RUN, Ability.RUN)))
    back = way_back(plan, _through(plan, "app2/start"))
    assert _names(back)[:3] == ["back-expand", "back-half-done", "back-batch-1"]


def test_nodes_leave_before_a_schema_that_they_cannot_live_on_goes_back() -> None:
    """And come back once it has; while enough old nodes serve, nobody is asked."""
    plan = _plan(a_release(coexistence=Coexistence(Ability.RUN, Ability.NO)))
    back = way_back(plan, _through(plan, "app2/start"))
    assert _names(back)[:3] == ["back-leave", "back-expand", "back-return"]
    leave, _, come = back.stages[:3]
    assert [step.id for step in leave.steps if step.do.action == "node.stop"] == [
        "back/app2/stop",
        "back/app1/stop",
    ]
    assert {"back/app1/start", "back/app2/start", "back/app1/enter"} <= set(_ids(come))
    assert leave.in_rotation == 2  # four nodes, two of them upgraded
    assert not leave.outage


def test_too_few_old_nodes_left_is_an_outage_that_a_person_agrees_to() -> None:
    """The floor is given up only behind a gate that says so."""
    plan = _plan(a_release(coexistence=Coexistence(Ability.RUN, Ability.NO)))
    leave = way_back(plan, _through(plan, "app4/start")).stages[0]
    assert leave.outage
    assert leave.steps[0].person
    assert "0 nodes serve" in leave.steps[0].summary
    assert all(step.needs for step in leave.steps[1:])


def test_an_old_node_that_never_stopped_serves_again_before_others_leave() -> None:
    """It runs on, so it is counted: with it there are enough, and nobody is asked."""
    plan = _plan(a_release(coexistence=Coexistence(Ability.RUN, Ability.NO), keep_serving=3))
    back = way_back(plan, _through(plan, "app2/out"))
    assert _names(back)[:4] == ["back-unstopped", "back-leave", "back-expand", "back-return"]
    assert _ids(back.stages[0]) == ["back/app2/enter"]
    assert {step.unit for step in back.stages[1].steps} == {"app1"}
    assert back.stages[1].in_rotation == 3
    assert not back.stages[1].outage
    assert way_back(plan, _through(plan, "app2/stop")).stages[0].outage


def test_a_stage_that_asks_is_taken_back_behind_a_gate() -> None:
    """The operator's file says `ask` for the schema."""
    plan = _plan(a_release(fallback=Fallback(stages={"expand": Direction.ASK})))
    schema = next(
        stage for stage in way_back(plan, _through(plan, "app1/drain")).stages if stage.name == "back-expand"
    )
    assert _ids(schema) == ["back/expand/approve", "back/main/expand/001_kind"]
    assert schema.steps[1].needs == ("back/expand/approve",)


def test_a_stage_that_is_kept_stays_while_the_rest_is_taken_back() -> None:
    """The nodes go back to the old version on the schema that both can live on."""
    plan = _plan(a_release(fallback=Fallback(stages={"expand": Direction.KEEP})))
    back = way_back(plan, _through(plan, "app1/enter"))
    assert _names(back) == ["back-half-done", "back-verify", "back-install"]


def test_what_was_there_before_the_run_is_not_taken_back() -> None:
    """A migration in the ledger when the plan was made; a node that did not serve then is stopped and out again."""
    facts = Facts(
        versions={"app1": "", "app2": "v1", "app3": "v1", "app4": "v1"}, schemas={"main": (EXPAND.name,)}
    )
    plan = _plan(facts=facts)
    back = way_back(plan, _through(plan, "app2/enter"))
    assert not [step for step in _all(back) if "expand" in step]
    assert [step for step in _all(back) if "app1" in step] == [
        f"back/app1/{work}" for work in ("drain", "out", "stop", "switch", "uninstall")
    ]
    assert {"back/app2/switch", "back/app2/enter", "back/app2/verify"} <= set(_all(back))


def test_a_schema_that_a_node_of_the_new_version_lives_on_is_not_taken_back() -> None:
    """An earlier run has left it there; what was there before this run stays."""
    facts = Facts(versions={"app1": "v2", "app2": "v1", "app3": "v1", "app4": "v1"})
    plan = _plan(facts=facts)
    back = way_back(plan, _through(plan, "app2/enter"))
    assert not [step for step in _all(back) if "app1" in step or "expand" in step]


@given(some.data())
def test_from_any_set_of_begun_steps_the_way_back_can_be_executed(data: some.DataObject) -> None:
    """Ids are unique, needs are met, and no new version's health is ever waited for."""
    old, new = some.sampled_from([Ability.START, Ability.RUN]), some.sampled_from(Ability)
    release = a_release(
        batches=(Batch(count=data.draw(some.integers(1, 2))),),
        coexistence=Coexistence(data.draw(old), data.draw(new)),
        migrations=data.draw(some.sampled_from([a_release(), _no_down(), _no_down(False)])).migrations,
    )
    plan = _plan(release)
    steps = [step.id for stage in reachable(plan) for step in stage.steps if not step.person]
    begun = data.draw(some.lists(some.sampled_from(steps), unique=True))
    reached = {
        step: Reached(done=data.draw(some.booleans()), skipped=data.draw(some.booleans())) for step in begun
    }
    back = way_back(plan, reached)
    if back.stages:
        check(back)
    versions = [step.do.params["version"] for step in back.steps() if step.do.action == "node.version"]
    assert set(versions) <= {release.from_version}
    touched = {step.unit for step in plan.steps() if step.id in reached and step.undo and step.unit}
    assert {step.unit for step in back.steps() if step.unit} <= touched
    assert msgspec.convert(msgspec.to_builtins(back), Plan) == back


def test_the_snapshot_of_a_database_that_was_not_changed_goes_with_the_rest() -> None:
    """It is the copy of nothing that is not there."""
    plan = _plan()
    assert "back/main/drop-snapshot" in _all(way_back(plan, _through(plan, "main/verify-snapshot")))


def test_a_skipped_step_of_finalize_is_not_the_point_of_no_return() -> None:
    """Nothing was given up: the way back is there."""
    plan = _plan()
    skipped = {"app1/remove-old": Reached(done=False, skipped=True)}
    assert way_back(plan, _through(plan, "app1/enter") | skipped).stages


def test_a_node_with_a_skipped_step_that_serves_again_goes_back_in_its_batch() -> None:
    """It is drained like the others, one after another, and not as one that is half-way."""
    plan = _plan()
    reached = _through(plan, "app2/enter")
    reached |= {"app2/enter": Reached(), "app1/out": Reached(done=False, skipped=True)}
    assert _names(way_back(plan, reached))[:2] == ["back-batch-2", "back-batch-1"]


def test_a_node_that_is_not_well_afterwards_goes_back_before_those_that_are() -> None:
    """Nobody else can be spared until it is back."""
    plan = _plan()
    ill = {step.id: Reached() for step in plan.steps() if step.id.endswith("/verify")}
    reached = _through(plan, "app4/enter") | {"app4/enter": Reached()} | ill
    reached["app2/verify"] = Reached(done=False)
    assert _names(way_back(plan, reached))[:4] == [
        "back-batch-2",
        "back-batch-4",
        "back-batch-3",
        "back-batch-1",
    ]
