"""The interlocks, asked about the live site around each step that touches them."""

import asyncio

from changeover import interlocks
from changeover.interlocks import ObservedSite
from changeover.model.plan import Operation, Plan, Step, snapshot_label
from changeover.model.values import Verdict
from changeover.ports import World


class Guard:
    """Answers for one step with the first interlock that does not hold, or None."""

    def __init__(self, plan: Plan, world: World, run: str) -> None:
        self._run = run
        self._site = plan.site
        self._floor = plan.release.keep_serving
        self._world = world
        self._ours = {
            balancer.name: {node.servers.get(balancer.name) for node in plan.site.application.nodes}
            for balancer in plan.site.balancers
        }

    async def __call__(self, step: Step) -> Verdict | None:
        """Observe what the step touches and ask every interlock about it; a `PortError` if it cannot be seen."""
        operation = self._as_the_site_has_it(step.do)
        verdicts: list[Verdict] = []
        if operation.action in interlocks.LEAVES_ROTATION:
            site = await self._rotation(list(operation.params["servers"]))
            verdicts.append(interlocks.capacity_floor(site, operation, self._floor))
        if operation.action in interlocks.STOPS_SERVING:
            site = await self._rotation(list(operation.params["servers"]))
            verdicts.append(interlocks.nobody_served(site, operation))
        if operation.action in interlocks.NEEDS_BACKUP:
            label = snapshot_label(operation.params.get("backup", "none"), self._run)
            site = await self._snapshots(operation.target, label)
            verdicts.append(interlocks.verified_backup(site, label))
        return next((verdict for verdict in verdicts if not verdict.good), None)

    def _as_the_site_has_it(self, operation: Operation) -> Operation:
        """The pools that the node is in are the site's to say, not the step's: a plan may have been edited."""
        if operation.action not in interlocks.STOPS_SERVING | interlocks.LEAVES_ROTATION:
            return operation
        servers = dict(self._site.node(operation.target).servers)
        return Operation(operation.action, operation.target, {**operation.params, "servers": servers})

    async def _rotation(self, balancers: list[str]) -> ObservedSite:
        pools = await asyncio.gather(*(self._world.balancers[name].servers() for name in balancers))
        return ObservedSite(
            rotation={
                name: frozenset(s for s, state in pool.items() if state.in_rotation and s in self._ours[name])
                for name, pool in zip(balancers, pools, strict=True)
            }
        )

    async def _snapshots(self, database: str, label: str) -> ObservedSite:
        snapshot = await self._world.databases[database].find_snapshot(label)
        return ObservedSite(verified=frozenset({label}) if snapshot and snapshot.verified else frozenset())
