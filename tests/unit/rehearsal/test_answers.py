"""What a person may answer besides: a step is skipped, what fails for ever is left, a lock is somebody else's."""

import msgspec
import pytest

from changeover.model.plan import Facts, Plan
from changeover.model.release import Migrations
from changeover.model.site import DatabaseConfig, Site
from changeover.rehearsal import End, Replay, replay
from changeover.strategies.rolling import rolling
from tests.sites import CONTRACT, EXPAND, a_release, a_site
from tests.unit.rehearsal.test_rehearsing import a_plan

PLAN = a_plan()


def played(case: str, plan: Plan = PLAN) -> tuple[End, list[str], list[str]]:
    """How it ended, what was found, and what happened."""
    again: Replay = replay(plan, case)
    return again.end, [it.rule for it in again.findings], [line.text for line in again.trace]


def test_a_skipped_step_holds_finalize_until_somebody_accepts_that() -> None:
    """The run is done only after that was said; what the skip left undone is theirs who skipped."""
    held = replay(PLAN, "app1/version:fails-before:skip")
    assert (held.end, held.findings) == (End.STOPPED, ())
    assert held.asks == "a person gives up the way back to v1"
    assert "accept-skipped" in held.replies
    assert "approve" not in held.replies
    end, found, happened = played("app1/version:fails-before:skip:accept-skipped")
    assert (end, found) == (End.DONE, [])
    assert any(text.startswith("app1/version is skipped") for text in happened)


def test_no_interlock_gives_way_to_a_skip() -> None:
    """A migration is skipped: the new version is not started on the schema that it cannot start on."""
    end, found, happened = played("main/expand/001_kind:fails-before:skip")
    assert (end, found) == (End.STOPPED, [])
    assert any("no forbidden pair" in text for text in happened)


def test_what_a_skipped_step_of_the_way_back_leaves_is_answered_for() -> None:
    """A node that cannot be brought back is skipped: all else is back where it began."""
    case = "finalize/approve:refused+back/app1/enter:fails-for-ever:abort:skip"
    end, found, _ = played(case)
    assert (end, found) == (End.FELL_BACK, [])


@pytest.mark.parametrize("reply", ["leave", "skip"])
def test_a_revert_that_fails_for_ever_is_left_or_skipped(reply: str) -> None:
    """It is asked about, and whoever is asked can end it; nothing else is broken by that."""
    case = "finalize/approve:refused+back/main/expand/001_kind:fails-for-ever:abort"
    asked = replay(PLAN, case)
    assert asked.asks.startswith("back/main/expand/001_kind failed")
    end, found, _ = played(f"{case}:{reply}")
    assert (end, found) == (End.STOPPED if reply == "leave" else End.FELL_BACK, [])


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        ("retry", End.DONE),
        ("abort", End.FELL_BACK),
        ("abort-unmended", End.FELL_BACK),
        ("leave", End.STOPPED),
    ],
)
def test_a_lock_that_somebody_holds_stops_a_migration_and_nothing_else(answer: str, end: End) -> None:
    """Nobody waits behind it for longer than `lock_timeout`, and nothing of the schema is to be taken back."""
    ended, found, happened = played(f"main/expand/001_kind:locked:{answer}")
    assert (ended, found) == (end, [])
    assert any("no lock within" in text for text in happened)


def on_mariadb(down: str = EXPAND.down) -> Plan:
    """Where no change of the schema can be part of a transaction."""
    described = a_site(2)
    site: Site = msgspec.structs.replace(
        described, databases=(DatabaseConfig("main", "mariadb", "app", "app", "db1"),)
    )
    torn = [msgspec.structs.replace(it, transactional=False) for it in (EXPAND, CONTRACT)]
    changes = Migrations("main", (msgspec.structs.replace(torn[0], down=down),), (torn[1],), retry_wait=0.5)
    return rolling(site, a_release(keep_serving=1, migrations=(changes,)), Facts())


@pytest.mark.parametrize("kind", ["broken-off", "conductor-dies-effect-dies"])
def test_a_torn_migration_of_mariadb_is_taken_back_by_the_snapshot(kind: str) -> None:
    """Half of it is there, and its down script is not trusted with that; the database is open all the while."""
    end, found, happened = played(f"main/expand/001_kind:{kind}:abort", on_mariadb())
    assert (end, found) == (End.FELL_BACK, [])
    assert any("back/main/restore is done" in text for text in happened)


@pytest.mark.parametrize(
    "kind", ["broken-off@2", "conductor-dies-effect-dies@2", "host-dies", "fails-before"]
)
def test_a_restore_of_mariadb_that_died_is_done_again(kind: str) -> None:
    """After the exchange of the tables, too: until the rest is there the ledger says that it is not done."""
    case = f"finalize/approve:refused+back/main/restore:{kind}:abort:retry"
    end, found, _ = played(case, on_mariadb(down=""))
    assert (end, found) == (End.FELL_BACK, [])
