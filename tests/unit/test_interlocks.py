"""Each interlock, kept and violated on purpose."""

import pytest

from changeover import interlocks
from changeover.interlocks import (
    ANYBODY,
    ObservedDatabase,
    ObservedNode,
    ObservedServer,
    ObservedSite,
    capacity_floor,
    floors,
)
from changeover.model.plan import Facts
from changeover.model.release import Ability, Coexistence, Expectation
from changeover.model.values import Verdict
from changeover.strategies.rolling import rolling
from tests.sites import CONTRACT, EXPAND, a_release, a_site

OLD, NEW = ObservedNode(version="v1", release="v1"), ObservedNode(version="v2", release="v2")
FIRST = ObservedDatabase()
EXPANDED = ObservedDatabase(applied=frozenset({EXPAND.name}))
CONTRACTED = ObservedDatabase(applied=frozenset({EXPAND.name, CONTRACT.name}))


def in_rotation(*nodes: str, **others: ObservedServer) -> dict[str, dict[str, ObservedServer]]:
    """The pool `public`, in which these serve."""
    return {"public": {name: ObservedServer(name) for name in nodes} | others}


def refused(verdict: Verdict) -> str:
    """What it says that is wrong. A refusal names its rule, its evidence and a way out."""
    assert not verdict.good
    assert verdict.subject
    assert verdict.hint
    return verdict.evidence


@pytest.mark.parametrize(
    ("rotation", "floor", "good"),
    [
        ({"app1", "app2", "app3"}, 2, True),
        ({"app1", "app2"}, 2, False),
        ({"app2", "app3"}, 2, True),
        ({"app1"}, 1, False),
        ({"app1"}, 0, True),
    ],
)
def test_the_capacity_floor_is_exact(rotation: set[str], floor: int, good: bool) -> None:
    """Leaving exactly the floor is allowed, one less is not."""
    site = ObservedSite(pools=in_rotation(*rotation))
    assert capacity_floor(site, {"public": floor}, "app1").good is good


def test_the_floor_holds_in_every_pool() -> None:
    """One pool with room does not make up for another without."""
    internal = {"b": ObservedServer("app1")}
    site = ObservedSite(pools={**in_rotation("app1", "app2", "app3"), "internal": internal})
    verdict = capacity_floor(site, {"public": 1, "internal": 1}, "app1")
    assert refused(verdict) == "internal would be left with 0 of 1 server in rotation, the floor is 1"


@pytest.mark.parametrize(
    ("server", "good"),
    [
        (ObservedServer("app1", "maint", up=False), True),
        (ObservedServer("app1", "ready", up=False), True),
        (ObservedServer("app1", "drain", up=False), True),
        (ObservedServer("app1", "drain"), False),
        (ObservedServer("app1"), False),
    ],
)
def test_what_cannot_serve_anyway_may_leave_below_the_floor(server: ObservedServer, good: bool) -> None:
    """So it can be brought back; one that is only drained could serve again at once, and stays until enough do."""
    site = ObservedSite(pools=in_rotation("app2", app1=server))
    assert capacity_floor(site, {"public": 2}, "app1").good is good


def test_after_the_effect_the_floor_is_asked_of_what_was_before() -> None:
    """What has left is not excused for being out."""
    before = ObservedSite(pools=in_rotation("app1", "app2", "app3"))
    out = ObservedServer("app1", "maint", up=False)
    floor = {"public": 2}
    well = ObservedSite(pools=in_rotation("app2", "app3", app1=out))
    assert capacity_floor(well, floor, "app1", before).good
    broken = ObservedSite(pools=in_rotation("app2", app1=out, app3=ObservedServer("app3", up=False)))
    assert refused(capacity_floor(broken, floor, "app1", before)) == (
        "public is left with 1 in rotation, the floor is 2"
    )
    assert capacity_floor(broken, floor, "app1", broken).good


def test_at_any_moment_so_many_serve() -> None:
    """With nobody leaving, the floor is what there must be; servers that are not ours do not count."""
    other = ObservedServer("")
    assert capacity_floor(ObservedSite(pools=in_rotation("app1", "app2")), {"public": 2}).good
    assert not capacity_floor(ObservedSite(pools=in_rotation("app1", other=other)), {"public": 2}).good


