"""The checks on a site in memory: good where it is well, and bad with the evidence where it is not."""

from typing import cast

import msgspec
import pytest

from changeover.checks import databases, machines, site
from changeover.model.release import Kept, Limits, Notice, Property, Release
from changeover.model.values import Outcome, Secret, Verdict
from changeover.ports import AdminState, Command, Database, Host, Result, ServerFacts
from changeover.simulation import SimulatedSite
from tests.sites import a_release, a_simulated_site, a_site


async def test_a_well_site_is_good_in_everything() -> None:
    """Hosts, nodes, pool and database, each with a verdict."""
    simulated = a_simulated_site()
    await simulated.clock.sleep(60)
    verdicts = await site.check(a_site(), a_release(), simulated.world)
    assert [verdict for verdict in verdicts if not verdict.good] == []
    subjects = {verdict.subject for verdict in verdicts}
    assert {
        "app1 health",
        "app1 version",
        "app1 disk",
        "app1 clock",
        "pool public",
        "database main",
    } <= subjects


async def test_what_is_wrong_is_said_with_its_evidence() -> None:
    """A node that is ill, one of another version, a server in drain: three bad verdicts, the rest good."""
    simulated = a_simulated_site()
    await simulated.clock.sleep(60)
    simulated.nodes["app1"].broken.add("health")
    simulated.nodes["app2"].running = "v0"
    await simulated.balancers["public"].set_state("app3", AdminState.DRAIN)
    verdicts = await site.check(a_site(), a_release(), simulated.world)
    bad = {verdict.subject: verdict.evidence for verdict in verdicts if not verdict.good}
    assert bad.keys() == {"app1 health", "app2 version", "pool public"}
    assert bad["app2 version"] == "it runs v0, expected v1"
    assert "app3 drain" in bad["pool public"]


async def test_a_file_that_is_to_be_kept_or_edited_is_there() -> None:
    """On every node, with the values of the node; what is misspelt is told with the key that names it."""
    simulated = a_simulated_site()
    release = a_release(
        kept=(Kept(("/etc/{node}.key",), "/srv/kept"),),
        properties=(Property("/etc/ddl.properties", "auto.ddl", "true", "false"),),
    )
    for node in a_site().application.nodes:
        simulated.hosts[node.host].files |= {f"/etc/{node.name}.key": b"", "/etc/ddl.properties": b""}
    assert not [it for it in await _of_files(simulated, release) if not it.good]
    del simulated.hosts["app1"].files["/etc/app1.key"]
    del simulated.hosts["app2"].files["/etc/ddl.properties"]
    bad = {it.subject: it.hint for it in await _of_files(simulated, release) if not it.good}
    assert bad == {
        "app1 /etc/app1.key": "correct `upgrade.kept`, or bring it there",
        "app2 /etc/ddl.properties": "correct `upgrade.properties`, or bring it there",
    }


async def _of_files(simulated: SimulatedSite, release: Release) -> list[Verdict]:
    verdicts = await site.check(a_site(), release, simulated.world)
    found = [it for it in verdicts if "/etc/" in it.subject]
    assert len(found) == 2 * len(a_site().application.nodes)
    return found


async def test_a_full_disk_is_bad_at_the_limit() -> None:
    """What is needed exactly is enough; a byte less is not."""
    simulated = a_simulated_site()
    needed = 1024 * 1024
    for free, outcome in ((needed, Outcome.GOOD), (needed - 1024, Outcome.BAD)):
        simulated.hosts["app1"].free = free
        assert (await machines.disk(simulated.world.hosts["app1"], "/", needed)).outcome is outcome


async def test_a_node_that_does_not_run_has_no_version() -> None:
    """The facts tell it apart from every version, so that a plan can start with it."""
    simulated = a_simulated_site()
    await simulated.application.do("stop", "app2")
    facts = await site.facts(a_site(), simulated.world)
    assert facts.versions == {"app1": "v1", "app2": "", "app3": "v1", "app4": "v1"}
    assert facts.pools == {"public": dict.fromkeys(facts.versions, "ready")}


