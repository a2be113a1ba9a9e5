"""What is done to one node through the application's capabilities. The target is the node."""

from collections.abc import Mapping
from typing import ClassVar

from changeover.actions.base import Context, Params
from changeover.actions.waiting import until
from changeover.checks import nodes
from changeover.errors import StepError
from changeover.model.plan import BACK, Operation
from changeover.model.values import Observation, absent, done, unknown
from changeover.ports import Answer

RUNNING_SECONDS = 1.0
"""How often a node that is not well yet is asked whether it still runs: that takes a process on its host."""


JUST_NOW = 1.0
"""Seconds in which a node that was seen not running cannot have come back by a reboot."""


class OfRelease(Params, frozen=True):
    """The release, as the application's capabilities name it."""

    release: str


class Switching(OfRelease, frozen=True):
    """That, and balancer → what the node is called in it: no node that serves is switched."""

    servers: Mapping[str, str] = {}


class Stopping(Params, frozen=True):
    """Balancer → what the node is called in it: no node that serves is stopped."""

    servers: Mapping[str, str] = {}


class OfVersion(Params, frozen=True):
    """The version that the node should run."""

    version: str


class ForSeconds(Params, frozen=True):
    """How long, in seconds."""

    seconds: float


async def _do(capability: str, operation: Operation, context: Context, **values: str) -> str:
    application = context.world.application
    said = await application.do(capability, operation.target, timeout=context.timeout, **values)
    return f"{capability}: {said}"


async def _do_then_ask(
    capability: str, question: str, operation: Operation, context: Context, **values: str
) -> tuple[str, Answer | None]:
    said, answer = await context.world.application.do_then_ask(
        capability, question, operation.target, timeout=context.timeout, **values
    )
    return f"{capability}: {said}", answer


async def _ask(capability: str, operation: Operation, context: Context, **values: str) -> Answer:
    return await context.world.application.ask(capability, operation.target, **values)


def _installed(release: str, answer: Answer) -> str:
    return f"{release} is {'' if answer.ok else 'not '}installed ({answer.evidence})"


def _switched(release: str, answer: Answer) -> Observation:
    if not answer.ok:
        return unknown(answer.evidence)
    return (done if answer.value == release else absent)(f"switched to {answer.value}")


def _running(answer: Answer) -> str:
    return f"{'running' if answer.ok else 'not running'} ({answer.evidence})"


class Install:
    """Put the release in place beside the running one, without touching what runs."""

    kind: ClassVar[str] = "node.install"
    params: ClassVar[type[Params]] = OfRelease

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `installed` says so."""
        release = OfRelease.of(operation).release
        answer = await _ask("installed", operation, context, release=release)
        return (done if answer.ok else absent)(_installed(release, answer))

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run `install`."""
        return await _do("install", operation, context, release=OfRelease.of(operation).release)


class Uninstall:
    """Remove a release that the node does not run."""

    kind: ClassVar[str] = "node.uninstall"
    params: ClassVar[type[Params]] = OfRelease

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `installed` no longer finds it."""
        release = OfRelease.of(operation).release
        answer = await _ask("installed", operation, context, release=release)
        return (absent if answer.ok else done)(_installed(release, answer))

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run `remove`, unless the node is switched to that very release."""
        release = OfRelease.of(operation).release
        current = await _ask("release", operation, context)
        if not current.ok:
            raise StepError(f"{operation.target} does not say what it is switched to: {current.evidence}")
        if current.value == release:
            raise StepError(f"{operation.target} is switched to {release}: it would lose what it runs")
        return await _do("remove", operation, context, release=release)


class Stop:
    """Stop the node, gracefully, and see it not running; before it what a reboot has left there to start it again."""

    kind: ClassVar[str] = "node.stop"
    params: ClassVar[type[Params]] = Stopping

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `running` says no."""
        answer = await _ask("running", operation, context)
        return (absent if answer.ok else done)(_running(answer))

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Run `stop`, then wait until it is seen not running."""
        if await nodes.watched(context.world.application, operation.target):
            await _do("watchdog_stop", operation, context)
        _, answer = await _do_then_ask("stop", "running", operation, context)
        if answer and not answer.ok:
            return done(_running(answer))

        async def look() -> Observation | None:
            answer = await _ask("running", operation, context)
            return None if answer.ok else done(_running(answer))

        return await until(look, context.world.clock)