@pytest.mark.parametrize(
    ("facts", "floor"),
    [
        (Facts(), 2),
        (Facts(versions={"app1": "v1", "app2": "", "app3": "", "app4": ""}), 1),
        (Facts(pools={"public": {"app1": "ready", "app2": "maint", "app3": "drain", "app4": "maint"}}), 1),
    ],
)
def test_the_floor_is_no_higher_than_what_served_when_it_was_planned(facts: Facts, floor: int) -> None:
    """A site that was below it is not kept from coming up."""
    assert floors(rolling(a_site(), a_release(), facts)) == {"public": floor}


@pytest.mark.parametrize(
    ("node", "wrong"),
    [
        (OLD, ""),
        (NEW, ""),
        (ObservedNode(running=False), "does not run"),
        (ObservedNode(version="v1", ailment="503"), "is not well: 503"),
        (ObservedNode(version="v0"), "runs v0, not v1 or v2"),
        (ObservedNode(), "runs a version that it does not say, not v1 or v2"),
    ],
)
def test_what_is_in_rotation_is_fit_to_serve(node: ObservedNode, wrong: str) -> None:
    """Running, well and of one of the two versions; also before it enters. What is out may be as it likes."""
    site = ObservedSite(pools=in_rotation("app1"), nodes={"app1": node})
    verdict = interlocks.fit_to_serve(site, a_release())
    assert verdict.good is not bool(wrong)
    assert wrong in verdict.evidence
    assert interlocks.fit_to_enter("app1", node, a_release()).good is verdict.good
    out = ObservedSite(pools=in_rotation(app1=ObservedServer("app1", "maint")), nodes={"app1": node})
    assert interlocks.fit_to_serve(out, a_release()).good


@pytest.mark.parametrize(
    ("node", "good"),
    [
        (ObservedNode(version="v2", ailment="503"), True),
        (ObservedNode(running=False), True),
        (ObservedNode(version="v1", ailment="503"), False),
        (ObservedNode(version="v0"), False),
    ],
)
def test_a_way_back_does_not_wait_for_what_it_replaces(node: ObservedNode, good: bool) -> None:
    """The version that is left may be ill; the one that everything goes back to may not."""
    site = ObservedSite(pools=in_rotation("app1"), nodes={"app1": node})
    assert interlocks.fit_to_serve(site, a_release(), left="v2").good is good


@pytest.mark.parametrize(
    ("version", "database", "coexistence", "can"),
    [
        ("v1", FIRST, Coexistence(), Ability.START),
        ("v1", EXPANDED, Coexistence(), Ability.START),
        ("v1", EXPANDED, Coexistence(old_on_new=Ability.RUN), Ability.RUN),
        ("v1", EXPANDED, Coexistence(old_on_new=Ability.NO), Ability.NO),
        ("v1", ObservedDatabase(begun=frozenset({EXPAND.name})), Coexistence(Ability.RUN), Ability.RUN),
        ("v1", CONTRACTED, Coexistence(), Ability.NO),
        ("v1", ObservedDatabase(begun=frozenset({CONTRACT.name})), Coexistence(), Ability.NO),
        ("v2", FIRST, Coexistence(), Ability.NO),
        ("v2", FIRST, Coexistence(new_on_old=Ability.RUN), Ability.RUN),
        ("v2", ObservedDatabase(begun=frozenset({EXPAND.name})), Coexistence(), Ability.NO),
        ("v2", EXPANDED, Coexistence(), Ability.START),
        ("v2", CONTRACTED, Coexistence(), Ability.START),
    ],
)
def test_versions_and_schemas(
    version: str, database: ObservedDatabase, coexistence: Coexistence, can: Ability
) -> None:
    """What a version can do follows from the release; a migration that is half done helps nobody."""
    release = a_release(coexistence=coexistence)
    assert interlocks.ability(version, release, {"main": database}) is can
    site = ObservedSite(
        pools=in_rotation("app1"),
        nodes={"app1": ObservedNode(version=version, release=version)},
        databases={"main": database},
    )
    assert interlocks.can_start(site, release, "app1").good is (can is Ability.START)
    assert interlocks.can_run(site, release).good is (can is not Ability.NO)


def test_what_serves_nobody_may_run_on_any_schema() -> None:
    """Out of its pool a node harms nobody; one that is in no pool at all is taken to serve."""
    out = in_rotation(app1=ObservedServer("app1", "maint"))
    site = ObservedSite(pools=out, nodes={"app1": NEW}, databases={"main": FIRST})
    assert interlocks.can_run(site, a_release()).good
    pooless = ObservedSite(nodes={"app1": NEW}, databases={"main": FIRST})
    assert refused(interlocks.can_run(pooless, a_release())) == (
        "app1 serves as v2, which cannot run with main at its old schema"
    )


