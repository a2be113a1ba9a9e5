"""Steps that only look: prechecks before anything is changed, and the verification afterwards."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import ClassVar

from changeover.actions.base import Context, Params
from changeover.actions.node import OfVersion
from changeover.actions.waiting import until
from changeover.checks import databases, machines, nodes, traffic
from changeover.errors import StepError
from changeover.model.plan import Operation
from changeover.model.values import Observation, Verdict, absent, done


class OfVersionInPools(OfVersion, frozen=True):
    """That, and balancer → what the node is called in it."""

    servers: Mapping[str, str]


class Pool(Params, frozen=True):
    """The names of the servers that should be in rotation, and how many seconds they may take to come up."""

    servers: tuple[str, ...]
    wait: float = 0.0


class Room(Params, frozen=True):
    """Bytes that must be free at `path`, and by how many seconds the clock may differ."""

    path: str
    disk_free: int
    clock_skew: float


class Look:
    """Done when every verdict is good. Performing it changes nothing."""

    params: ClassVar[type[Params]] = Params

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Look once."""
        verdicts = await asyncio.gather(*self.look(operation, context))
        bad = [f"{verdict.subject}: {verdict.evidence}" for verdict in verdicts if not verdict.good]
        if bad:
            return absent("; ".join(bad))
        return done("; ".join(verdict.evidence for verdict in verdicts))

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Look once, and fail with everything that is wrong."""
        observation = await self.observe(operation, context)
        if not observation.done:
            raise StepError(observation.evidence, hint="mend it and retry the step")
        return observation

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """What is looked at."""
        raise NotImplementedError


class NodeCheck(Look):
    """The node is well and runs the version it should. The target is the node."""

    kind: ClassVar[str] = "node.check"
    params: ClassVar[type[Params]] = OfVersion

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask for its health and its version."""
        return _well(operation.target, OfVersion.of(operation).version, context)


class NodeVerify(Look):
    """The node is well, runs the version it should, and is in rotation. The target is the node."""

    kind: ClassVar[str] = "node.verify"
    params: ClassVar[type[Params]] = OfVersionInPools

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask the node, and every balancer that it is a server of."""
        params = OfVersionInPools.of(operation)
        balancers = context.world.balancers
        pools = (traffic.pool_verdict(balancers[name], [server]) for name, server in params.servers.items())
        return (*_well(operation.target, params.version, context), *pools)


def _well(node: str, version: str, context: Context) -> tuple[Awaitable[Verdict], ...]:
    application = context.world.application
    return nodes.health(application, node), nodes.version(application, node, version)


class PoolCheck(Look):
    """Every server of ours is in the pool and in rotation. The target is the balancer.

    A balancer notices only after some checks that a server has come up; that is waited for. A server that is
    missing, or that somebody took out, is not.
    """

    kind: ClassVar[str] = "traffic.check"
    params: ClassVar[type[Params]] = Pool

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask the balancer."""
        return (traffic.pool_verdict(context.world.balancers[operation.target], Pool.of(operation).servers),)

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Look until all are in rotation, or waiting does not help."""
        params, clock = Pool.of(operation), context.world.clock
        balancer, deadline = context.world.balancers[operation.target], context.since + params.wait

        async def settled() -> bool | None:
            late = clock.now() >= deadline
            return True if late or not await traffic.coming_up(balancer, params.servers) else None

        await until(settled, clock)
        return await super().perform(operation, context)


class HostCheck(Look):
    """The host has room, and its clock is right. The target is the host."""

    kind: ClassVar[str] = "host.check"
    params: ClassVar[type[Params]] = Room

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask the host for its free space and its time."""
        host, params = context.world.hosts[operation.target], Room.of(operation)
        return (
            machines.disk(host, params.path, params.disk_free),
            machines.clock(host, context.world.clock, params.clock_skew),
        )


class DatabaseCheck(Look):
    """The database grants what is needed, its ledger holds nothing half-done, and there is room for its copies.

    The target is the database.
    """

    kind: ClassVar[str] = "database.check"

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask the database, and the host that its snapshots lie on."""
        database = context.world.databases[operation.target]
        config, spare = context.plan.site.database(operation.target), context.plan.release.limits.disk_free
        host = context.world.hosts[config.host]
        return (
            databases.database(database),
            databases.unfinished_migrations(database),
            databases.room(database, host, config.snapshot_dir, spare),
        )
