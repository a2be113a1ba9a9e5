"""The harness that every kind of step passes."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from unittest.mock import AsyncMock

import msgspec
import pytest

from changeover.actions import ACTIONS, Context
from changeover.errors import PortError, StepError
from changeover.model.plan import Facts, Operation, snapshot_label
from changeover.model.release import CommandMigration, Migrations
from changeover.model.site import AccessConfig, Unit
from changeover.model.values import Observation, Presence
from changeover.ports import Answer, Applied, Clock, restoring
from changeover.simulation import Fault, LoopClock, SimulatedSite, aimed, differences, run
from changeover.strategies import STRATEGIES
from tests.sites import EXPAND, MESSENGER, a_release, a_site

SERVERS = {"servers": {"public": "app1"}}
MIGRATION = {"migration": msgspec.to_builtins(EXPAND), "lock_timeout": 1.0}
KEPT = {"paths": ["/etc/app.properties"], "to": "/srv/kept"}
DDL = {"file": "/etc/app.properties", "key": "auto.ddl"}
MARKED = {"label": "start", "paths": ["/var/log/app.log"]}
GATE = AccessConfig("gate", "nftables", ("app1", "app2"), (8080,), page=8081, outside=("lb1",))
COMMAND = {"observe": "expanded", "node": "app1", "release": "v2", "lock_timeout": 2.0}


@dataclass
class Case:
    """An operation, the operation that undoes it, and what must have been done before."""

    do: Operation
    undo: Operation
    before: list[Operation] = field(default_factory=list)

    def __str__(self) -> str:
        return self.do.action


def _op(action: str, target: str, **params: object) -> Operation:
    return Operation(action, target, params)


def _raw(action: str, params: object) -> object:
    return {"action": action, "target": "main", "params": params}


CHANGES = [
    Case(_op("node.install", "app1", release="v2"), _op("node.uninstall", "app1", release="v2")),
    Case(
        _op("node.uninstall", "app1", release="v2"),
        _op("node.install", "app1", release="v2"),
        [_op("node.install", "app1", release="v2")],
    ),
    Case(_op("node.stop", "app1"), _op("node.start", "app1")),
    Case(_op("node.start", "app1"), _op("node.stop", "app1"), [_op("node.stop", "app1")]),
    Case(
        _op("node.switch", "app1", release="v2"),
        _op("node.switch", "app1", release="v1"),
        [_op("node.install", "app1", release="v2"), _op("node.stop", "app1")],
    ),
    Case(_op("traffic.drain", "app1", **SERVERS), _op("traffic.enter", "app1", **SERVERS)),
    Case(_op("traffic.remove", "app1", **SERVERS), _op("traffic.enter", "app1", **SERVERS)),
    Case(
        _op("traffic.enter", "app1", **SERVERS),
        _op("traffic.remove", "app1", **SERVERS),
        [_op("traffic.remove", "app1", **SERVERS)],
    ),
    Case(_op("database.snapshot", "main", label="s"), _op("database.drop-snapshot", "main", label="s")),
    Case(
        _op("database.drop-snapshot", "main", label="s"),
        _op("database.snapshot", "main", label="s"),
        [_op("database.snapshot", "main", label="s")],
    ),
    Case(_op("database.migrate", "main", **MIGRATION), _op("database.revert", "main", **MIGRATION)),
    Case(
        _op("database.revert", "main", **MIGRATION),
        _op("database.migrate", "main", **MIGRATION),
        [_op("database.migrate", "main", **MIGRATION)],
    ),
    Case(
        _op("database.restore", "main", label="s", instead_of=[_raw("database.migrate", MIGRATION)]),
        _op("database.migrate", "main", **MIGRATION),
        [
            _op("database.snapshot", "main", label="s"),
            _op("database.verify", "main", label="s"),
            _op("database.migrate", "main", **MIGRATION),
        ],
    ),
    Case(
        _op("database.command", "main", run="expand", expect="yes", **COMMAND),
        _op("database.command", "main", run="unexpand", expect="no", **COMMAND),
        [_op("node.install", "app1", release="v2")],
    ),
    Case(_op("access.close", "gate"), _op("access.open", "gate")),
    Case(_op("access.open", "gate"), _op("access.close", "gate"), [_op("access.close", "gate")]),
    Case(
        _op("application.flush", "mail", node="app1"),
        _op("application.unflush", "mail", node="app1"),
    ),
    Case(
        _op("application.unflush", "mail", node="app1"),
        _op("application.flush", "mail", node="app1"),
        [_op("application.flush", "mail", node="app1")],
    ),
    Case(_op("node.watchdog-stop", "app2"), _op("node.watchdog-start", "app2")),
    Case(
        _op("node.watchdog-start", "app2"),
        _op("node.watchdog-stop", "app2"),
        [_op("node.watchdog-stop", "app2")],
    ),
    Case(_op("files.keep", "app1", **KEPT), _op("files.let-go", "app1", **KEPT)),
    Case(
        _op("files.let-go", "app1", **KEPT),
        _op("files.keep", "app1", **KEPT),
        [_op("files.keep", "app1", **KEPT)],
    ),
    Case(
        _op("files.put-back", "app1", **KEPT),
        _op("node.property", "app1", value="true", **DDL),
        [_op("files.keep", "app1", **KEPT), _op("node.property", "app1", value="true", **DDL)],
    ),
    Case(
        _op("node.property", "app1", value="true", **DDL),
        _op("node.property", "app1", value="false", **DDL),
    ),
    Case(_op("log.mark", "app1", **MARKED), _op("log.forget", "app1")),
    Case(
        _op("log.forget", "app1"),
        _op("log.mark", "app1", **MARKED),
        [_op("log.mark", "app1", **MARKED)],
    ),
]

LOOKS = [
    _op("access.check", "gate", state="open"),
    _op("node.health", "app1"),
    _op("node.version", "app1", version="v1"),
    _op("node.check", "app1", version="v1"),
    _op("node.verify", "app1", version="v1", **SERVERS),
    _op("traffic.check", "public", servers=["app1", "app2"]),
    _op("host.check", "app1", path="/", disk_free=1024, clock_skew=5.0),
    _op("database.check", "main"),
    _op("application.expect", "notes", node="app1", answers={"qa_diagnostic": "OFF"}),
]

PROVES = [
    _op("database.verify", "main", label="s"),
    _op("node.hold", "app1", seconds=5.0),
    _op("node.build", "app1", release="v2"),
    _op("node.test", "app1", release="v1"),
    _op("log.check", "app1", label="start", logs=[], version="v1"),
    _op("application.flushed", "mail", node="app1", stall=30.0, poll=2.0),
    _op("application.clean", "app1"),
    _op("node.stopped", "app1"),
    _op("time.wait", "window", until=0.0),
]
"""Those that neither have a counterpart nor only look; each has a test of its own."""


def _context(site: SimulatedSite) -> Context:
    plan = STRATEGIES["rolling"](a_site(), a_release(), Facts())
    plan = msgspec.structs.replace(plan, site=site.site)
    return Context(site.world, plan, "run", "step", 1, site.clock.now(), 60.0)


async def _observe(operation: Operation, context: Context) -> Presence:
    return (await ACTIONS[operation.action].observe(operation, context)).presence


async def _perform(operation: Operation, context: Context) -> str | Observation:
    return await ACTIONS[operation.action].perform(operation, context)


def a_site_to_change(clock: Clock | None = None) -> SimulatedSite:
    """A simulated site with a migration that the application performs itself, up for a while."""
    plain = a_site()
    own = ("expand", "expanded", "unexpand", "build", "built", "test")
    bound = dict.fromkeys((*own, *MESSENGER), Unit("app.service"))
    application = msgspec.structs.replace(
        plain.application, capabilities={**plain.application.capabilities, **bound}
    )
    command = CommandMigration("000_own", "expand", "expanded", "app1", undo="unexpand")
    change = Migrations("main", (EXPAND, command))
    site = SimulatedSite(
        msgspec.structs.replace(plain, application=application, access=(GATE,)),
        "v1",
        clock,
        release=a_release(migrations=(change,)),
        abilities={},
    )
    for name, node in site.nodes.items():
        node.watchdog = node.watched = name == "app2"
    site.answers["qa_diagnostic"] = "OFF"
    site.hosts["app1"].files[DDL["file"]] = b"# as it came\nauto.ddl = false\n"
    site.hosts["app1"].owned[DDL["file"]] = "640 0:33"
    site.hosts["app1"].log(MARKED["paths"][0], b"INFO v1 started\n")
    return site


@pytest.fixture
def site() -> SimulatedSite:
    """The same, on a clock that jumps."""
    return a_site_to_change()


@pytest.mark.parametrize("case", CHANGES, ids=str)
async def test_a_change_is_observed_performed_repeated_and_undone(case: Case, site: SimulatedSite) -> None:
    """Absent, performed, done, performed again without a change, undone, absent."""
    context = _context(site)
    for operation in case.before:
        await _perform(operation, context)
    assert await _observe(case.do, context) is Presence.ABSENT
    assert await _perform(case.do, context)
    assert await _observe(case.do, context) is Presence.DONE
    once = site.state()
    await _perform(case.do, context)
    assert site.state() == once
    await _perform(case.undo, context)
    assert await _observe(case.do, context) is Presence.ABSENT
    assert await _observe(case.undo, context) is Presence.DONE


@pytest.mark.parametrize("case", CHANGES, ids=str)
async def test_a_conductor_that_knows_nothing_more_finds_out(case: Case, site: SimulatedSite) -> None:
    """After a crash between perform and its record, a fresh context observes the same."""
    for operation in case.before:
        await _perform(operation, _context(site))
    await _perform(case.do, _context(site))
    assert await _observe(case.do, _context(site)) is Presence.DONE
    await _perform(case.undo, _context(site))
    await _perform(case.do, _context(site))
    assert await _observe(case.do, _context(site)) is Presence.DONE


CRASHES = {"before": Fault.HANGS, "during": Fault.SLOW, "after": Fault.HANGS_AFTER}
"""Where a conductor dies in a call: what holds the call up there, so that it can be struck."""

MOMENT = 0.001
"""Seconds: less than any call that is held up takes."""

TAKEOVER = 1.0
"""Seconds after a crash until the next conductor is there, at the least."""

ATTEMPTS = 30


async def _crash(operation: Operation, site: SimulatedSite, fault: Fault, call: int) -> bool:
    """Perform, and die in that call; whether there was one."""
    with aimed(fault, skip=call, looks=True) as aim:
        conductor = asyncio.create_task(_perform(operation, _context(site)))
    while not (aim.hit or conductor.done()):
        await asyncio.sleep(MOMENT)
    await asyncio.sleep(MOMENT)
    conductor.cancel()
    await asyncio.gather(conductor, return_exceptions=True)
    await asyncio.sleep(TAKEOVER)
    return aim.hit is not None


async def _resume(operation: Operation, site: SimulatedSite) -> None:
    """What comes of a step that was in flight: looked at, performed unless it is done, and tried again.

    What cannot be looked at is retried by a person: a restore that died has left its database closed.
    """
    try:
        seen = await _observe(operation, _context(site))
    except PortError:
        assert operation.action == "database.restore"
        seen = Presence.ABSENT
    assert seen is not Presence.UNKNOWN
    for _ in range(ATTEMPTS):
        if seen is Presence.DONE:
            return
        with suppress(PortError):
            await _perform(operation, _context(site))
        seen = await _observe(operation, _context(site))
    pytest.fail(f"not done in {ATTEMPTS} attempts: {seen}")


@pytest.mark.parametrize("orphans", [False, True], ids=["dies-with-it", "goes-on"])
@pytest.mark.parametrize("where", CRASHES)
@pytest.mark.parametrize("case", CHANGES, ids=str)
def test_a_crash_in_any_call_of_a_step_loses_nothing(case: Case, where: str, orphans: bool) -> None:
    """Killed before, in and after each call of a port: the next conductor completes it, and takes it back wholly.

    What was under way on a host is broken off there, or comes to its end later, even after it was done again.
    """

    async def crash_in(call: int, clock: LoopClock) -> bool:
        site = a_site_to_change(clock)
        for operation in case.before:
            await _perform(operation, _context(site))
        await clock.sleep(60)
        before = site.state()
        site.orphans_end = orphans
        struck = await _crash(case.do, site, CRASHES[where], call)
        await _resume(case.do, site)
        await clock.sleep(60)
        assert await _observe(case.do, _context(site)) is Presence.DONE
        if struck:
            assert await _crash(case.undo, site, CRASHES[where], 0)
        await _resume(case.undo, site)
        await clock.sleep(60)
        assert await _observe(case.do, _context(site)) is Presence.ABSENT
        assert differences(before, site.state()) == []
        return struck

    calls = 0
    while run(lambda clock: crash_in(calls, clock)):  # noqa: B023 - it is called at once
        calls += 1
    assert calls > 0


@pytest.mark.parametrize("operation", LOOKS, ids=lambda o: o.action)
async def test_a_look_changes_nothing(operation: Operation, site: SimulatedSite) -> None:
    """Performing a step that only looks leaves the site as it was, and it is then observed done."""
    context = _context(site)
    before = site.state()
    assert await _perform(operation, context)
    assert await _observe(operation, context) is Presence.DONE
    assert site.state() == before


async def test_verifying_marks_the_snapshot_and_nothing_else(site: SimulatedSite) -> None:
    """Absent without a snapshot and with an unverified one; done once it was restored and compared."""
    context = _context(site)
    assert await _observe(PROVES[0], context) is Presence.ABSENT
    await _perform(_op("database.snapshot", "main", label="s"), context)
    assert await _observe(PROVES[0], context) is Presence.ABSENT
    await _perform(PROVES[0], context)
    assert await _observe(PROVES[0], context) is Presence.DONE


async def test_what_is_built_is_there_and_is_not_built_twice(site: SimulatedSite) -> None:
    """Absent, performed, done; what was built is left."""
    context, (build,) = _context(site), [op for op in PROVES if op.action == "node.build"]
    assert await _observe(build, context) is Presence.ABSENT
    await _perform(build, context)
    assert await _observe(build, context) is Presence.DONE
    assert site.nodes["app1"].built == {"v2"}


async def test_a_test_is_done_when_it_was_seen_to_its_end(site: SimulatedSite) -> None:
    """No look tells; a node that is not as the test wants it fails the step."""
    context, (test,) = _context(site), [op for op in PROVES if op.action == "node.test"]
    assert await _observe(test, context) is Presence.ABSENT
    seen = await _perform(test, context)
    assert isinstance(seen, Observation)
    assert seen.done
    site.nodes["app1"].broken.add("health")
    with pytest.raises(StepError, match="does not answer well"):
        await _perform(test, context)


async def test_a_log_is_read_from_its_mark(site: SimulatedSite) -> None:
    """Without a mark nobody can tell; what stood there before it does not count, what was written after it does."""
    context, (check,) = _context(site), [op for op in PROVES if op.action == "log.check"]
    watch = {"path": MARKED["paths"][0], "errors": ["ERROR"]}
    check = msgspec.structs.replace(check, params={**check.params, "logs": [watch]})
    site.hosts["app1"].log(MARKED["paths"][0], b"ERROR before\n")
    assert await _observe(check, context) is Presence.UNKNOWN
    await _perform(_op("log.mark", "app1", **MARKED), context)
    assert await _observe(check, context) is Presence.DONE
    site.hosts["app1"].log(MARKED["paths"][0], b"ERROR after\n")
    assert await _observe(check, context) is Presence.ABSENT
    with pytest.raises(StepError, match="ERROR after") as error:
        await _perform(check, context)
    assert "before" not in error.value.message


async def test_holding_watches_for_the_whole_time(site: SimulatedSite) -> None:
    """Only watching tells: it is never observed done, takes its time, and ends with the first look that is bad."""
    context, hold = _context(site), PROVES[1]
    began = site.clock.now()
    assert await _observe(hold, context) is Presence.ABSENT
    await _perform(hold, context)
    assert site.clock.now() - began >= 5.0
    site.nodes["app1"].broken.add("health")
    with pytest.raises(StepError, match="app1 while it was watched"):
        await _perform(hold, context)


@pytest.mark.parametrize(
    ("said", "forwards", "backwards", "restored"),
    [
        ("yes", Presence.DONE, Presence.ABSENT, Presence.ABSENT),
        ("no", Presence.ABSENT, Presence.DONE, Presence.DONE),
        ("partly", Presence.ABSENT, Presence.ABSENT, Presence.ABSENT),
        ("perhaps", Presence.UNKNOWN, Presence.UNKNOWN, Presence.ABSENT),
    ],
)
async def test_half_of_the_applications_own_migration_is_to_be_done_in_either_direction(
    site: SimulatedSite,
    monkeypatch: pytest.MonkeyPatch,
    *,
    said: str,
    forwards: Presence,
    backwards: Presence,
    restored: Presence,
) -> None:
    """What it answers decides for the migration, for its undo, and for a restore in place of them."""
    context = _context(site)
    monkeypatch.setattr(site.world.application, "ask", AsyncMock(return_value=Answer(True, said, said)))
    forward = _op("database.command", "main", run="expand", expect="yes", **COMMAND)
    backward = _op("database.command", "main", run="unexpand", expect="no", **COMMAND)
    restore = _op("database.restore", "main", label="s", instead_of=[msgspec.to_builtins(forward)])
    seen = [await _observe(operation, context) for operation in (forward, backward, restore)]
    assert seen == [forwards, backwards, restored]


async def test_a_restore_that_stands_in_the_ledger_is_not_done(site: SimulatedSite) -> None:
    """No migration is there any more, but neither is all of the snapshot; it is done when the entry is struck."""
    context = _context(site)
    (restore,) = (case.do for case in CHANGES if case.do.action == "database.restore")
    entry = restoring(snapshot_label("s", context.run))
    site.stores["main"].ledger[entry] = Applied(entry, "c", 1.0, 0)
    assert await _observe(restore, context) is Presence.ABSENT
    await site.databases["main"].forget(entry)
    assert await _observe(restore, context) is Presence.DONE


def test_every_kind_has_passed_the_harness() -> None:
    """No kind of action is registered that this file does not put through its lifecycle."""
    tried = {case.do.action for case in CHANGES} | {op.action for op in [*LOOKS, *PROVES]}
    assert tried == set(ACTIONS)
