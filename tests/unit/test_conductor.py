"""What the facade adds: the comparison with the live site, and drivers by their names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import msgspec
import pytest

from changeover.checks import site as live
from changeover.conductor import Conductor, _differences
from changeover.drivers.ssh import create
from changeover.engine.events import CommandTaken, Event, RunChanged, Verb
from changeover.engine.runner import Runner
from changeover.errors import RefusedError, SpecError
from changeover.model.plan import Facts
from changeover.model.release import Gate
from changeover.model.states import RunState
from changeover.ports import Applied, World
from changeover.simulation import SimulatedSite
from changeover.spec import Spec
from changeover.wiring import driver
from tests.sites import a_release, a_site
from tests.terminalkit import HurryingClock

PLANNED = Facts(
    versions={"app1": "v1", "app2": "v1"},
    pools={"public": {"app1": "ready", "app2": "ready"}},
    schemas={"main": ("001_a",)},
    servers={"main": "PostgreSQL 15.18"},
)


def test_a_site_that_has_not_changed_differs_in_nothing() -> None:
    """The same facts are no difference."""
    assert _differences(PLANNED, PLANNED) == []


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"versions": {"app1": "v1", "app2": "v2"}}, "app2 runs v2, the plan says v1"),
        ({"versions": {"app1": "v1", "app2": ""}}, "app2 runs unknown, the plan says v1"),
        (
            {"pools": {"public": {"app1": "ready", "app2": "drain"}}},
            "app2 in public is drain, the plan says ready",
        ),
        ({"schemas": {"main": ("001_a", "002_b")}}, "main: migration 002_b has been applied since"),
        ({"schemas": {"main": ()}}, "main: migration 001_a is no longer applied"),
        (
            {"servers": {"main": "PostgreSQL 16.1"}},
            "the server of main is PostgreSQL 16.1, the plan says PostgreSQL 15.18",
        ),
    ],
)
def test_each_difference_is_said_in_the_terms_of_the_site(seen: dict[str, Any], said: str) -> None:
    """Which node, which server, which database, and both values."""
    assert _differences(PLANNED, msgspec.structs.replace(PLANNED, **seen)) == [said]


def test_a_driver_is_found_by_its_name() -> None:
    """As it is registered in the entry point group."""
    assert driver("host", "ssh") is create


def test_an_unknown_driver_is_named_with_those_there_are() -> None:
    """And with the likeliest right name."""
    with pytest.raises(SpecError, match="no database driver is called 'postgres'; there are") as error:
        driver("database", "postgres")
    assert "postgresql" in error.value.message
    assert "did you mean 'postgresql'" in error.value.hint


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> SimulatedSite:
    """A site in memory that every conductor opens; app2 does not start."""
    site = SimulatedSite(a_site(), "v1", HurryingClock())
    site.nodes["app2"].broken.add("start")

    @asynccontextmanager
    async def open_world(*_: object) -> AsyncIterator[World]:
        yield site.world

    monkeypatch.setattr("changeover.conductor.open_world", open_world)
    return site


async def test_what_is_forgotten_while_a_run_is_conducted_is_in_its_journal(
    site: SimulatedSite, tmp_path: Path
) -> None:
    """By the conductor of a run that has stopped; in any other state it may be at work on the database, so it is refused."""
    release = a_release(gates=(Gate(after="canary", approve=True),))
    spec = Spec(a_site(), release, str(tmp_path / "journal.db"), "changeover.yaml", "digest")
    conducting, other = Conductor(spec), Conductor(spec)
    states = {state: asyncio.Event() for state in RunState}
    ann: Any = {"actor": "ann", "reason": "torn"}

    def see(event: Event) -> None:
        if isinstance(event, RunChanged):
            states[event.state].set()

    plan = await conducting.plan()
    running = asyncio.create_task(
        conducting.run(plan, actor="ann", reason="", on_stop="wait", observer=see, just_planned=True)
    )
    await states[RunState.WAITING].wait()
    ledger = site.stores["main"].ledger
    ledger["010"] = Applied("010", "c", 1.0, 0)
    with pytest.raises(RefusedError, match="is waiting and conducted"):
        await other.forget("main", "010", **ann)
    assert "010" in ledger
    await other.send(Verb.APPROVE, step="after-canary/approve", **ann)
    await states[RunState.STOPPED].wait()
    noted = await other.forget("main", "010", **ann)
    assert noted
    assert (noted.outcome, "010" in ledger) == ("taken", False)
    events = await other.journal.events(await other.active())
    assert [(it.verb, it.step, it.reason) for it in events if isinstance(it, CommandTaken)][1:] == [
        (Verb.FORGET, "main/010", "torn")
    ]
    await other.send(Verb.LEAVE, **ann)
    await running
    await other.close()
    await conducting.close()


async def test_the_site_is_opened_once_and_a_plan_that_was_just_made_is_run_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plan that was read from a file, or for a while, is compared with the site again."""
    site = SimulatedSite(a_site(), "v1")
    opened: list[str] = []
    looked: list[str] = []
    facts = live.facts

    @asynccontextmanager
    async def open_world(*_: object) -> AsyncIterator[World]:
        opened.append("opened")
        yield site.world
        opened.append("closed")

    async def counted(*about: Any) -> Facts:
        looked.append("looked")
        return await facts(*about)

    monkeypatch.setattr("changeover.conductor.open_world", open_world)
    monkeypatch.setattr(live, "facts", counted)
    monkeypatch.setattr(Runner, "run", AsyncMock())
    conductor = Conductor(Spec(a_site(), a_release(), ":memory:", "changeover.yaml", "digest"))
    plan = await conductor.plan()
    told: Any = {"actor": "ann", "reason": "", "on_stop": "return"}
    await conductor.run(plan, just_planned=True, **told)
    assert (opened, looked) == (["opened"], ["looked"])
    await conductor.close()
    assert opened == ["opened", "closed"]
    conductor = Conductor(Spec(a_site(), a_release(), ":memory:", "changeover.yaml", "digest"))
    plan = await conductor.plan()
    looked.clear()
    await conductor.run(plan, **told)
    assert looked == ["looked"]
    await conductor.close()
