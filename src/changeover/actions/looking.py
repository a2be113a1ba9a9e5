"""Steps that only look: prechecks before anything is changed, and the verification afterwards."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import ClassVar

from changeover.actions.base import Context
from changeover.checks import databases, machines, nodes, traffic
from changeover.errors import StepError
from changeover.model.plan import Operation
from changeover.model.values import Observation, Verdict, absent, done


class _Look:
    """Done when every verdict is good. Performing it changes nothing."""

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
        raise NotImplementedError


class NodeCheck(_Look):
    """The node is well and runs the version it should. The target is the node."""

    kind: ClassVar[str] = "node.check"

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask for its health and its version."""
        application = context.world.application
        return (
            nodes.health(application, operation.target),
            nodes.version(application, operation.target, operation.params["version"]),
        )


class NodeVerify(NodeCheck):
    """The node is well, runs the version it should, and is in rotation. The target is the node."""

    kind: ClassVar[str] = "node.verify"

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask the node, and every balancer that it is a server of."""
        balancers = context.world.balancers
        servers = operation.params["servers"].items()
        pools = (traffic.pool_verdict(balancers[name], [server]) for name, server in servers)
        return (*super().look(operation, context), *pools)


class PoolCheck(_Look):
    """Every server of ours is in the pool and in rotation. The target is the balancer."""

    kind: ClassVar[str] = "traffic.check"

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask the balancer."""
        return (traffic.pool_verdict(context.world.balancers[operation.target], operation.params["servers"]),)


class HostCheck(_Look):
    """The host has room, and its clock is right. The target is the host."""

    kind: ClassVar[str] = "host.check"

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask the host for its free space and its time."""
        host = context.world.hosts[operation.target]
        return (
            machines.disk(host, operation.params["path"], int(operation.params["disk_free"])),
            machines.clock(host, context.world.clock, float(operation.params["clock_skew"])),
        )


class DatabaseCheck(_Look):
    """The database grants what is needed, and its ledger holds nothing half-done. The target is the database."""

    kind: ClassVar[str] = "database.check"

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask the database."""
        database = context.world.databases[operation.target]
        return (databases.database(database), databases.unfinished_migrations(database))