async def test_too_little_room_anywhere_is_bad() -> None:
    """The limit of the release counts."""
    simulated = a_simulated_site()
    await simulated.clock.sleep(60)
    release = msgspec.structs.replace(a_release(), limits=Limits(disk_free=1 << 50))
    verdicts = await site.check(a_site(), release, simulated.world)
    disks = {f"{host.name} disk" for host in a_site().hosts}
    assert {v.subject for v in verdicts if not v.good} == {*disks, "room for main"}


class Machine:
    """A host with file systems: mount point → free MiB."""

    name = "db1"

    def __init__(self, **mounts: int) -> None:
        self.mounts = {f"/{name.replace('root', '')}": free for name, free in mounts.items()}

    async def run(self, command: Command) -> Result:
        """Answer df as coreutils does, for the mount point that the path begins with."""
        path = command.line.split(";")[0].removeprefix("p=")
        mount = max((it for it in self.mounts if path.startswith(it)), key=len)
        return Result(0, f"/dev/x 1 1 {self.mounts[mount] * 1024} 1% {mount}\n", "")


class Server:
    """A database of 100 MiB that says where its files are, or does not."""

    name = "main"

    def __init__(self, directory: str) -> None:
        self.directory = directory

    async def facts(self) -> ServerFacts:
        """Its size and its directory."""
        return ServerFacts("PostgreSQL 15", 100 * 1024 * 1024, 0.0, directory=self.directory)


@pytest.mark.parametrize(
    ("directory", "mounts", "good"),
    [
        ("/var/lib/postgresql", {"root": 210}, True),
        ("/var/lib/postgresql", {"root": 209}, False),
        ("", {"root": 209}, False),
        ("/data/postgresql", {"root": 110, "data": 110}, True),
        ("/data/postgresql", {"root": 109, "data": 500}, False),
        ("/data/postgresql", {"root": 500, "data": 109}, False),
    ],
)
async def test_a_snapshot_and_a_scratch_copy_must_fit(
    directory: str, mounts: dict[str, int], good: bool
) -> None:
    """Twice the database on one file system, or once on each of two, and what must stay free; all in numbers."""
    database, host = cast("Database", Server(directory)), cast("Host", Machine(**mounts))
    verdict = await databases.room(database, host, "/var/lib/changeover/snapshots", 10 * 1024 * 1024)
    assert verdict.good is good
    assert f"{mounts['root']}.0 MiB free on / of db1" in verdict.evidence
    assert (
        "1 x 100.0 + 10.0)" in verdict.evidence or "210.0 MiB needed (2 x 100.0 + 10.0)" in verdict.evidence
    )


async def test_room_that_cannot_be_seen_is_unknown() -> None:
    """A host that does not answer has no room that we know of."""
    simulated = a_simulated_site()
    simulated.cut("db1")
    world = simulated.world
    verdict = await databases.room(world.databases["main"], world.hosts["db1"], "/var", 0)
    assert verdict.outcome is Outcome.UNKNOWN


async def test_people_are_sent_a_trial_only_when_that_is_asked_for() -> None:
    """A message that says it is one; who does not take it has a bad verdict, and the rest is looked at all the same."""
    notices = tuple(Notice(name, Secret(env=name)) for name in ("ops", "lee"))
    release = a_release(notices=notices)
    simulated = SimulatedSite(a_site(), "v1", release=release)
    simulated.mailboxes["lee"].full = True
    plain = await site.check(a_site(), release, simulated.world)
    assert not any(verdict.subject.startswith("notice") for verdict in plain)
    verdicts = await site.check(a_site(), release, simulated.world, notify=True)
    ops, lee = verdicts[-2:]
    assert (ops.subject, ops.outcome) == ("notice ops", Outcome.GOOD)
    assert (lee.subject, lee.outcome) == ("notice lee", Outcome.BAD)
    assert lee.evidence == "lee was not told: the mailbox is full"
    assert [title for title, _ in simulated.mailboxes["ops"].messages] == ["identity: a trial"]
