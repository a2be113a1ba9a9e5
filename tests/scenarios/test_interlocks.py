"""The interlocks on real hosts: each is violated by another hand in the middle of a run, which stops before the effect."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from changeover.engine.events import Verb
from changeover.engine.fold import RunStatus
from changeover.lab.layout import APP_PORT
from changeover.model.plan import Plan, Stage, Step
from changeover.model.release import Cause, SqlMigration
from changeover.model.site import AccessConfig, Shell
from changeover.model.states import RunState, StepState
from changeover.strategies import blocks
from changeover.strategies.blocks import approve
from tests.labkit import LabUnderTest
from tests.scenarios.operator import Operator, upgraded

pytestmark = [pytest.mark.lab, pytest.mark.slow]

GATE = "look/approve"
EXPAND = "main/expand/001_notes_words"
CONTRACT = "main/contract/001_drop_notes_folded"
SNAPSHOTS = "/var/lib/changeover/snapshots/main"

Happens = Callable[[LabUnderTest], object]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where the run's journal is."""
    return tmp_path / "journal.db"


def _haproxy(lab: LabUnderTest, command: str) -> str:
    return lab.run_on("lb1", f"echo '{command}' | socat - /run/haproxy/admin.sock")


def _loses_a_node(lab: LabUnderTest) -> None:
    lab.run_on("app4", "systemctl kill --signal=KILL lab-app.service; systemctl stop lab-app.service")
    for _ in range(300):
        lines = [line.split(",") for line in _haproxy(lab, "show stat").splitlines()]
        if any(line[:2] == ["app", "app4"] and line[17] == "DOWN" for line in lines if len(line) > 17):
            return
        time.sleep(0.1)
    raise AssertionError("the balancer does not notice")


def _says(node: str, version: str) -> Happens:
    return lambda lab: lab.set_fault(node, "wrong-version", version)


def _told(server: str, state: str) -> Happens:
    return lambda lab: _haproxy(lab, f"set server app/{server} state {state}")


def _holds_something(lab: LabUnderTest) -> None:
    lab.run_on("app1", "echo 17 >/run/unflushed")


def _schema_goes_back(lab: LabUnderTest) -> None:
    statement = (
        "ALTER TABLE notes DROP COLUMN words; DELETE FROM changeover_migration WHERE name = '001_notes_words'"
    )
    lab.run_on(
        "db1", f"runuser -u postgres -- psql --quiet -v ON_ERROR_STOP=1 -d app -c {json.dumps(statement)}"
    )


def _mark_goes(lab: LabUnderTest) -> None:
    manifest = f"{SNAPSHOTS}/before-v2.*/manifest.json"
    lab.run_on(
        "db1",
        f"""sed -Ei 's/"verified": *true/"verified": false/' {manifest}; grep -q '": false' {manifest}""",
    )


async def _up_to(step: str, operator: Operator) -> RunStatus:
    """Run the lab's plan, in which a person is waited for right before that step."""

    def gated(it: Step) -> Step:
        return msgspec.structs.replace(it, needs=(*it.needs, GATE)) if it.id == step else it

    plan = await operator.plan()
    stages = []
    for stage in plan.stages:
        gates = [
            msgspec.structs.replace(approve("look", "a person looks"), needs=it.needs)
            for it in stage.steps
            if it.id == step
        ]
        stages.append(msgspec.structs.replace(stage, steps=(*gates, *map(gated, stage.steps))))
    edited: Plan = msgspec.structs.replace(plan, stages=tuple(stages))
    status = await operator.conductor.run(
        edited, actor="test", reason="test", on_stop="return", observer=operator._see
    )
    assert status.steps_in(StepState.WAITING) == [GATE], status.reason
    return status


async def _said(operator: Operator, verb: Verb, step: str = "") -> RunStatus:
    await operator.conductor.send(verb, actor="test", step=step, reason="the tester says so")
    return await operator.resume()


