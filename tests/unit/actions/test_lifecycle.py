"""The harness that every kind of step passes."""

from dataclasses import dataclass, field

import msgspec
import pytest

from changeover.actions import ACTIONS, Context
from changeover.errors import StepError
from changeover.model.plan import Facts, Operation
from changeover.model.values import Observation, Presence
from changeover.simulation import SimulatedSite
from changeover.strategies import STRATEGIES
from tests.sites import EXPAND, a_release, a_simulated_site, a_site

SERVERS = {"servers": {"public": "app1"}}
MIGRATION = {"migration": msgspec.to_builtins(EXPAND), "lock_timeout": 1.0}
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
        [_op("node.install", "app1", release="v2")],
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
    ),
]

LOOKS = [
    _op("node.health", "app1"),
    _op("node.version", "app1", version="v1"),
    _op("node.check", "app1", version="v1"),
    _op("node.verify", "app1", version="v1", **SERVERS),
    _op("traffic.check", "public", servers=["app1", "app2"]),
    _op("host.check", "app1", path="/", disk_free=1024, clock_skew=5.0),
    _op("database.check", "main"),
]

PROVES = [_op("database.verify", "main", label="s"), _op("node.hold", "app1", seconds=5.0)]


def _context(site: SimulatedSite) -> Context:
    plan = STRATEGIES["rolling"](a_site(), a_release(), Facts())
    return Context(site.world, plan, "run", "step", 1, site.clock.now(), 60.0)


async def _observe(operation: Operation, context: Context) -> Presence:
    return (await ACTIONS[operation.action].observe(operation, context)).presence


async def _perform(operation: Operation, context: Context) -> str | Observation:
    return await ACTIONS[operation.action].perform(operation, context)


def _state(site: SimulatedSite) -> str:
    """Everything that a step could have changed, the clock aside."""
    nodes = {
        name: (n.release, sorted(n.installed), n.running, n.started_at) for name, n in site.nodes.items()
    }
    ledger = {name: sorted(db._ledger) for name, db in site.databases.items()}
    snapshots = {name: sorted(db._snapshots) for name, db in site.databases.items()}
    pools = {name: sorted(b.admin.items()) for name, b in site.balancers.items()}
    return repr((nodes, ledger, snapshots, pools, site.application.expanded))


@pytest.fixture
async def site() -> SimulatedSite:
    """A simulated site that has been up for a while."""
    site = a_simulated_site()
    await site.clock.sleep(60)
    return site


@pytest.mark.parametrize("case", CHANGES, ids=str)
async def test_a_change_is_observed_performed_repeated_and_undone(case: Case, site: SimulatedSite) -> None:
    """Absent, performed, done, performed again without a change, undone, absent."""
    context = _context(site)
    for operation in case.before:
        await _perform(operation, context)
    assert await _observe(case.do, context) is Presence.ABSENT
    assert await _perform(case.do, context)
    assert await _observe(case.do, context) is Presence.DONE
    once = _state(site)
    await _perform(case.do, context)
    assert _state(site) == once
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


@pytest.mark.parametrize("operation", LOOKS, ids=lambda o: o.action)
async def test_a_look_changes_nothing(operation: Operation, site: SimulatedSite) -> None:
    """Performing a step that only looks leaves the site as it was, and it is then observed done."""
    context = _context(site)
    before = _state(site)
    assert await _perform(operation, context)
    assert await _observe(operation, context) is Presence.DONE
    assert _state(site) == before


async def test_verifying_marks_the_snapshot_and_nothing_else(site: SimulatedSite) -> None:
    """Absent without a snapshot and with an unverified one; done once it was restored and compared."""
    context = _context(site)
    assert await _observe(PROVES[0], context) is Presence.ABSENT
    await _perform(_op("database.snapshot", "main", label="s"), context)
    assert await _observe(PROVES[0], context) is Presence.ABSENT
    await _perform(PROVES[0], context)
    assert await _observe(PROVES[0], context) is Presence.DONE


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


def test_every_kind_has_passed_the_harness() -> None:
    """No kind of action is registered that this file does not put through its lifecycle."""
    tried = {case.do.action for case in CHANGES} | {op.action for op in [*LOOKS, *PROVES]}
    assert tried == set(ACTIONS)
