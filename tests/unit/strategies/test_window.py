"""The plan of a window: its stages, what each takes back, and what is refused."""

from collections.abc import Mapping

import msgspec
import pytest

from changeover import fallback, foresight
from changeover.actions.validation import validate
from changeover.errors import SpecError
from changeover.model.plan import BACK, Facts, Plan, Stage, Step
from changeover.model.release import CommandMigration, Expectation, Fallback, Kept, Migrations
from changeover.model.site import Unit
from changeover.strategies import STRATEGIES
from changeover.strategies.blocks import NEEDS, WATCHES
from changeover.strategies.window import window
from tests.windowkit import DDL, a_gated_site, a_window, a_windowed_release

PLAN = a_window(a_gated_site(pools=True))
BALANCED = msgspec.structs.replace(a_gated_site(pools=True), access=())


def _names(plan: Plan) -> list[str]:
    return [stage.name for stage in plan.stages]


def _stage(name: str, plan: Plan = PLAN) -> Stage:
    return next(stage for stage in plan.stages if stage.name == name)


def _steps(name: str, plan: Plan = PLAN) -> list[str]:
    return [step.id for step in _stage(name, plan).steps]


def _step(name: str, plan: Plan = PLAN) -> Step:
    return next(step for step in plan.steps() if step.id == name)


def _back(stage: str, plan: Plan = PLAN) -> Mapping[str, list[str]]:
    """The way back from the end of a stage: stage → its steps."""
    return {
        it.name: [step.id.removeprefix(BACK) for step in it.steps]
        for it in fallback.from_the_end_of(_stage(stage, plan), plan).stages
    }


def test_the_stages_come_in_the_order_of_the_procedure() -> None:
    """Ahead of the window what can be; the head before the other; people before anybody comes in."""
    assert _names(PLAN) == [
        *("check", "prepare", "window", "close", "stop", "backup", "migrate"),
        *("node-app2", "node-app1", "verify", "enter", "sign-off", "go", "open", "finalize"),
    ]
    validate(PLAN)
    foresight.refuse(PLAN)


def test_nobody_is_served_from_the_closing_to_the_opening() -> None:
    """By agreement; before and after it everybody is."""
    without = [stage.name for stage in PLAN.stages if stage.outage]
    assert without == _names(PLAN)[3:-1]
    assert _stage("stop").affected == "everybody but the allowlist"
    assert {stage.in_rotation for stage in PLAN.stages if not stage.outage} == {2}


def test_the_head_starts_twice_where_a_property_is_set_for_its_first_start() -> None:
    """With its log read each time, from where it stood; the other node starts once, with the value for good."""
    assert _steps("node-app2") == [
        f"app2/{name}"
        for name in (
            *("switch", "put-back", "put-back-2"),
            *("first-property", "first-mark", "first-start", "first-health", "first-log", "first-stop"),
            *("property", "start-mark", "start", "health", "version", "start-log", "test"),
        )
    ]
    assert _step("app2/first-property").do.params == {"file": DDL, "key": "auto.ddl", "value": "true"}
    assert _step("app2/property").do.params["value"] == "false"
    assert _steps("node-app1") == [
        f"app1/{name}"
        for name in (
            *("switch", "put-back", "put-back-2", "property"),
            *("start-mark", "start", "health", "version", "start-log", "test"),
        )
    ]
    assert _step("app1/property").do.params["value"] == "false"


def test_without_properties_and_logs_the_head_starts_once() -> None:
    """Nothing is kept either, where nothing is to be."""
    bare = msgspec.structs.replace(a_windowed_release(), properties=(), logs=(), kept=())
    plan = window(a_gated_site(), bare, Facts())
    assert _steps("node-app2", plan) == [
        f"app2/{it}" for it in ("switch", "start", "health", "version", "test")
    ]
    assert _steps("backup", plan) == ["main/snapshot", "main/verify-snapshot"]