def stopped_before(status: RunStatus, step: str) -> str:
    """Why the run has stopped, by an interlock, with nothing of the step begun."""
    assert (status.state, status.cause) == (RunState.STOPPED, Cause.INTERLOCK), status.reason
    assert status.reason.startswith(f"{step}: ")
    assert (status.steps[step].state, status.steps[step].attempt) == (StepState.PENDING, 0)
    return status.reason.removeprefix(f"{step}: ")


@pytest.mark.parametrize(
    ("step", "happens", "reason"),
    [
        (
            "app1/drain",
            _loses_a_node,
            "capacity floor: public would be left with 2 of 3 servers in rotation, the floor is 3 (bring another",
        ),
        (
            "app1/drain",
            _says("app3", "v0"),
            "in rotation is running, well and of an allowed version: app3 is in rotation at public and runs v0",
        ),
        (
            "app1/enter",
            _says("app1", "v0"),
            "in rotation is running, well and of an allowed version: app1 runs v0, not v1 or v2 (set app1 right",
        ),
        (
            "app1/stop",
            _told("app1", "ready"),
            "nothing serving is stopped: app1 is in rotation at public (drain it and take it out first",
        ),
        (
            "app1/stop",
            _holds_something,
            "nothing unflushed is stopped: app1 says that 17 is unflushed (let it write that out",
        ),
        (
            "app1/start",
            _schema_goes_back,
            "no forbidden pair: app1 would be started as v2, which can neither start nor run there: main at",
        ),
        (EXPAND, _mark_goes, "verified backup: no verified snapshot 'before-v2."),
    ],
)
async def test_a_run_stops_before_the_effect(
    fresh_lab: LabUnderTest, journal: Path, step: str, happens: Happens, reason: str
) -> None:
    """Given a person is waited for before a step, when another hand breaks a rule meanwhile, then it is not begun."""
    operator = Operator(fresh_lab, journal, keep_serving=3)
    fresh_lab.run_on("app1", "rm -f /run/unflushed")
    _bind(operator, unflushed=Shell("cat /run/unflushed 2>/dev/null || echo 0"))
    await _up_to(step, operator)
    happens(fresh_lab)
    status = await _said(operator, Verb.APPROVE, GATE)
    assert stopped_before(status, step).startswith(reason)
    assert operator.started(step) == 0