class Stopped:
    """See that the node does not run, and that nothing would start it again.

    A person is told of one that has come back, and a retry stops it again; a way back does so by itself.
    """

    kind: ClassVar[str] = "node.stopped"
    params: ClassVar[type[Params]] = Params

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when neither it nor its watchdog runs."""
        node, application = operation.target, context.world.application
        running = await _ask("running", operation, context)
        wrong = [f"{node} runs ({running.evidence})"] if running.ok else []
        if await nodes.watched(application, node):
            wrong.append("its watchdog runs and would start it again")
        return absent(" and ".join(wrong)) if wrong else done(_running(running))

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Look; stop it again where that was asked for."""
        seen = await self.observe(operation, context)
        if seen.done:
            return seen
        if context.attempt == 1 and not context.step.startswith(BACK):
            raise StepError(seen.evidence, hint="see what starts it; a retry stops both again")
        await Stop().perform(operation, context)
        again = await self.observe(operation, context)
        return done(f"stopped again ({seen.evidence}); {again.evidence}") if again.done else again


class Start:
    """Start the node and see it running; whether it is well is asked by a step of its own."""

    kind: ClassVar[str] = "node.start"
    params: ClassVar[type[Params]] = Params

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `running` says yes; what is being stopped, by a job that goes on, is not running for long."""
        answer = await _ask("running", operation, context)
        stays = answer.ok and "deactivating" not in answer.evidence
        return (done if stays else absent)(_running(answer))

    async def perform(self, operation: Operation, context: Context) -> str | Observation:
        """Run `start`; a node that is not running right afterwards has failed to start."""
        said, answer = await _do_then_ask("start", "running", operation, context)
        if answer is None:
            return said
        if not answer.ok:
            raise StepError(
                f"{operation.target} did not start: {answer.evidence}",
                hint="read its log, mend it, and retry",
            )
        return done(_running(answer))


class Switch:
    """Make the next start of the node run that release."""

    kind: ClassVar[str] = "node.switch"
    params: ClassVar[type[Params]] = Switching

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `release` names it."""
        return _switched(Switching.of(operation).release, await _ask("release", operation, context))

    async def perform(self, operation: Operation, context: Context) -> str | Observation:
        """Run `switch`, on a node that does not run: one that a reboot has started meanwhile is stopped first."""
        release, application = Switching.of(operation).release, context.world.application
        seen = application.recent("running", operation.target, JUST_NOW)
        if (seen or await _ask("running", operation, context)).ok:
            await Stop().perform(operation, context)
        said, answer = await _do_then_ask("switch", "release", operation, context, release=release)
        return _switched(release, answer) if answer else said


class Health:
    """Wait until the node says that it is well. A node that stops running meanwhile is not waited for."""

    kind: ClassVar[str] = "node.health"
    params: ClassVar[type[Params]] = Params

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
    params: ClassVar[type[Params]] = OfVersion

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `version` names it."""
        verdict = await nodes.version(
            context.world.application, operation.target, OfVersion.of(operation).version
        )
        return (done if verdict.good else absent)(verdict.evidence)

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Ask once; another version is a failure, not a reason to wait."""
        verdict = await nodes.version(
            context.world.application, operation.target, OfVersion.of(operation).version
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
    params: ClassVar[type[Params]] = ForSeconds

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Never done by looking: whether it was well all the while only watching tells."""
        verdict = await nodes.health(context.world.application, operation.target)
        return absent(f"not watched to the end; now: {verdict.evidence}")

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Look every second, from now on; the first look that is not good ends it."""
        clock = context.world.clock
        seconds = ForSeconds.of(operation).seconds
        until_then = clock.now() + seconds
        while True:
            verdict = await nodes.health(context.world.application, operation.target)
            if not verdict.good:
                raise StepError(f"{operation.target} while it was watched: {verdict.evidence}")
            left = until_then - clock.now()
            if left <= 0:
                return done(f"well for {seconds:g} s")
            await clock.sleep(min(left, 1.0))