def test_every_script_runs_in_its_order_after_an_entry_in_the_ledger() -> None:
    """By the entry the way back restores the database in any case; no script is taken back by itself."""
    *rest, entry, one, two = _stage("migrate").steps
    assert [step.id for step in rest] == ["app1/at-rest", "app2/at-rest"]
    assert [step.id for step in (entry, one, two)] == [
        f"main/{it}" for it in ("expand/window-to-v2", "expand/001_kind", "contract/002_legacy")
    ]
    assert set(entry.needs) == {step.id for step in rest}
    assert (one.needs, two.needs) == ((entry.id,), (one.id,))
    assert {(step.restore, step.undo) for step in (entry, one, two)} == {("before-v2", ())}
    assert _back("migrate")["back-migrate"] == ["main/restore"]


def test_what_a_window_left_half_way_has_applied_is_not_taken_back() -> None:
    """The snapshot holds it; the entry of the next window has a name of its own, and the restore goes by that."""
    left = Facts(schemas={"main": ("window-to-v2", "001_kind")})
    plan = window(a_gated_site(), a_windowed_release(), left)
    assert _steps("migrate", plan)[2:] == [
        f"main/{it}" for it in ("expand/window-to-v2-2", "expand/001_kind", "contract/002_legacy")
    ]
    assert _step("main/expand/001_kind", plan).restore == ""
    (restore,) = [
        step
        for stage in fallback.from_the_end_of(_stage("migrate", plan), plan).stages
        for step in stage.steps
        if step.do.action == "database.restore"
    ]
    undone = [it["params"]["migration"]["name"] for it in restore.do.params["instead_of"]]
    assert undone == ["window-to-v2-2", "002_legacy"]


def test_an_application_that_migrates_by_starting_is_restored_too() -> None:
    """Nothing is declared of its database; a migration by a command of its own runs on the head."""
    plan = a_window(migrations=())
    assert _steps("migrate", plan)[2:] == ["main/expand/window-to-v2"]
    assert _back("node-app2", plan)["back-migrate"] == ["main/restore"]
    command = CommandMigration("upgrade", "migrate", "migrated", "app2")
    site = a_gated_site()
    bound = {**site.application.capabilities, **dict.fromkeys(("migrate", "migrated"), Unit("x"))}
    site = msgspec.structs.replace(
        site, application=msgspec.structs.replace(site.application, capabilities=bound)
    )
    plan = a_window(site, migrations=(Migrations("main", (command,)),))
    assert _steps("migrate", plan)[2:] == ["main/expand/window-to-v2", "main/expand/upgrade"]
    foresight.refuse(plan)


def test_the_way_back_is_the_procedure_in_reverse() -> None:
    """The latest node first, then the database, the files, the old version on every node, the testers, the opening."""
    back = _back("go")
    assert [name for name in back if name != "back-at-rest"] == [
        f"back-{it}"
        for it in (
            *("enter", "node-app1", "node-app2", "migrate", "backup"),
            *("stop", "close", "verify", "prepare"),
        )
    ]
    assert back["back-node-app2"] == [
        f"app2/{it}" for it in ("stop", "first-stop", "switch", "put-back", "put-back-2")
    ]
    assert [it for it in back["back-stop"] if it.startswith("app1/")] == [
        f"app1/{it}" for it in ("old-mark", "start", "health", "old-log", "version")
    ]
    assert back["back-close"] == [
        *("app2/enter", "app1/enter"),
        *("sign-off-lisa/approve", "sign-off-kirk/approve", "public/open"),
    ]


