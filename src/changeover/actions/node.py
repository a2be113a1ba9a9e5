"""What is done to one node through the application's capabilities. The target is the node."""

from typing import ClassVar

from changeover.actions.base import Context
from changeover.actions.waiting import until
from changeover.checks import nodes
from changeover.errors import StepError
from changeover.model.plan import Operation
from changeover.model.values import Observation, absent, done, unknown
from changeover.ports import Answer

RUNNING_SECONDS = 1.0
"""How often a node that is not well yet is asked whether it still runs: that takes a process on its host."""


async def _do(capability: str, operation: Operation, context: Context, **values: str) -> str:
    application = context.world.application
    return await application.do(capability, operation.target, timeout=context.timeout, **values)


async def _ask(capability: str, operation: Operation, context: Context, **values: str) -> Answer:
    return await context.world.application.ask(capability, operation.target, **values)


class Install:
    """Put the release in place beside the running one, without touching what runs."""

    kind: ClassVar[str] = "node.install"

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `installed` says so."""
        answer = await _ask("installed", operation, context, release=operation.params["release"])
        return (done if answer.ok else absent)(answer.evidence)

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run `install`."""
        return await context.world.application.do(
            "install", operation.target, release=operation.params["release"]
        )


class Uninstall:
    """Remove a release that the node does not run."""

    kind: ClassVar[str] = "node.uninstall"

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `installed` no longer finds it."""
        answer = await _ask("installed", operation, context, release=operation.params["release"])
        return (absent if answer.ok else done)(answer.evidence)

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run `remove`, unless the node is switched to that very release."""
        release = operation.params["release"]
        current = await _ask("release", operation, context)
        if not current.ok:
            raise StepError(f"{operation.target} does not say what it is switched to: {current.evidence}")
        if current.value == release:
            raise StepError(f"{operation.target} is switched to {release}: it would lose what it runs")
        return await _do("remove", operation, context, release=release)


class Stop:
    """Stop the node, gracefully, and see it not running."""

    kind: ClassVar[str] = "node.stop"

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `running` says no."""
        answer = await _ask("running", operation, context)
        return (absent if answer.ok else done)(answer.evidence)

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Run `stop`, then wait until it is seen not running."""
        await _do("stop", operation, context)

        async def look() -> Observation | None:
            answer = await _ask("running", operation, context)
            return None if answer.ok else done(answer.evidence)

        return await until(look, context.world.clock)


class Start:
    """Start the node and see it running; whether it is well is asked by a step of its own."""

    kind: ClassVar[str] = "node.start"

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `running` says yes."""
        answer = await _ask("running", operation, context)
        return (done if answer.ok else absent)(answer.evidence)

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Run `start`; a node that is not running right afterwards has failed to start."""
        await _do("start", operation, context)
        answer = await _ask("running", operation, context)
        if not answer.ok:
            raise StepError(
                f"{operation.target} did not start: {answer.evidence}",
                hint="read its log, mend it, and retry",
            )
        return done(answer.evidence)


class Switch:
    """Make the next start of the node run that release."""

    kind: ClassVar[str] = "node.switch"

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `release` names it."""
        answer = await _ask("release", operation, context)
        if not answer.ok:
            return unknown(answer.evidence)
        return (done if answer.value == operation.params["release"] else absent)(
            f"switched to {answer.value}"
        )

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run `switch`, on a node that does not run: one that a reboot has started meanwhile is stopped first."""
        if (await _ask("running", operation, context)).ok:
            await Stop().perform(operation, context)
        return await _do("switch", operation, context, release=operation.params["release"])


class Health:
    """Wait until the node says that it is well. A node that stops running meanwhile is not waited for."""

    kind: ClassVar[str] = "node.health"

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `health` is good now."""
        verdict = await nodes.health(context.world.application, operation.target)
        return (done if verdict.good else absent)(verdict.evidence)

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Ask until it is good, and every second whether it still runs; changes nothing."""
        clock = context.world.clock
        asked = clock.now()

        async def look() -> Observation | None:
            nonlocal asked
            verdict = await nodes.health(context.world.application, operation.target)
            if verdict.good:
                return done(verdict.evidence)
            if clock.now() - asked >= RUNNING_SECONDS:
                asked = clock.now()
                running = await _ask("running", operation, context)
                if not running.ok:
                    raise StepError(
                        f"{operation.target} is not running: {running.evidence}",
                        hint="read its log, mend it, and retry",
                    )
            return None

        return await until(look, clock)


class Version:
    """See that the node runs the version it should."""

    kind: ClassVar[str] = "node.version"

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `version` names it."""
        verdict = await nodes.version(
            context.world.application, operation.target, operation.params["version"]
        )
        return (done if verdict.good else absent)(verdict.evidence)

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Ask once; another version is a failure, not a reason to wait."""
        verdict = await nodes.version(
            context.world.application, operation.target, operation.params["version"]
        )
        if not verdict.good:
            raise StepError(
                f"{operation.target}: {verdict.evidence}",
                hint="see what `switch` and `start` really did there",
            )
        return done(verdict.evidence)


class Hold:
    """Keep watching a node for `seconds`: the gate after a canary. Time that nobody watched does not count."""

    kind: ClassVar[str] = "node.hold"

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Never done by looking: whether it was well all the while only watching tells."""
        verdict = await nodes.health(context.world.application, operation.target)
        return absent(f"not watched to the end; now: {verdict.evidence}")

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Look every second, from now on; the first look that is not good ends it."""
        clock = context.world.clock
        seconds = float(operation.params["seconds"])
        until_then = clock.now() + seconds
        while True:
            verdict = await nodes.health(context.world.application, operation.target)
            if not verdict.good:
                raise StepError(f"{operation.target} while it was watched: {verdict.evidence}")
            left = until_then - clock.now()
            if left <= 0:
                return done(f"well for {seconds:g} s")
            await clock.sleep(min(left, 1.0))
