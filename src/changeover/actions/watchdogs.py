"""What starts a node again when it does not run. The target is the node."""

from typing import ClassVar

from changeover.actions.base import Context, Params
from changeover.checks.nodes import watched
from changeover.model.plan import Operation
from changeover.model.values import Observation, absent, done


class _Watchdog:
    """The watchdog of a node, which starts it again when it does not run. The target is the node."""

    params: ClassVar[type[Params]] = Params
    capability: ClassVar[str]
    wanted: ClassVar[bool]

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `watchdog_running` says so."""
        runs = await watched(context.world.application, operation.target)
        return (done if runs is self.wanted else absent)(f"the watchdog {'runs' if runs else 'does not run'}")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Tell it."""
        said = await context.world.application.do(self.capability, operation.target, timeout=context.timeout)
        return f"{self.capability}: {said}"


class WatchdogStop(_Watchdog):
    """Stop the watchdog of the node."""

    kind: ClassVar[str] = "node.watchdog-stop"
    capability, wanted = "watchdog_stop", False


class WatchdogStart(_Watchdog):
    """Start the watchdog of the node."""

    kind: ClassVar[str] = "node.watchdog-start"
    capability, wanted = "watchdog_start", True
