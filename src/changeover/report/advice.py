"""What to type next: the commands that move a run on from where it rests, or end it."""

from collections.abc import Iterator
from itertools import islice

from changeover.engine.commands import addressable
from changeover.engine.fold import RunStatus
from changeover.errors import RefusedError
from changeover.fallback import way_back
from changeover.model.plan import Step
from changeover.model.states import RunState, StepState
from changeover.report.run import only_finalize_left

MOST = 3
"""Of what needs the same words, so many are named."""


def advice(status: RunStatus, *, conducted: bool = True) -> Iterator[str]:
    """A line for each choice that a person has; nothing while the run needs nobody."""
    failed = status.steps_in(StepState.FAILED)
    at_work = status.in_flight or (status.state is RunState.RUNNING and not failed)
    if at_work and not conducted and not status.ended:
        yield "`changeover resume`" + ("; it looks first at what was in flight" if status.in_flight else "")
    if at_work or status.ended:
        return
    if only_finalize_left(status):
        yield "`changeover finalize` gives up the way back, when you are content"
        return
    waiting = status.steps_in(StepState.WAITING)
    steps = {step.id: step for step in status.plan.steps()} if failed or waiting else {}
    for id_ in failed[:MOST]:
        yield from _after_a_failure(steps[id_])
    for id_ in waiting[:MOST]:
        who = f", as {' or '.join(steps[id_].who)} (`--as NAME`)" if steps[id_].who else ""
        yield f"`changeover approve {id_}`, or `changeover refuse {id_} --reason …`{who}"
    if status.state is RunState.STOPPED:
        yield from () if failed else _after_a_stop(status)
        yield _way_out(status)
    if status.state is RunState.PAUSED and not failed:
        yield "`changeover continue`" if conducted else "`changeover resume`"
    elif not conducted:
        yield "after any of these `changeover resume`: no conductor has the run, what it is told waits for one"


def set_aside(status: RunStatus) -> list[str]:
    """Of each node that could not go back, the step at which it was set aside."""
    return [id_ for id_ in addressable(status) if status.steps[id_].set_aside] if status.left_behind else []


def _after_a_failure(step: Step) -> Iterator[str]:
    if step.answers:
        yield f"to wait on: `changeover retry {step.id}`"
        for answer, does in step.answers.items():
            yield f"to {answer}: `changeover retry {step.id} --with {answer} --reason …`; {does}"
    elif step.person:
        yield f"`changeover retry {step.id}` asks again; or `changeover skip {step.id} --reason …`"
    else:
        yield f"mend it, then `changeover retry {step.id}`; or `changeover skip {step.id} --reason …`"


def _after_a_stop(status: RunStatus) -> Iterator[str]:
    """Nothing has failed that was not set aside."""
    behind = set_aside(status)
    for id_ in behind[:MOST]:
        yield f"mend it, then `changeover retry {id_}`; or `changeover skip {id_} --reason …`, and it is left so"
    if not behind:  # by an interlock: what was skipped may be what it misses
        for id_ in islice(addressable(status), MOST):
            yield f"`changeover retry {id_}`, which was skipped, if that is what is missing"
        yield "`changeover continue`, once what stopped it is mended"


def _way_out(status: RunStatus) -> str:
    """How a run ends that is not to be moved on."""
    if status.falling_back:
        return "to end it here: `changeover abort --stay --reason …`; `changeover report` lists what is left to do"
    try:
        way_back(status.plan, status.reached())
    except RefusedError:  # past the point of no return
        return "to end it here: `changeover abort --stay --reason …`"
    return "to fall back: `changeover abort --reason …`"
