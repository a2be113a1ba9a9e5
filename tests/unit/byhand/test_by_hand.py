"""Each kind of step by hand: what is typed, and where."""

from pathlib import Path

import msgspec
import pytest

from changeover.actions import ACTIONS
from changeover.byhand import BY_HAND, by_hand
from changeover.byhand.application import bound
from changeover.fallback import from_the_end_of, reachable
from changeover.model.instructions import Instruction
from changeover.model.plan import Facts, Plan, Step
from changeover.model.release import CommandMigration, Migrations, SqlMigration
from changeover.model.site import DatabaseConfig, Http, Shell, Sql
from changeover.model.values import Secret
from changeover.spec import load
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_site
from tests.windowkit import a_gated_site, a_window

SPEC = Path(__file__).parents[1] / "spec" / "site.yaml"
DOWN = SqlMigration("001_kind", "ALTER TABLE t ADD kind text", "c1", down="ALTER TABLE t DROP kind")


def a_plan() -> Plan:
    """A plan whose site binds real commands."""
    site = a_site()
    capabilities = {
        **site.application.capabilities,
        "install": Shell("tar -x -f {artifacts}/{release}.tar", become=True),
        "installed": Shell("test -d /opt/{release}"),
        "health": Http(
            "http://{address}:{port}/health", headers={"Authorization": Secret(env="HEALTH_TOKEN")}
        ),
        "up": Sql("main", "SELECT up FROM t WHERE node = '{node}'"),
    }
    application = msgspec.structs.replace(
        site.application,
        capabilities=capabilities,
        variables={"port": "8000", "artifacts": "/srv/of the site"},
    )
    release = a_release(migrations=(Migrations("main", (DOWN, CommandMigration("m", "up", "up", "app1"))),))
    return STRATEGIES["rolling"](msgspec.structs.replace(site, application=application), release, Facts())


def typed(step: str, plan: Plan | None = None) -> list[Instruction]:
    """What is done by hand for that step."""
    plan = plan or a_plan()
    return list(by_hand(next(it for it in plan.steps() if it.id == step), plan))


def test_a_shell_line_is_filled_and_quoted_and_says_where_it_is_typed() -> None:
    """As the driver would run it."""
    do, see = typed("app1/install")
    assert (do.where, do.text) == ("app1, as root", "tar -x -f '/srv/of the site'/v2.tar")
    assert (see.where, see.text, see.expect) == ("app1", "test -d /opt/v2", "it is there")


def test_a_systemd_unit_is_told_by_systemctl() -> None:
    """Stop, and then see that it is stopped."""
    do, see = typed("app1/stop")
    assert (do.where, do.text) == ("app1, as root", "systemctl stop app.service")
    assert (see.text, see.expect) == ("systemctl is-active app.service", "it does not run")


def test_a_request_names_its_secret_and_does_not_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever carries it out looks the secret up."""
    monkeypatch.setenv("HEALTH_TOKEN", "hunter2")
    (look,) = typed("app1/health")
    assert "curl" in look.text
    assert "http://127.0.0.1:8000/health" in look.text
    assert "<the secret from env:HEALTH_TOKEN>" in look.text
    assert "hunter2" not in look.text


def test_haproxy_is_told_through_its_runtime_api() -> None:
    """The very words that the driver says."""
    site = a_plan().site
    balancer = msgspec.structs.replace(site.balancers[0], options={"socket": "/run/haproxy/admin.sock"})
    plan = msgspec.structs.replace(a_plan(), site=msgspec.structs.replace(site, balancers=(balancer,)))
    (drain,) = typed("app1/drain", plan)
    assert drain.text == "echo 'set server app/app1 state drain' | socat stdio /run/haproxy/admin.sock"
    assert drain.where == "lb1, as root"
    empty, maint = typed("app1/out", plan)
    assert "show stat app 4 -1" in empty.text
    assert "app1" in empty.expect
    assert "state maint" in maint.text


def test_a_migration_waits_for_its_lock_as_long_as_declared_and_is_whole() -> None:
    """The text is the plan's own."""
    (do,) = typed("main/expand/001_kind")
    assert do.text.splitlines()[1:] == ["SET lock_timeout = '2000ms';", "BEGIN;", DOWN.sql, "COMMIT;"]
    assert do.where == "db1"


def test_a_snapshot_is_taken_proved_and_restored_with_the_servers_own_tools() -> None:
    """Of PostgreSQL and of MariaDB; the password is asked for."""
    (take,), (prove,) = typed("main/snapshot"), typed("main/verify-snapshot")
    assert "pg_dump --username=app --format=custom" in take.text
    assert "pg_restore" in prove.text
    assert "changeover_scratch" in prove.text
    plan = a_plan()
    maria = DatabaseConfig("main", "mariadb", "app", "app", "db1", address="10.0.0.2", port=3306)
    plan = msgspec.structs.replace(plan, site=msgspec.structs.replace(plan.site, databases=(maria,)))
    (take,) = typed("main/snapshot", plan)
    assert "mariadb-dump --host=10.0.0.2 --port=3306 --user=app --password --single-transaction" in take.text


def test_what_is_not_bound_is_left_out_and_what_is_unknown_says_its_summary() -> None:
    """A third party's kind of step is not lost."""
    plan = a_plan()
    assert bound("sessions", "app1", plan) == ()
    step = next(iter(plan.steps()))
    strange = msgspec.structs.replace(step, do=msgspec.structs.replace(step.do, action="their.own"))
    assert by_hand(strange, plan) == (Instruction(step.do.target, step.summary),)


def every_step(plan: Plan) -> list[Step]:
    """Those of the plan, and of its longest way back."""
    return [*plan.steps(), *from_the_end_of(reachable(plan)[-1], plan).steps()]


def test_every_step_of_a_plan_and_of_its_way_back_can_be_done_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No instruction is empty, and no secret is in any."""
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    monkeypatch.setenv("KEYSTONE_TOKEN", "hunter2")
    (tmp_path / "changeover.yaml").write_text(SPEC.read_text())
    for number, phase in enumerate(("expand", "contract"), start=1):
        (tmp_path / "migrations" / phase).mkdir(parents=True)
        (tmp_path / "migrations" / phase / f"{number:03}_{phase}.sql").write_text("SELECT 1;")
    spec = load(tmp_path / "changeover.yaml")
    plan = STRATEGIES["rolling"](spec.site, spec.release, Facts())
    for step in every_step(plan):
        assert step.do.action in BY_HAND, step.do.action
        instructions = by_hand(step, plan)
        assert instructions, step.id
        for instruction in instructions:
            assert instruction.where
            assert instruction.text
            assert "hunter2" not in instruction.text


def test_every_kind_of_step_is_described() -> None:
    """What can be planned can be printed for people."""
    assert set(BY_HAND) == set(ACTIONS) | {"people.approve"}


def test_a_window_can_be_carried_out_by_hand() -> None:
    """The gate's own rules, the files kept and put back, the properties and what may stand in the logs."""
    plan = a_window(a_gated_site())
    for step in every_step(plan):
        assert by_hand(step, plan), step.id
    closing = next(step for step in plan.steps() if step.do.action == "access.close")
    shut = by_hand(closing, plan)[0]
    assert "table inet changeover_" in shut.text
    assert "nft -f" in shut.text
    reading = next(step for step in plan.steps() if step.do.action == "log.check")
    marking = next(step for step in plan.steps() if step.do.action == "log.mark")
    mark, look = by_hand(marking, plan)[0], by_hand(reading, plan)[0]
    assert "grep --extended-regexp" in look.text
    kept = look.text.split("$(cat ")[1].split(")")[0]
    assert kept in mark.text
