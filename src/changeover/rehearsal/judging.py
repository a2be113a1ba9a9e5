"""Whether a run may end like this: done, back where it began, or stopped safely. Pure, but for `mend`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from changeover.engine.fold import RunStatus
from changeover.fallback import MIGRATES, direction
from changeover.model.plan import Direction, Plan
from changeover.model.states import SATISFIED, RunState, StepState
from changeover.ports import Applied, restoring
from changeover.rehearsal.allowed import kept_snapshots, not_applied, restored_from, skipped
from changeover.rehearsal.asking import Asked
from changeover.rehearsal.watching import Violation
from changeover.simulation import SimulatedSite, differences

BEGAN = "fell back to where it began"
TOLD = "a person is told why"

SHOWN = 6

STOP_IT = re.compile(r"stop (the|its) watchdog|and its watchdog|stop every node")
STOP_NODE = re.compile(r"and its watchdog|and then the node|stop every node")
"""What a person is told to stop with their own hands."""

OF_THE_FAULT = (".up", ".frozen", ".cut", ".full")


@dataclass(slots=True)
class Judged:
    """What is wrong with an end, and whether everything is as it was in the beginning."""

    violations: list[Violation] = field(default_factory=list)
    where_it_began: bool = False


def ended(
    plan: Plan,
    status: RunStatus,
    site: SimulatedSite,
    before: Mapping[str, object],
    answered_for: Iterable[str] = (),
) -> Judged:
    """Of a run that has ended, some time afterwards.

    What a person has skipped is theirs to answer for, and what became meanwhile of those nodes.
    """
    now = site.clock.now()
    left = skipped(status).union(answered_for)
    differs = [it for it in differences(before, site.state()) if not _kept(it, status, site)]
    of_the_run = [it for it in differs if left.isdisjoint(it.partition(":")[0].split("."))]
    broken: list[tuple[str, str]] = []
    match status.state:
        case RunState.DONE:
            broken += (("done is done", it) for subject, it in _unfinished(plan, site) if subject not in left)
        case RunState.FELL_BACK:
            if of_the_run:
                broken.append((BEGAN, _listed(of_the_run)))
        case RunState.ABORTED:  # there was nothing to take back, unless a person wanted it left
            if of_the_run and not status.leaving and all(host.reached for host in site.hosts.values()):
                broken.append((BEGAN, _listed(of_the_run)))
    if status.in_flight:
        broken.append(("nothing is in flight", f"{status.in_flight} steps are"))
    if status.state is not RunState.ABORTED:  # else a person who was asked has seen it, and left it like that
        broken += (
            ("stopped safely", f"{database} does not accept connections")
            for database, store in site.stores.items()
            if store.closed and database not in left
        )
    return Judged([Violation(rule, what, now) for rule, what in broken], not differs)


def at_rest(status: RunStatus, question: Asked, site: SimulatedSite) -> list[Violation]:
    """Of a run that waits for a person: nothing goes on, it says why and what is left, and there is an answer."""
    broken: list[tuple[str, str]] = []
    if status.in_flight:
        broken.append(("nothing is in flight", f"{status.in_flight} steps are"))
    if not question.text.strip():
        broken.append((TOLD, "the run stopped without a reason"))
    broken += [
        (TOLD, f"{step} failed without evidence")
        for step in status.steps_in(StepState.FAILED)
        if not (status.steps[step].evidence or (status.steps[step].last and status.steps[step].last.reason))  # type: ignore[union-attr]
    ]
    broken += [
        (TOLD, f"{step.id} is left to do, and nothing says what that is")
        for step in status.plan.steps()
        if status.steps[step.id].state not in SATISFIED and not step.summary.strip()
    ]
    targets = {it.do.target for it in status.plan.steps() if it.id in question.steps}
    broken += [
        (TOLD, f"{database} is closed, and what is asked is not about it: {question.text}")
        for database, store in site.stores.items()
        if store.closed and database not in targets and site.hosts[store.host].reached
    ]
    if not question.replies:
        broken.append(("there is a way on", f"nothing can be answered to: {question.text}"))
    return [Violation(rule, what, site.clock.now()) for rule, what in broken]


def unmended(status: RunStatus, question: Asked, site: SimulatedSite) -> list[Violation]:
    """Of a way back on which nothing was struck: it needs nothing of what it takes back, so that nobody has to mend that.

    A host that is not there, half a migration, a lock that somebody holds, or what was skipped is another thing.
    """
    if skipped(status):
        return []
    hosts = all(host.reached and not host.full for host in site.hosts.values())
    whole = all(
        entry.finished_at or of_a_restore(entry)
        for store in site.stores.values()
        for entry in store.ledger.values()
    )
    locked = any(store.locked_until > site.clock.now() for store in site.stores.values())
    if not question.back or question.gate or locked or not (hosts and whole):
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


def mend(site: SimulatedSite, question: Asked) -> None:
    """What a person does who follows the hints: hosts work again, what half a migration has left is set right.

    What a boot has started is stopped where they are told to and nobody is served.
    """
    site.mend()
    told = f"{question.text} {question.hint} {' '.join(question.steps)}".replace("/", " ")
    served = any(target.serves for flow in site.flows for target in flow.targets)
    if not served and STOP_IT.search(told):
        for name in set(re.findall(r"[\w.-]+", told)) & site.nodes.keys():
            site.nodes[name].watchdog = False
            if STOP_NODE.search(told):
                site.nodes[name].running = ""
    for deployment in site.deployments.values():
        deployment.stale.clear()
    for store in site.stores.values():
        store.locked_until = 0.0
        for name in [it.name for it in store.ledger.values() if not it.finished_at and not of_a_restore(it)]:
            del store.ledger[name]
            if name in store.applied:
                store.applied.remove(name)
    site.settle()


def of_a_restore(entry: Applied) -> bool:
    """Whether it says that a restore is there in part, and not a migration."""
    return entry.name.startswith(restoring(""))


def _snapshot_since(plan: Plan, status: RunStatus, database: str) -> float:
    """From when on a restore was said to lose what was written: when the snapshot of this run was begun."""
    begun = [
        status.steps[step.id].since or status.steps[step.id].started_at
        for step in restored_from(plan, status, database)
        if step.id in status.steps
    ]
    return min(filter(None, begun), default=float("inf"))


def _unfinished(plan: Plan, site: SimulatedSite) -> Iterator[tuple[str, str]]:
    """Of which node or database something is not as the release wants it, and what."""
    release = plan.release
    for node in plan.site.application.nodes:
        running = site.nodes[node.name].running
        if running != release.to_version:
            yield node.name, f"{node.name} runs {running or 'nothing'}"
        elif not site.well(node.name):
            yield node.name, f"{node.name} is not well"
        for balancer, server in node.servers.items():
            if not site.pools[balancer].servers[server].in_rotation:
                yield node.name, f"{server} is not in rotation at {balancer}"
    for name, store in site.stores.items():
        steps = [it for it in plan.steps() if it.do.target == name]
        yield from ((name, it) for it in not_applied(plan, steps, {name: store.applied}))


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