def test_nobody_comes_in_on_the_way_back_before_the_testers_agree() -> None:
    """What lets anybody in needs their gates, which only they may give: the access gate, or the pools where there is none.

    Behind the access gate the pools fill first, so that they try what everybody will come to.
    """
    for plan, filled, opened in (
        (PLAN, ["app2/enter", "app1/enter"], ["public/open"]),
        (a_window(BALANCED), [], ["app2/enter", "app1/enter"]),
    ):
        back = fallback.from_the_end_of(_stage("go", plan), plan)
        (stage,) = [it for it in back.stages if it.name == "back-close"]
        gates = [step for step in stage.steps if step.person]
        assert [gate.who for gate in gates] == [("lisa",), ("kirk",)]
        assert {f"{BACK}{it}" for it in filled} <= set(gates[0].needs)
        for name in opened:
            (step,) = [it for it in stage.steps if it.id == f"{BACK}{name}"]
            assert {gate.id for gate in gates} <= set(step.needs), name


def test_a_restore_is_agreed_to_only_when_the_site_was_open() -> None:
    """Before that nobody can have written; so the clock may begin the way back with nobody there."""
    assert "main/restore/approve" not in _back("go")["back-migrate"]
    assert _back("open")["back-migrate"] == ["main/restore/approve", "main/restore"]
    assert _back("open")["back-open"][0] == "open/approve"


def test_what_a_person_has_not_kept_is_not_put_back() -> None:
    """A backup that was skipped, with a reason, does not hold up the way back."""
    reached = {step.id: fallback.Reached() for stage in PLAN.stages[:8] for step in stage.steps}
    whole = {step.id for step in fallback.way_back(PLAN, reached).steps()}
    reached["app2/keep"] = fallback.Reached(done=False, skipped=True)
    without = {step.id for step in fallback.way_back(PLAN, reached).steps()}
    assert whole - without == {f"{BACK}app2/put-back"}


def test_the_files_of_properties_are_kept_in_any_case() -> None:
    """Beside those that the operator keeps, once each, with the names of the node filled in."""
    params = [_step(name).do.params for name in ("app1/keep", "app1/keep-2")]
    assert params == [
        {"paths": ["/etc/app.properties", "/etc/app1.key"], "to": "/srv/kept"},
        {"paths": [DDL], "to": "/var/lib/changeover/kept"},
    ]
    plan = window(
        a_gated_site(),
        msgspec.structs.replace(a_windowed_release(), kept=(Kept(("/etc",), "/srv/kept"),)),
        Facts(),
    )
    assert _step("app1/keep", plan).do.params["paths"] == ["/etc"]
    assert "app1/keep-2" not in [step.id for step in plan.steps()]


def test_finalize_gives_up_what_the_way_back_needs() -> None:
    """Behind a gate: the old release, what was kept, what was remembered of the logs."""
    gate, *rest = _stage("finalize").steps
    assert gate.person
    assert all(gate.id in step.needs for step in rest)
    assert [step.id for step in rest if step.unit == "app1" or step.id.startswith("app1/")] == [
        f"app1/{it}" for it in ("remove-old", "let-go", "let-go-2", "forget-marks")
    ]


def test_a_site_that_only_a_balancer_closes_is_opened_there() -> None:
    """The nodes leave the pool to close it, and enter it to open it, also on the way back."""
    plan = a_window(BALANCED)
    assert _steps("close", plan) == ["app1/drain", "app2/drain", "app1/out", "app2/out"]
    assert _steps("open", plan) == ["app1/enter", "app2/enter"]
    assert _back("go", plan)["back-close"][-2:] == ["app2/enter", "app1/enter"]
    foresight.refuse(plan)


def test_a_node_that_did_not_serve_is_left_so() -> None:
    """The way back does not start it; it is upgraded with the others."""
    plan = window(a_gated_site(), a_windowed_release(), Facts(versions={"app1": "", "app2": "v1"}))
    assert "app1/start" not in _back("go", plan)["back-stop"]
    assert "app2/start" in _back("go", plan)["back-stop"]
    assert "app1/check" not in _steps("check", plan)
    assert "app1/start" in _steps("node-app1", plan)


def test_the_plan_survives_being_written_down() -> None:
    """As JSON, with the same digest."""
    again = Plan.from_json(PLAN.to_json())
    assert again.digest() == PLAN.digest()
    validate(again)