@pytest.mark.parametrize(
    ("version", "serves"),
    [("", "app1 serves as a version that it does not say"), ("v0", "app1 serves as v0")],
)
@pytest.mark.parametrize("database", [FIRST, EXPANDED, CONTRACTED])
def test_of_what_serves_it_is_known_whether_it_can_run(
    version: str, serves: str, database: ObservedDatabase
) -> None:
    """A version that is neither of the two, or not said, is refused on any schema; not of what serves nobody."""
    node, databases = ObservedNode(version=version), {"main": database}
    site = ObservedSite(pools=in_rotation("app1"), nodes={"app1": node}, databases=databases)
    assert refused(interlocks.can_run(site, a_release())).startswith(f"{serves}, of which nobody knows")
    refused(interlocks.can_run(ObservedSite(nodes={"app1": node}, databases=databases), a_release()))
    out = in_rotation(app1=ObservedServer("app1", "maint"))
    silent = ObservedSite(pools=out, nodes={"app1": node}, databases=databases)
    assert interlocks.can_run(silent, a_release()).good
    stopped = ObservedSite(nodes={"app1": ObservedNode(running=False)}, databases=databases)
    assert interlocks.can_run(stopped, a_release()).good


@pytest.mark.parametrize("release", ["v0", ""])
def test_only_the_two_versions_are_started(release: str) -> None:
    """Of a third one nothing is known."""
    site = ObservedSite(nodes={"app1": ObservedNode(release=release)})
    refused(interlocks.can_start(site, a_release(), "app1"))


def test_two_versions_run_together_only_where_they_may() -> None:
    """The release says so; nodes that do not run are in no cluster."""
    site = ObservedSite(nodes={"app1": NEW, "app2": OLD})
    apart = a_release(coexistence=Coexistence(together=False))
    assert interlocks.one_cluster(site, a_release()).good
    assert (
        refused(interlocks.one_cluster(site, apart)) == "app1 as v2 and app2 as v1 would run in one cluster"
    )
    stopped = ObservedSite(nodes={"app1": NEW, "app2": ObservedNode(running=False, version="v1")})
    assert interlocks.one_cluster(stopped, apart).good


@pytest.mark.parametrize(
    ("blue", "green", "good"),
    [
        (ObservedDatabase(data="mail"), ObservedDatabase(data="mail"), False),
        (ObservedDatabase(data="mail"), ObservedDatabase(data="mail", writable=False), True),
        (ObservedDatabase(data="mail"), ObservedDatabase(data="files"), True),
        (ObservedDatabase(), ObservedDatabase(), True),
    ],
)
def test_one_database_accepts_writes(blue: ObservedDatabase, green: ObservedDatabase, good: bool) -> None:
    """Two copies of the same data never both do."""
    site = ObservedSite(databases={"blue": blue, "green": green})
    assert interlocks.one_writer(site).good is good


@pytest.mark.parametrize(("rotation", "good"), [({"app1", "app2"}, False), ({"app2"}, True), (set(), True)])
def test_nothing_serving_is_stopped(rotation: set[str], good: bool) -> None:
    """Whatever was skipped before: a node that the balancer still sends sessions to is left running."""
    assert interlocks.nobody_served(ObservedSite(pools=in_rotation(*rotation)), "app1").good is good


@pytest.mark.parametrize(("unflushed", "good"), [("0", True), ("17 messages", False), ("", False)])
def test_nothing_unflushed_is_stopped(unflushed: str, good: bool) -> None:
    """Nothing is nothing; not to know is not nothing."""
    site = ObservedSite(nodes={"app1": ObservedNode(unflushed=unflushed)})
    assert interlocks.flushed(site, "app1").good is good


def test_a_migration_needs_its_verified_backup() -> None:
    """A snapshot that was taken but never restored does not count, nor does another run's."""
    older = ObservedDatabase(verified=frozenset({"before-v2.older"}))
    own = ObservedDatabase(verified=frozenset({"before-v2.run"}))
    for database, good in ((FIRST, False), (older, False), (own, True)):
        site = ObservedSite(databases={"main": database})
        assert interlocks.verified_backup(site, "main", "before-v2.run").good is good


