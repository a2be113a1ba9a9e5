"""The real engine with the real actions on the simulated site: there, and back to where it began."""

from collections.abc import Sequence

import msgspec

from changeover.actions import ACTIONS
from changeover.engine.events import Event, Verb
from changeover.engine.guard import Guard
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.model.plan import Facts
from changeover.model.states import RunState
from changeover.simulation import LoopClock, SimulatedSite, Traffic, differences, run
from changeover.strategies.rolling import rolling
from tests.sites import a_release, a_site

OWNER = Owner.current()


async def there_and_back(clock: LoopClock) -> tuple[SimulatedSite, list[str], Sequence[Event]]:
    """Upgrade up to the gate of finalize, then fall back; what differs from the beginning, and all events."""
    release = a_release()
    traffic = Traffic(requests=100, sessions=1, writes=10, session_seconds=5)
    site = SimulatedSite(a_site(), "v1", clock, release=release, traffic=traffic)
    before = site.state()
    plan = rolling(a_site(), release, Facts())
    journal = MemoryJournal(clock.now)
    name = await journal.create_run(plan, actor="ann", reason="", owner=OWNER)
    events: list[Event] = []

    def runner() -> Runner:
        guard = Guard(plan, site.world, name)
        return Runner(journal, name, site.world, ACTIONS, guard=guard, owner=OWNER, observer=events.append)

    upgraded = await runner().run()
    assert upgraded.state is RunState.WAITING, upgraded
    assert {node.running for node in site.nodes.values()} == {"v2"}
    assert site.clients.losses == []
    await journal.command(name, Verb.ABORT, actor="ann", reason="enough")
    back = await runner().run()
    assert back.ended, back
    return site, differences(before, site.state()), events


def test_an_upgrade_and_its_way_back_lose_nothing() -> None:
    """Every field is as it was but for the snapshot, which is kept; no request, session or write was lost."""
    site, differs, _ = run(there_and_back, grain=0.5)
    [label] = site.stores["main"].snapshots
    assert differs == [f"databases.main.snapshots.{label}: None, now True"]
    assert site.clients.requests > 5000
    assert site.clients.losses == []
    assert site.clients.missing(site.stores["main"]) == 0


def test_a_simulated_run_is_the_same_each_time() -> None:
    """Event by event, with their times."""
    first, second = ([msgspec.json.encode(event) for event in run(there_and_back)[2]] for _ in range(2))
    assert len(first) > 100
    assert first == second
