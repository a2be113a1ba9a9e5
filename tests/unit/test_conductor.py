"""What the facade adds: the comparison with the live site, and drivers by their names."""

from typing import Any

import msgspec
import pytest

from changeover.conductor import _differences
from changeover.drivers.ssh import create
from changeover.errors import SpecError
from changeover.model.plan import Facts
from changeover.wiring import driver

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
