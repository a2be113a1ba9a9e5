"""What the facade adds: the comparison with the live site, and drivers by their names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock

import msgspec
import pytest

from changeover.checks import site as live
from changeover.conductor import Conductor, _differences
from changeover.drivers.ssh import create
from changeover.engine.runner import Runner
from changeover.errors import SpecError
from changeover.model.plan import Facts
from changeover.ports import World
from changeover.simulation import SimulatedSite
from changeover.spec import Spec
from changeover.wiring import driver
from tests.sites import a_release, a_site

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
