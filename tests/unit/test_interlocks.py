"""Each interlock, kept and violated on purpose."""

import pytest

from changeover.interlocks import ObservedSite, capacity_floor, nobody_served, verified_backup
from changeover.model.plan import Operation

DRAIN = Operation("traffic.drain", "app1", {"servers": {"public": "app1"}})


@pytest.mark.parametrize(
    ("rotation", "floor", "good"),
    [
        ({"app1", "app2", "app3"}, 2, True),
        ({"app1", "app2"}, 2, False),
        ({"app2", "app3"}, 2, True),
        ({"app1"}, 1, False),
        (set(), 1, False),
        ({"app1"}, 0, True),
    ],
)
def test_the_capacity_floor_is_exact(rotation: set[str], floor: int, good: bool) -> None:
    """Leaving exactly the floor is allowed, one less is not, whether the server itself is in rotation or not."""
    site = ObservedSite(rotation={"public": frozenset(rotation)})
    assert capacity_floor(site, DRAIN, floor).good is good


def test_the_floor_holds_in_every_pool() -> None:
    """One pool with room does not make up for another without."""
    drain = Operation("traffic.drain", "app1", {"servers": {"public": "a", "internal": "b"}})
    site = ObservedSite(rotation={"public": frozenset("axyz"), "internal": frozenset("b")})
    verdict = capacity_floor(site, drain, 1)
    assert not verdict.good
    assert verdict.evidence == "internal would be left with 0 of 1 server in rotation, the floor is 1"


@pytest.mark.parametrize(("rotation", "good"), [({"app1", "app2"}, False), ({"app2"}, True), (set(), True)])
def test_nothing_serving_is_stopped(rotation: set[str], good: bool) -> None:
    """Whatever was skipped before: a node that the balancer still sends sessions to is left running."""
    stop = Operation("node.stop", "app1", {"servers": {"public": "app1"}})
    assert nobody_served(ObservedSite(rotation={"public": frozenset(rotation)}), stop).good is good


def test_a_migration_needs_its_verified_backup() -> None:
    """A snapshot that was taken but never restored does not count, nor does another run's."""
    assert not verified_backup(ObservedSite(), "before-v2.run").good
    assert not verified_backup(ObservedSite(verified=frozenset({"before-v2.older"})), "before-v2.run").good
    assert verified_backup(ObservedSite(verified=frozenset({"before-v2.run"})), "before-v2.run").good
