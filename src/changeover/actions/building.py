"""Making a release from its sources, and trying a node. The target is the node."""

from typing import ClassVar

from changeover.actions.base import Context, Params
from changeover.actions.node import OfRelease
from changeover.errors import ApplicationError, StepError
from changeover.model.plan import Operation
from changeover.model.values import Observation, absent, done


class Build:
    """Make the release on the node, ahead of time, without touching what runs. What was built is left."""

    kind: ClassVar[str] = "node.build"
    params: ClassVar[type[Params]] = OfRelease

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `built` says so."""
        release = OfRelease.of(operation).release
        answer = await context.world.application.ask("built", operation.target, release=release)
        return (done if answer.ok else absent)(
            f"{release} is {'' if answer.ok else 'not '}built ({answer.evidence})"
        )

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run `build`."""
        said = await context.world.application.do(
            "build", operation.target, timeout=context.timeout, release=OfRelease.of(operation).release
        )
        return f"build: {said}"


class Test:
    """Try the node: `test` succeeds, or the step has failed."""

    kind: ClassVar[str] = "node.test"
    params: ClassVar[type[Params]] = OfRelease

    async def observe(self, operation: Operation, context: Context) -> Observation:  # noqa: ARG002 - no look tells
        """Never done by looking: only a test that was seen to its end tells."""
        return absent(f"{operation.target} was not tested to the end")

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Run `test`."""
        try:
            said = await context.world.application.do(
                "test", operation.target, timeout=context.timeout, release=OfRelease.of(operation).release
            )
        except ApplicationError as error:
            raise StepError(error.message, hint="see what the test found, mend it, and retry") from error
        return done(f"test: {said}")