@pytest.mark.parametrize(
    ("server", "evidence"),
    [
        (ObservedServer("app2"), ""),
        (ObservedServer("app2", up=False), ""),
        (ObservedServer("app2", "maint"), "app2 at public went from ready to maint"),
        (None, "app2 at public went from ready to gone"),
    ],
)
def test_only_the_named_servers_are_touched(server: ObservedServer | None, evidence: str) -> None:
    """What another was told meanwhile was told by somebody else; a check that turns over was told by nobody."""
    before = ObservedSite(pools=in_rotation("app1", "app2"))
    after = ObservedSite(pools={"public": {"app1": ObservedServer("app1", "drain")}})
    if server:
        after = ObservedSite(pools={"public": {**after.pools["public"], "app2": server}})
    verdict = interlocks.only_named(before, after, [("public", "app1")])
    assert verdict.good is not bool(evidence)
    assert evidence in verdict.evidence
    assert interlocks.only_named(before, after, [("public", "app1"), ("public", "app2")]).good


@pytest.mark.parametrize(
    ("sides", "evidence"),
    [
        ({"old"}, ""),
        ({"old", "new"}, "acme is served by new and by old"),
        (set(), "acme is served by none"),
    ],
)
def test_a_tenant_is_served_by_exactly_one_side(sides: set[str], evidence: str) -> None:
    """Never by both, and never by none."""
    verdict = interlocks.one_side(ObservedSite(tenants={"acme": frozenset(sides)}))
    assert verdict.good is not bool(evidence)
    assert evidence in verdict.evidence


@pytest.mark.parametrize(
    ("redirects", "evidence"),
    [
        ({"old": "new", "older": "old"}, ""),
        ({"old": "old"}, "old → old"),
        ({"old": "new", "new": "old"}, "old → new → old"),
        ({"a": "b", "b": "c", "c": "b"}, "b → c → b"),
    ],
)
def test_redirects_cannot_loop(redirects: dict[str, str], evidence: str) -> None:
    """Whoever follows them arrives."""
    verdict = interlocks.no_loop(ObservedSite(redirects=redirects))
    assert verdict.good is not bool(evidence)
    assert evidence in verdict.evidence


@pytest.mark.parametrize(
    ("admits", "evidence"),
    [
        (set(), ""),
        ({"10.0.0.9"}, ""),
        ({"10.0.0.9", "10.0.0.10"}, "public lets in 10.0.0.10"),
        ({ANYBODY}, "public lets in anybody"),
    ],
)
def test_a_closed_site_lets_in_its_allowlist(admits: set[str], evidence: str) -> None:
    """And nobody else."""
    verdict = interlocks.closed(ObservedSite(entrances={"public": frozenset(admits)}), {"10.0.0.9"})
    assert verdict.good is not bool(evidence)
    assert evidence in verdict.evidence


@pytest.mark.parametrize(
    ("site", "evidence"),
    [
        (ObservedSite(nodes={"app1": ObservedNode(running=False)}, outstanding={"mail": "0"}), ""),
        (ObservedSite(nodes={"app1": ObservedNode()}), "app1 runs"),
        (
            ObservedSite(nodes={"app1": ObservedNode(running=False, watched=True)}),
            "app1 does not run, but its watchdog does and would start it",
        ),
        (ObservedSite(outstanding={"mail": "0", "sms": "3"}), "sms has 3 outstanding"),
        (ObservedSite(outstanding={"mail": ""}), "mail has nobody knows how much outstanding"),
    ],
)
def test_storage_is_cleaned_only_at_rest(site: ObservedSite, evidence: str) -> None:
    """No node runs or would be started, and nothing is outstanding; silence is not zero."""
    verdict = interlocks.all_at_rest(site)
    assert verdict.good if not evidence else refused(verdict) == evidence


@pytest.mark.parametrize(("watched", "good"), [(False, True), (True, False)])
def test_what_a_watchdog_would_start_counts_as_not_stopped(watched: bool, good: bool) -> None:
    """It says which node, and what to stop first."""
    verdict = interlocks.stays_stopped(ObservedSite(nodes={"app1": ObservedNode(watched=watched)}), "app1")
    assert verdict.good if good else refused(verdict) == "the watchdog of app1 runs and would start it again"


@pytest.mark.parametrize(
    ("answers", "evidence"),
    [
        ({"qa": "OFF"}, ""),
        ({"qa": "ON"}, "qa is ON, expected OFF"),
        ({"qa": ""}, "qa is not answered, expected OFF"),
        ({}, ""),
    ],
)
def test_nothing_is_stopped_but_as_expected(answers: dict[str, str], evidence: str) -> None:
    """Another answer, and none, holds it up; what was not asked is not spoken of."""
    verdict = interlocks.as_expected(ObservedSite(answers=answers), [Expectation("qa", "OFF")])
    assert verdict.good if not evidence else refused(verdict) == evidence
