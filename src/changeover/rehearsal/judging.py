"""Whether a run may end like this: done, back where it began, or stopped safely. Pure, but for `mend`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from changeover.engine.events import (
    Claimed,
    CommandTaken,
    Created,
    Event,
    FallbackBegun,
    RunChanged,
    StepChanged,
)
from changeover.engine.fold import RunStatus
from changeover.fallback import MIGRATES, direction
from changeover.model.plan import Direction, Plan
from changeover.model.states import RunState, StepState
from changeover.rehearsal.allowed import kept_snapshots, not_applied, restored_from
from changeover.rehearsal.asking import Asked
from changeover.rehearsal.watching import Violation
from changeover.simulation import SimulatedSite, differences

SHOWN = 6

OF_THE_FAULT = (".up", ".frozen", ".cut", ".full")


@dataclass(slots=True)
class Judged:
    """What is wrong with an end, and whether everything is as it was in the beginning."""

    violations: list[Violation] = field(default_factory=list)
    where_it_began: bool = False


def ended(plan: Plan, status: RunStatus, site: SimulatedSite, before: Mapping[str, object]) -> Judged:
    """Of a run that has ended, some time afterwards."""
    now = site.clock.now()
    differs = [it for it in differences(before, site.state()) if not _kept(it, status, site)]
    broken: list[tuple[str, str]] = []
    match status.state:
        case RunState.DONE:
            broken += (("done is done", it) for it in _unfinished(plan, site))
        case RunState.FELL_BACK:
            if differs:
                broken.append(("fell back to where it began", _listed(differs)))
        case RunState.ABORTED:  # there was nothing to take back, unless a person wanted it left
            if differs and not status.leaving and all(host.reached for host in site.hosts.values()):
                broken.append(("fell back to where it began", _listed(differs)))
    if status.in_flight:
        broken.append(("nothing is in flight", f"{status.in_flight} steps are"))
    for database, store in site.stores.items():
        if store.closed:
            broken.append(("stopped safely", f"{database} does not accept connections"))
    if status.state is RunState.ABORTED:  # it was left like that by a person who was asked, and saw it
        broken = [it for it in broken if it[0] != "stopped safely"]
    return Judged([Violation(rule, what, now) for rule, what in broken], not differs)


def at_rest(status: RunStatus, question: Asked, now: float) -> list[Violation]:
    """Of a run that waits for a person: nothing goes on, it says why, and there is an answer."""
    broken: list[tuple[str, str]] = []
    if status.in_flight:
        broken.append(("nothing is in flight", f"{status.in_flight} steps are"))
    if not question.text.strip():
        broken.append(("a person is told why", "the run stopped without a reason"))
    broken += [
        ("a person is told why", f"{step} failed without evidence")
        for step in status.steps_in(StepState.FAILED)
        if not (status.steps[step].evidence or (status.steps[step].last and status.steps[step].last.reason))  # type: ignore[union-attr]
    ]
    if not question.replies:
        broken.append(("there is a way on", f"nothing can be answered to: {question.text}"))
    return [Violation(rule, what, now) for rule, what in broken]


def unmended(question: Asked, site: SimulatedSite) -> list[Violation]:
    """Of a way back on which nothing was struck: it needs nothing of what it takes back, so that nobody has to mend that.

    A host that is not there, or half a migration, is another thing.
    """
    hosts = all(host.reached and not host.full for host in site.hosts.values())
    whole = all(entry.finished_at for store in site.stores.values() for entry in store.ledger.values())
    if not question.back or question.gate or not (hosts and whole):
        return []
    return [Violation("the way back needs nothing mended", question.text, site.clock.now())]


def writes(plan: Plan, status: RunStatus, site: SimulatedSite, agreed: Iterable[str]) -> list[Violation]:
    """What was acknowledged is there, but for what was written after the snapshot that a person agreed to restore."""
    clients = site.clients
    name = clients.traffic.database or next(iter(site.stores), "")
    store = site.stores.get(name)
    if store is None or not clients.missing(store):
        return []
    there: set[int] = set()
    for part in store.writes:
        there.update(part)
    missing = sorted(number for part in clients.acknowledged for number in part if number not in there)
    since = _snapshot_since(plan, status, name) if name in set(agreed) else float("inf")
    rate, pools = clients.traffic.writes, max(1, len(site.pools))
    undeclared = [number for number in missing if clients.began + (number // pools + 1) / rate < since]
    if not undeclared:
        return []
    what = f"{len(undeclared)} acknowledged writes are not in {name}"
    return [Violation("no acknowledged write is lost", what, site.clock.now())]


def mend(site: SimulatedSite) -> None:
    """What a person does who follows the hints: hosts work again, what half a migration has left is set right."""
    site.mend()
    for store in site.stores.values():
        for name in [entry.name for entry in store.ledger.values() if not entry.finished_at]:
            del store.ledger[name]
            if name in store.applied:
                store.applied.remove(name)
    site.settle()


def _snapshot_since(plan: Plan, status: RunStatus, database: str) -> float:
    """From when on a restore was said to lose what was written: when the snapshot of this run was begun."""
    begun = [
        status.steps[step.id].since or status.steps[step.id].started_at
        for step in restored_from(plan, status, database)
        if step.id in status.steps
    ]
    return min(filter(None, begun), default=float("inf"))


def _unfinished(plan: Plan, site: SimulatedSite) -> Iterator[str]:
    release = plan.release
    for node in plan.site.application.nodes:
        running = site.nodes[node.name].running
        if running != release.to_version:
            yield f"{node.name} runs {running or 'nothing'}"
        elif not site.well(node.name):
            yield f"{node.name} is not well"
        for balancer, server in node.servers.items():
            if not site.pools[balancer].servers[server].in_rotation:
                yield f"{server} is not in rotation at {balancer}"
    yield from not_applied(plan, plan.steps(), {name: it.applied for name, it in site.stores.items()})


def _kept(difference: str, status: RunStatus, site: SimulatedSite) -> bool:
    """What a fault itself did, and nobody has mended; what the file says is kept; the snapshot of what was changed."""
    plan = status.first_plan
    if difference.startswith("hosts.") and difference.partition(":")[0].endswith(OF_THE_FAULT):
        return True
    if difference.startswith("pools.") and not all(host.reached for host in site.hosts.values()):
        return True
    for stage in plan.stages:
        if direction(stage, plan) is Direction.KEEP:
            stores = {step.do.target for step in stage.steps if step.do.action in MIGRATES}
            if any(difference.startswith(f"databases.{it}.applied") for it in stores):
                return True
    return any(
        difference.startswith(f"databases.{database}.snapshots.{label}: None, now ")
        for database, label in kept_snapshots(status)
    )


def _listed(texts: list[str]) -> str:
    more = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more


def said(event: Event) -> str:
    """The event in a line of a trace."""
    match event:
        case Created():
            return "the run is created"
        case Claimed():
            return f"a conductor takes the run over (epoch {event.epoch})"
        case RunChanged():
            return f"the run is {event.state}{f': {event.reason}' if event.reason else ''}"
        case FallbackBegun():
            stages = ", ".join(stage.name for stage in event.stages)
            return f"the way back begins ({event.actor}: {event.reason}): {stages}"
        case CommandTaken():
            return f"{event.verb} {event.step}".rstrip() + (
                f" is refused: {event.refused}" if event.refused else " is taken"
            )
        case StepChanged():
            why = event.evidence or event.reason
            return f"{event.step} is {event.state}{f': {why}' if why else ''}"
    raise AssertionError(event)