async def test_what_another_hand_moves_is_reported_as_that(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given app1 drains, when app3 is taken out by hand meanwhile, then the run says so; set right, it goes on."""
    operator = Operator(fresh_lab, journal, keep_serving=1)
    operator.when("app1/drain", StepState.RUNNING, lambda: _told("app3", "maint")(fresh_lab))
    status = await operator.run()
    assert (status.state, status.cause) == (RunState.STOPPED, Cause.INTERLOCK), status.reason
    assert status.reason.startswith(
        "app1/drain: only the named servers: app3 at public went from ready to maint, which no step of this run does"
    )
    assert operator.started("app1/out") == 0
    _told("app3", "ready")(fresh_lab)
    assert upgraded(await _said(operator, Verb.CONTINUE))


async def test_nothing_is_contracted_under_an_old_node(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given everything is upgraded, when app3 serves the old version again, then finalize stops before the contract."""
    operator = Operator(fresh_lab, journal)
    assert upgraded(await operator.run())
    fresh_lab.set_fault("app3", "wrong-version", "v1")
    status = await operator.finalize()
    assert stopped_before(status, CONTRACT).startswith("no forbidden pair: app3 serves as v1")
    fresh_lab.set_fault("app3", "wrong-version", None)
    assert (await operator.retry(CONTRACT)).state is RunState.DONE


async def test_the_schema_does_not_go_back_under_a_new_node(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given all nodes went back, when one of them serves the new version again, then the schema stays as it is."""
    operator = Operator(fresh_lab, journal)
    assert upgraded(await operator.run())
    operator.when(
        "back/app1/enter",
        StepState.RUNNING,
        lambda: fresh_lab.set_fault("app4", "wrong-version", "v2"),
    )
    status = await _said(operator, Verb.ABORT)
    assert stopped_before(status, f"back/{EXPAND}").startswith("no forbidden pair: app4 serves as v2")
    fresh_lab.set_fault("app4", "wrong-version", None)
    assert (await operator.retry(f"back/{EXPAND}")).state is RunState.FELL_BACK


async def test_nothing_is_restored_from_an_unverified_snapshot(
    fresh_lab: LabUnderTest, journal: Path
) -> None:
    """Given a person agreed to a restore, when the snapshot's mark has gone, then the database is left alone."""
    operator = Operator(fresh_lab, journal)
    release = operator.conductor.spec.release
    migrations = tuple(
        msgspec.structs.replace(
            change,
            expand=tuple(
                msgspec.structs.replace(it, down="") if isinstance(it, SqlMigration) else it
                for it in change.expand
            ),
        )
        for change in release.migrations
    )
    operator.conductor.spec = msgspec.structs.replace(
        operator.conductor.spec, release=msgspec.structs.replace(release, migrations=migrations)
    )
    assert upgraded(await operator.run())
    assert (await _said(operator, Verb.ABORT)).state is RunState.WAITING
    _mark_goes(fresh_lab)
    status = await _said(operator, Verb.APPROVE, "back/main/restore/approve")
    assert stopped_before(status, "back/main/restore").startswith("verified backup: no verified snapshot")


async def test_a_gate_that_another_hand_opens_stops_the_work_behind_it(
    fresh_lab: LabUnderTest, journal: Path
) -> None:
    """Given a site that is closed, when its rules are flushed by hand, then nothing is begun until it is closed again."""
    operator = Operator(fresh_lab, journal)
    spec = operator.conductor.spec
    gate = AccessConfig(
        "public",
        "nftables",
        ("app4",),
        (APP_PORT,),
        {str(APP_PORT): (fresh_lab.addresses["lb1"],)},
        outside=("app3",),
    )
    site = msgspec.structs.replace(spec.site, access=(gate,))
    operator.conductor.spec = msgspec.structs.replace(spec, site=site)
    assert all(it.good for it in await operator.conductor.check())
    plan = await operator.plan()
    snapshot, _ = blocks.snapshot("main", "before-v2", plan.release)
    closed = (approve("look", "a person looks"), msgspec.structs.replace(snapshot, needs=(GATE,)))
    stages = (
        Stage("close", "", (blocks.close_access(gate, plan.release),), outage=True),
        Stage("work", "", closed, outage=True),
        Stage("open", "", (blocks.open_access(gate, plan.release),)),
    )
    status = await operator.conductor.run(
        msgspec.structs.replace(plan, stages=stages),
        actor="test",
        reason="test",
        on_stop="return",
        observer=operator._see,
    )
    assert status.steps_in(StepState.WAITING) == [GATE], status.reason
    fresh_lab.run_on("app4", "nft flush ruleset")
    status = await _said(operator, Verb.APPROVE, GATE)
    assert stopped_before(status, snapshot.id).startswith(
        "the site is closed: public on app4 (its table is not in force"
    )
    assert operator.started(snapshot.id) == 0
    fresh_lab.run_on("app4", status.reason.partition("`")[2].partition("`")[0])
    assert (await operator.retry(snapshot.id)).state is RunState.DONE
    assert fresh_lab.run_on("app4", "nft list ruleset; find /etc -name '*changeover*'") == ""


def _bind(operator: Operator, **bindings: Shell) -> None:
    spec = operator.conductor.spec
    application = msgspec.structs.replace(
        spec.site.application, capabilities={**spec.site.application.capabilities, **bindings}
    )
    operator.conductor.spec = msgspec.structs.replace(
        spec, site=msgspec.structs.replace(spec.site, application=application)
    )
