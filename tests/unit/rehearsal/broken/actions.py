"""Actions that do not do, or do not see, what they say."""

from contextlib import suppress

from changeover.actions import database, node, traffic
from changeover.actions.base import Context
from changeover.actions.node import OfRelease
from changeover.errors import PortError
from changeover.model.plan import Operation
from changeover.model.values import Observation, absent, done, unknown
from changeover.ports import AdminState
from tests.unit.rehearsal.broken.breaking import (
    BY_SNAPSHOT,
    IS_THERE,
    LEADS,
    LOST,
    WITHOUT_A_FAULT,
    WRITES,
    Broken,
    Sound,
    one,
)
from tests.unit.rehearsal.broken.sites import LazyStop, Nightly, SlowBalancer


class HastyRemove(traffic.Remove):
    """Waits for nobody."""

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Out at once."""
        for balancer, server in operation.params["servers"].items():
            await context.world.balancers[balancer].set_state(server, AdminState.MAINT)
        return done("out")


class UnreadRemove(traffic.Remove):
    """Does not read back whether the balancer has it out."""

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Tell it, and believe that."""
        with suppress(PortError):
            await super().perform(operation, context)
        return done("told")


class WideDrain(traffic.Drain):
    """Drains the whole pool."""

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """The others, too."""
        for balancer in operation.params["servers"]:
            port = context.world.balancers[balancer]
            for server in await port.servers():
                await port.set_state(server, AdminState.DRAIN)
        return await self.observe(operation, context)


class HastyEnter(traffic.Enter):
    """Does not wait until the node is seen in rotation."""

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Tell every balancer, and no more."""
        for balancer, server in operation.params["servers"].items():
            await context.world.balancers[balancer].set_state(server, AdminState.READY)
        return done("told")


class StartsAnew(node.Start):
    """Starts what runs once more, and never sees that it runs."""

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Not there."""
        return absent("not running")

    async def perform(self, operation: Operation, context: Context) -> str | Observation:
        """Stop it first."""
        await node.Stop().perform(operation, context)
        return await super().perform(operation, context)


class HastyStop(node.Stop):
    """Returns before the node has stopped."""

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Ask it to stop."""
        await context.world.application.do("stop", operation.target, timeout=context.timeout)
        return done("asked to stop")


class BlindSwitch(node.Switch):
    """Does not see to it that the node does not run, and so leaves one running that a reboot has started."""

    async def perform(self, operation: Operation, context: Context) -> str:
        """Switch it."""
        release = OfRelease(operation.params["release"]).release
        return await context.world.application.do("switch", operation.target, release=release)


class EagerHealth(node.Health):
    """Says yes at once."""

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Yes."""
        return done("well")


class AnyVersion(node.Version):
    """Accepts whatever runs."""

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Yes."""
        answer = await context.world.application.ask("version", operation.target)
        return done(answer.evidence)


class AlwaysDone(node.Install):
    """Sees the release whether it is there or not."""

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """There."""
        return done("installed")


class AlwaysAbsent(node.Install):
    """Never sees the release."""

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Not there."""
        return absent("not installed")


class NeverSure(database.Migrate):
    """Cannot tell that a migration is done."""

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Anything but done."""
        seen = await super().observe(operation, context)
        return unknown(seen.evidence) if seen.done else seen


class VerifiesNothing(database.VerifySnapshot):
    """Says that it has."""

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """As if it had."""
        return done("verified")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Nothing."""
        return "verified"


class RestoresAnother(database.Restore):
    """Takes last night's snapshot instead of its own."""

    async def perform(self, operation: Operation, context: Context) -> str:
        """Restore it."""
        await context.world.databases[operation.target].restore("nightly")
        return "restored"


ACTIONS = {
    "out-does-not-wait": Broken(
        what="a node is taken out without waiting for the sessions on it",
        actions={"traffic.remove": HastyRemove()},
        rule=LOST,
        says="sessions were cut at app1",
    ),
    "out-not-read-back": Broken(
        what="`out` does not read back whether the balancer has it in maint",
        actions={"traffic.remove": UnreadRemove()},
        case="app1/out:fails-before",
        rule=IS_THERE,
        says="app1 at public was told drain",
    ),
    "drain-of-the-whole-pool": Broken(
        what="a drain drains the other servers of the pool, too",
        actions={"traffic.drain": WideDrain()},
        rule="only the named servers",
        says="app2 at public went from ready to drain",
    ),
    "enter-does-not-wait": Broken(
        what="`enter` does not wait until the balancer has the node up",
        sound=Sound(site=SlowBalancer),
        actions={"traffic.enter": HastyEnter()},
        rule=IS_THERE,
        says="app1/enter is recorded as done: app1 at public was told ready, is down",
    ),
    "start-not-idempotent": Broken(
        what="a start starts anew what runs, and does not see that it runs: a resume performs it twice",
        actions={"node.start": StartsAnew()},
        case="app1/start:conductor-dies-unrecorded",
        rule="a resume looks first",
        says="app1/start is performed again although it is done",
    ),
    "stop-returns-early": Broken(
        what="a stop returns when the node was asked to stop, not when it has",
        sound=Sound(site=LazyStop),
        actions={"node.stop": HastyStop()},
        rule=IS_THERE,
        says="app1/stop is recorded as done: app1 is switched to v1, runs v1",
    ),
    "switch-under-a-running-node": Broken(
        what="a switch does not stop what a reboot has started meanwhile: the old version goes on",
        actions={"node.switch": BlindSwitch()},
        case="app1/switch:host-dies:retry:retry:retry",
        rule=LEADS,
        says="app1/version",
    ),
    "health-too-early": Broken(
        what="a health check says yes before the node is well",
        actions={"node.health": EagerHealth()},
        rule=IS_THERE,
        says="app1/health is recorded as done",
    ),
    "any-version-will-do": Broken(
        what="a version check accepts whatever runs, here what a switch to nowhere has left",
        plan=one("app1/switch", do=Operation("node.switch", "app1", {"release": "v1", "servers": {}})),
        actions={"node.version": AnyVersion()},
        rule=IS_THERE,
        says="app1/version is recorded as done: app1 is switched to v1",
    ),
    "observe-always-done": Broken(
        what="an observe says done of what is not there",
        actions={"node.install": AlwaysDone()},
        case="app1/install:fails-before",
        rule=IS_THERE,
        says="app1/install is recorded as done",
    ),
    "observe-always-absent": Broken(
        what="an observe says absent of what is there",
        actions={"node.install": AlwaysAbsent()},
        rule="a resume looks first",
        says="app1/install is performed again although it is done",
    ),
    "observe-unknown-for-done": Broken(
        what="an observe says unknown of what is done",
        actions={"database.migrate": NeverSure()},
        rule=WITHOUT_A_FAULT,
        says="main/expand/001_kind",
    ),
    "verify-verifies-nothing": Broken(
        what="the step that verifies a snapshot does not",
        actions={"database.verify": VerifiesNothing()},
        rule=IS_THERE,
        says="not verified",
    ),
    "restore-of-another-snapshot": Broken(
        what="a restore takes last night's snapshot instead of its own",
        sound=Sound(release=BY_SNAPSHOT.release, site=Nightly),
        actions={"database.restore": RestoresAnother()},
        case="app1/drain:fails-before:abort",
        rule=WRITES,
    ),
}