def _without(capability: str) -> Plan:
    site = a_gated_site()
    bound = {name: it for name, it in site.application.capabilities.items() if name != capability}
    application = msgspec.structs.replace(site.application, capabilities=bound)
    return a_window(msgspec.structs.replace(site, application=application))


@pytest.mark.parametrize("capability", NEEDS)
def test_a_capability_that_is_missing_is_named(capability: str) -> None:
    """Each of those that it needs."""
    with pytest.raises(SpecError, match=f"not bound: {capability}$"):
        _without(capability)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("capability", WATCHES)
def test_a_watchdog_that_is_bound_by_halves_is_refused(strategy: str, capability: str) -> None:
    """It would be taken for none, and start its node again in the midst of the work."""
    site = a_gated_site(pools=True)
    bound = {**site.application.capabilities, capability: Unit("app.service")}
    site = msgspec.structs.replace(
        site, application=msgspec.structs.replace(site.application, capabilities=bound)
    )
    with pytest.raises(SpecError) as refused:
        STRATEGIES[strategy](site, a_windowed_release(), Facts())
    missing = refused.value.message.removeprefix(f"{strategy} needs capabilities that are not bound: ")
    assert set(missing.split(", ")) == {*WATCHES} - {capability}


def test_what_is_expected_must_be_bound() -> None:
    """The question is named."""
    release = msgspec.structs.replace(a_windowed_release(), expectations=(Expectation("diagnostic", "OFF"),))
    with pytest.raises(SpecError, match=r"not bound: diagnostic$"):
        window(a_gated_site(), release, Facts())


def test_behind_a_balancer_a_gate_closes_nothing() -> None:
    """Everybody would come in by the pools that fill while the site is taken to be closed."""
    site = a_gated_site(pools=True)
    (gate,) = site.access
    nodes = msgspec.structs.replace(gate, hosts=("app1", "app2"))
    with pytest.raises(
        SpecError, match="comes in through the balancer public, where no access gate"
    ) as error:
        a_window(msgspec.structs.replace(site, access=(nodes,)))
    assert error.value.hint.startswith("put lb1 among the hosts of a gate")


def test_what_cannot_be_is_refused() -> None:
    """With what to do about it."""
    site, release, change = a_gated_site(), a_windowed_release(), msgspec.structs.replace
    with pytest.raises(SpecError, match=r"needs `upgrade.window`"):
        window(site, change(release, window=None), Facts())
    with pytest.raises(SpecError, match="nothing closes the site"):
        window(change(site, access=()), release, Facts())
    with pytest.raises(SpecError, match="app1 runs v2; a window begins with every node on v1"):
        window(site, release, Facts(versions={"app1": "v2"}))
    with pytest.raises(SpecError, match="no stage of a window that can be taken back is called expand"):
        window(site, change(release, fallback=Fallback(stages={"expand": "ask"})), Facts())
    with pytest.raises(SpecError, match="backup cannot be kept"):
        window(site, change(release, fallback=Fallback(stages={"backup": "keep"})), Facts())
    kept = change(release, kept=(Kept(("{nowhere}/conf",), "/srv/kept"),))
    with pytest.raises(SpecError, match=r"\{nowhere\} in '\{nowhere\}/conf' has no value"):
        window(site, kept, Facts())


def test_a_log_step_says_how_many_issues_are_known_to_it() -> None:
    """Those of its own version and step, not of another's."""
    said = {step.id: step.summary for step in PLAN.steps() if step.do.action == "log.check"}
    for step in PLAN.steps():
        if step.do.action != "log.check":
            continue
        counted = [
            issue
            for log in step.do.params["logs"]
            for issue in log.get("known", ())
            if issue.get("version", step.do.params["version"]) == step.do.params["version"]
            and issue.get("step", step.id.rpartition("/")[2]) in (step.id, step.id.rpartition("/")[2])
        ]
        assert said[step.id].endswith(f"but {len(counted)} known" if counted else "no error")
    assert {summary.endswith("known") for summary in said.values()} == {True, False}
