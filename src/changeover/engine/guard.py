"""The interlocks, asked about the live site around each step that touches them.

Only what the step touches is observed, all of it at once, and no more often than before and after it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec

from changeover import foresight, interlocks
from changeover.checks import nodes
from changeover.errors import AccessError, PortError
from changeover.foresight import ENTERS_ROTATION, LEAVES_ROTATION, MOVES_TRAFFIC, NEEDS_BACKUP, STOPS_SERVING
from changeover.interlocks import ObservedDatabase, ObservedNode, ObservedServer, ObservedSite
from changeover.model.plan import ACTIVE, BACK, Operation, Plan, Stage, Step, snapshot_label
from changeover.model.release import CommandMigration, Migrations
from changeover.model.values import Verdict
from changeover.ports import Answer, Gating, World

T = TypeVar("T")

JUST_NOW = 1.0
"""Seconds for which an answer that was read back after a change is not asked again."""

Server = tuple[str, str]
"""A balancer, and the name of a server in its pool."""


@dataclass(slots=True, eq=False)
class _Move:
    """A step that moves traffic: what was there before it, its servers, and the moves made meanwhile."""

    before: ObservedSite
    servers: frozenset[Server]
    beside: set["_Move"] = field(default_factory=set)

    def named(self) -> frozenset[Server]:
        """All servers that were to be moved meanwhile."""
        return self.servers.union(*(other.servers for other in self.beside))


class Guard:
    """Answers for one step with the first interlock that does not hold, or None.

    Both questions raise a `PortError` where the site cannot be seen.
    """

    def __init__(self, plan: Plan, world: World, run: str) -> None:
        self._run = run
        self._plan = plan
        self._release = plan.release
        self._floor = interlocks.floors(plan)
        self._world = world
        self._nodes = {node.name: node for node in plan.site.application.nodes}
        self._is = {
            (balancer, server): node.name
            for node in plan.site.application.nodes
            for balancer, server in node.servers.items()
        }
        self._moving: dict[str, _Move] = {}

    async def before(self, step: Step, stage: Stage) -> Verdict | None:
        """Whether the step may be taken."""
        may_be_taken = False
        try:
            verdict = (
                await self._closed(step, stage)
                or await self._as_expected(step)
                or await self._at_rest(step, stage)
                or await self._before(step, stage)
            )
            may_be_taken = verdict is None
            return verdict
        finally:
            if not may_be_taken:
                self.dropped(step)

    def dropped(self, step: Step) -> None:
        """A step that was asked about is not begun: it moves nothing, and excuses nobody."""
        move = self._moving.pop(step.id, None)
        if move is not None:
            for other in self._moving.values():
                other.beside.discard(move)

    async def _before(self, step: Step, stage: Stage) -> Verdict | None:
        operation, target = step.do, step.do.target
        if operation.action in LEAVES_ROTATION:
            site = await self._traffic(step)
            verdicts = [self._its_own(operation)]
            if not stage.outage:
                verdicts.append(interlocks.capacity_floor(site, self._floor, target))
            if operation.action == "traffic.drain":
                site = await self._with_nodes(site, site.serving() - {target})
                left = self._release.to_version if step.id.startswith(BACK) else ""
                verdicts.append(interlocks.fit_to_serve(site, self._release, left))
            return _first(verdicts)
        if operation.action == ENTERS_ROTATION:
            _, seen = await asyncio.gather(self._traffic(step), self._node(target))
            return _first([self._its_own(operation), interlocks.fit_to_enter(target, seen, self._release)])
        if operation.action in STOPS_SERVING:
            return await self._stopping(operation)
        if operation.action == "node.start":
            return await self._starting(target)
        if operation.action in NEEDS_BACKUP:
            return await self._migrating(operation, partial(foresight.effect, operation, self._release))
        return None

    async def after(self, step: Step, stage: Stage) -> Verdict | None:
        """Whether the site is still as it must be, now that the step was taken."""
        operation, target = step.do, step.do.target
        if open_gate := await self._closed(step, stage):
            return open_gate
        if operation.action in MOVES_TRAFFIC:
            move = self._moving.pop(step.id)
            site = await self._pools(move.before.pools)
            verdicts = [interlocks.only_named(move.before, site, move.named())]
            if operation.action == ENTERS_ROTATION:
                site = await self._with_nodes(site, site.serving() & {target})
                verdicts.append(interlocks.fit_to_serve(site, self._release))
            elif not stage.outage:
                verdicts.append(interlocks.capacity_floor(site, self._floor, target, move.before))
            return _first(verdicts)
        if operation.action in STOPS_SERVING:
            site, watched = await asyncio.gather(
                self._pools(self._nodes[target].servers), nodes.watched(self._world.application, target)
            )
            site = ObservedSite(pools=site.pools, nodes={target: ObservedNode(watched=watched)})
            return _first([interlocks.nobody_served(site, target), interlocks.stays_stopped(site, target)])
        if operation.action in NEEDS_BACKUP:
            return await self._migrating(operation, lambda site: site)
        return None

    # The kinds of steps

    async def _stopping(self, operation: Operation) -> Verdict | None:
        """The pools that the node is in are the site's to say, not the step's: a plan may have been edited."""
        target = operation.target
        if operation.action != "node.stop":
            site = await self._pools(self._nodes[target].servers)
            return _first([interlocks.nobody_served(site, target)])
        site, unflushed = await asyncio.gather(
            self._pools(self._nodes[target].servers), self._unflushed(target)
        )
        site = ObservedSite(pools=site.pools, nodes={target: ObservedNode(unflushed=unflushed)})
        return _first([interlocks.nobody_served(site, target), interlocks.flushed(site, target)])

    async def _as_expected(self, step: Step) -> Verdict | None:
        """What must be so before a node is stopped, asked at that very moment; the way back stops without asking."""
        if step.do.action != "node.stop" or step.id.startswith(BACK):
            return None
        questions = [it.ask for it in self._release.expectations]
        seen = await _each(questions, lambda ask: self._answer(ask, step.do.target))
        answers = {ask: it.value if it and it.ok else "" for ask, it in seen.items()}
        site = ObservedSite(answers=answers)
        return _first([interlocks.as_expected(site, self._release.expectations)])

    async def _at_rest(self, step: Step, stage: Stage) -> Verdict | None:
        """Whether any node runs or would be started, and, on the way there, whether anything is outstanding."""
        if not foresight.wants_rest(step.do, stage, self._release):
            return None
        application, head = self._world.application, self._plan.site.head.name
        deployed = [name for name, state in self._plan.facts.deployments.items() if state == ACTIVE]
        asked = [] if step.id.startswith(BACK) else deployed
        seen, outstanding = await asyncio.gather(
            _each(self._nodes, self._resting),
            _each(asked, lambda name: application.ask("outstanding", head, deployment=name)),
        )
        left = {name: it.value if it.ok else "" for name, it in outstanding.items()}
        return _first([interlocks.all_at_rest(ObservedSite(nodes=seen, outstanding=left))])

    async def _resting(self, name: str) -> ObservedNode:
        application = self._world.application
        running, watched = await asyncio.gather(
            application.ask("running", name), nodes.watched(application, name)
        )
        return ObservedNode(running=running.ok, watched=watched)

    async def _starting(self, target: str) -> Verdict | None:
        others = [name for name in self._nodes if name != target]
        release, databases, beside = await asyncio.gather(
            self._switched_to(target),
            self._databases(),
            _each([] if self._release.coexistence.together else others, self._node),
        )
        started = ObservedNode(version=release.value, release=release.value if release.ok else "")
        site = ObservedSite(nodes={target: started, **beside}, databases=databases)
        return _first(
            [
                interlocks.can_start(site, self._release, target),
                interlocks.one_cluster(site, self._release),
            ]
        )

    async def _switched_to(self, target: str) -> Answer:
        """What the next start of the node runs: as the switch itself has just read it back, if that was now."""
        application = self._world.application
        return application.recent("release", target, JUST_NOW) or await application.ask("release", target)

    async def _migrating(
        self, operation: Operation, then: Callable[[ObservedSite], ObservedSite]
    ) -> Verdict | None:
        """The backup, and what of the nodes could not run on the schema that there is `then`."""
        target, params = operation.target, operation.params
        planned = params.get("label") or params.get("backup", "none")
        label = snapshot_label(planned, self._run)
        site, databases = ObservedSite(), {target: ObservedDatabase()}
        finding = self._world.databases[target].find_snapshot(label)
        if not foresight.endangers(operation, self._release):
            snapshot = await finding
        else:
            snapshot, seen, site = await asyncio.gather(
                finding, self._databases(), self._pools(self._world.balancers)
            )
            databases |= seen
            pooled = {node.name for node in self._nodes.values() if node.servers}
            site = await self._with_nodes(site, site.serving() | (self._nodes.keys() - pooled))
        verified = frozenset({label} if snapshot and snapshot.verified else ())
        databases[target] = msgspec.structs.replace(databases[target], verified=verified)
        site = msgspec.structs.replace(site, databases=databases)
        return _first(
            [
                interlocks.verified_backup(site, target, label),
                interlocks.can_run(then(site), self._release),
            ]
        )

    # What is seen

    async def _closed(self, step: Step, stage: Stage) -> Verdict | None:
        """While nobody is to be served, the access gates are closed: as each of their hosts says, whoever was there.

        On the way back a host that is dead does not hold up the others: its gate is closed when it boots.
        """
        if not foresight.touches_what_is_served(step.do):
            return None
        gates = foresight.kept_closed(stage, self._plan)
        entrances: dict[str, frozenset[str]] = {}
        for gate, hosts in (await _each(gates, lambda gate: self._world.access[gate].state())).items():
            for host, it in hosts.items():
                if it.gating is Gating.UNKNOWN:
                    if step.id.startswith(BACK):
                        continue
                    raise AccessError(f"{gate}: {it.evidence}", hint=f"see whether {host} is alive")
                shut = it.gating is Gating.CLOSED
                where = f"{gate} on {host}" if shut else f"{gate} on {host} ({it.evidence})"
                entrances[where] = frozenset(() if shut else (interlocks.ANYBODY,))
        return _first([interlocks.closed(ObservedSite(entrances=entrances), ())])

    async def _traffic(self, step: Step) -> ObservedSite:
        """The pools before a step that moves traffic. What others of ours move at the same time they may move."""
        self.dropped(step)
        servers = self._nodes[step.do.target].servers
        site = await self._pools(servers)
        move = _Move(site, frozenset(servers.items()), set(self._moving.values()))
        for other in self._moving.values():
            other.beside.add(move)
        self._moving[step.id] = move
        return site

    async def _pools(self, balancers: Iterable[str]) -> ObservedSite:
        async def look(balancer: str) -> dict[str, ObservedServer]:
            return {
                name: ObservedServer(self._is.get((balancer, name), ""), state.admin, state.up)
                for name, state in (await self._world.balancers[balancer].servers()).items()
            }

        return ObservedSite(pools=await _each(balancers, look))

    async def _with_nodes(self, site: ObservedSite, names: Iterable[str]) -> ObservedSite:
        wanted = frozenset(names)
        seen = await _each([name for name in self._nodes if name in wanted], self._node)
        return msgspec.structs.replace(site, nodes=seen)

    async def _node(self, name: str) -> ObservedNode:
        """What is well runs; what is not is asked whether it does."""
        application = self._world.application
        health, version = await asyncio.gather(nodes.health(application, name), self._answer("version", name))
        said = version.value if version and version.ok else ""
        if health.good:
            return ObservedNode(version=said)
        running = await self._answer("running", name)
        return ObservedNode(running=running is None or running.ok, ailment=health.evidence, version=said)

    async def _unflushed(self, name: str) -> str:
        """What does not run holds nothing any more; what runs and does not say may hold anything."""
        application = self._world.application
        if not application.can("unflushed"):
            return "0"
        answer = await self._answer("unflushed", name)
        if answer and answer.ok:
            return answer.value
        return "" if (await application.ask("running", name)).ok else "0"

    async def _databases(self) -> dict[str, ObservedDatabase]:
        """The schemas of those databases that the release changes."""
        changes = {change.database: change for change in self._release.migrations}
        return await _each(changes, lambda name: self._schema(changes[name]))

    async def _schema(self, change: Migrations) -> ObservedDatabase:
        """By the ledger, and by what the application says of the migrations that it performs itself."""
        migrations = (*change.expand, *change.contract)
        commands = {it.name: it for it in migrations if isinstance(it, CommandMigration)}
        ledger, answers = await asyncio.gather(
            self._world.databases[change.database].ledger(),
            _each(commands, lambda name: self._applied(commands[name], change.lock_timeout)),
        )
        applied = {entry.name for entry in ledger if entry.finished_at}
        begun = {entry.name for entry in ledger if not entry.finished_at}
        return ObservedDatabase(
            applied=frozenset(applied | {name for name, answer in answers.items() if answer == "yes"}),
            begun=frozenset(
                begun | {name for name, answer in answers.items() if answer not in ("yes", "no")}
            ),
        )

    async def _applied(self, migration: CommandMigration, lock_timeout: float) -> str:
        answer = await self._world.application.ask(
            migration.observe,
            migration.node,
            release=self._release.to_version,
            lock_timeout=f"{lock_timeout:g}",
        )
        return answer.value

    def _its_own(self, operation: Operation) -> Verdict:
        named = operation.params.get("servers", {})
        return interlocks.its_own_servers(operation.target, named, self._nodes[operation.target].servers)

    async def _answer(self, capability: str, node: str) -> Answer | None:
        """What the node answers, None if it does not.

        The question is asked in here: one made outside would never be awaited where this is cancelled first.
        """
        try:
            return await self._world.application.ask(capability, node)
        except PortError:
            return None


async def _each(names: Iterable[str], look: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    """What each of them is, all asked at once."""
    names = list(names)
    return dict(zip(names, await asyncio.gather(*(look(name) for name in names)), strict=True))


def _first(verdicts: Iterable[Verdict]) -> Verdict | None:
    return next((verdict for verdict in verdicts if not verdict.good), None)
