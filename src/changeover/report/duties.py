"""What was planned for when, and by whom it was to be done, against what came of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from changeover.engine.events import StepChanged
from changeover.model.plan import Plan, Step
from changeover.model.states import StepState
from changeover.model.values import Value

_LOOKED_AT = (StepState.RUNNING, StepState.WAITING)


class Duty(Value, frozen=True):
    """A step that somebody owns, or that had its time. Moments are seconds since the epoch, None where there is none.

    `begun` is when it was first begun or, at a gate, when it was first waited for; `ended` when it was done or
    skipped. `by` is the person who said so.
    """

    step: str
    summary: str
    owner: str = ""
    planned: float | None = None
    begun: float | None = None
    ended: float | None = None
    by: str = ""

    @property
    def late(self) -> float | None:
        """Seconds that it began after its time, less than zero before it; None where one of the two is not known."""
        return None if self.planned is None or self.begun is None else self.begun - self.planned


def duties(plan: Plan, of_step: Mapping[str, Sequence[StepChanged]]) -> Iterator[Duty]:
    """Those of the plan in its order; `of_step` are the changes of each step in theirs."""
    for step in plan.steps():
        if step.owner or step.planned or step.who:
            yield _duty(step, of_step.get(step.id, ()))


def _duty(step: Step, changes: Iterable[StepChanged]) -> Duty:
    begun = ended = None
    by = ""
    for change in changes:
        if begun is None and change.state in _LOOKED_AT:
            begun = change.at
        if change.state in (StepState.DONE, StepState.SKIPPED):
            ended, by = change.at, change.actor
        elif change.state in _LOOKED_AT:
            ended, by = None, ""
    return Duty(
        step.id, step.summary, step.owner or ", ".join(step.who), step.planned or None, begun, ended, by
    )
