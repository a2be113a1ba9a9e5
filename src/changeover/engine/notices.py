"""What people are told of a run, and when: a pure function of its events."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from changeover.engine.events import Event, FallbackBegun, RunChanged, StepChanged, Warned
from changeover.model.moments import told
from changeover.model.plan import Plan, Stage, Step
from changeover.model.release import Moment, Notice
from changeover.model.states import SATISFIED, RunState, StepState
from changeover.model.timetable import WAITS
from changeover.model.values import Value

if TYPE_CHECKING:
    from changeover.engine.fold import RunStatus

WAYS_IN = (
    frozenset({"access.open", "application.unflush"}),
    frozenset({"traffic.enter"}),
    frozenset({"node.start"}),
)
"""The actions after which people can work with the application again: the first of these that a plan has."""

END = 0
"""In place of the number of an event: the end of the run is told before it is recorded, as nothing can be after it."""


class Occasion(Value, frozen=True):
    """Something that people are told of: because of the event `of`, in these words."""

    of: int
    moment: Moment
    title: str
    text: str


def telling(plan: Plan) -> Mapping[str, Step]:
    """The steps of which people are told anything."""
    lets_in = letting_in(plan)
    return {
        step.id: step
        for step in plan.steps()
        if step.person or step.do.action in lets_in or step.do.action == WAITS
    }


def letting_in(plan: Plan) -> frozenset[str]:
    """The actions that let people in again; where nothing else keeps them out, the balancers or the stopped nodes have.

    None in a plan that always serves: nobody was out.
    """
    actions = {step.do.action for step in plan.steps()}
    outage = any(stage.outage for stage in plan.stages)
    return next((ways for ways in WAYS_IN[: 3 if outage else 1] if ways & actions), frozenset())


def occasion(status: "RunStatus", event: Event, steps: Mapping[str, Step]) -> Occasion | None:
    """What there is to tell because of an event that the status has just taken in; `steps` as `telling` has them."""
    match event:
        case StepChanged():
            said = _of_step(status, event, steps[event.step]) if event.step in steps else None
        case RunChanged(state=RunState.STOPPED):
            said = Moment.STOPPED, "has stopped for a person", event.reason
        case FallbackBegun():
            said = Moment.FALLS_BACK, f"goes back to {status.plan.release.from_version}", event.reason
        case Warned():
            zone = status.plan.release.window.zone if status.plan.release.window else ""
            said = Moment.LATEST_SAFE_MOMENT, f"latest safe moment {told(event.moment, zone)}", event.reason
        case _:
            said = None
    return _worded(status, event.seq, *said) if said else None


def the_end(status: "RunStatus", event: RunChanged) -> Occasion:
    """What there is to tell of the end that this event is going to be."""
    release = status.plan.release
    what = {
        RunState.DONE: f"is upgraded to {release.to_version}",
        RunState.FELL_BACK: f"fell back to {release.from_version}",
    }.get(event.state, "was left where it is: the run was ended")
    return _worded(status, END, Moment.ENDED, what, event.reason)


def due(status: "RunStatus", durable: int) -> Iterator[tuple[Notice, Occasion]]:
    """What has to be told yet and to whom, in the order of the events, of those up to `durable`."""
    for it in status.occasions:
        if it.of <= durable:
            yield from to_be_told(status, it)


def to_be_told(status: "RunStatus", it: Occasion) -> Iterator[tuple[Notice, Occasion]]:
    """Those who want to know of it and were not told yet."""
    for notice in status.plan.release.notices:
        if it.moment in notice.on and (notice.name, it.of) not in status.told:
            yield notice, it


def _of_step(status: "RunStatus", event: StepChanged, step: Step) -> tuple[Moment, str, str] | None:
    window = status.plan.release.window
    if event.state is StepState.WAITING:
        who = " or ".join(step.who) or "a person"
        answers = f"changeover approve {step.id}, or: changeover refuse {step.id} --reason …"
        moment = Moment.GO_NO_GO if is_go(status.plan, step) else Moment.WAITS
        return moment, f"waits for {who}: {step.id}", f"{step.summary}\n{answers}"
    if event.state is not StepState.DONE or step.person:
        return None
    if step.do.action == WAITS:
        opens = window is not None and step.do.params.get("until") == window.opens
        closes = f"It closes {told(window.closes, window.zone)}." if window else ""
        return (Moment.WINDOW_OPENS, "the window has opened", closes) if opens else None
    lets_in = letting_in(status.plan)
    others = (it for it in status.plan.steps() if it.do.action in lets_in)
    if any(status.steps[it.id].state not in SATISFIED for it in others):
        return None
    release = status.plan.release
    version = release.from_version if status.falling_back else release.to_version
    return Moment.OPENED, f"is open again with {version}", event.evidence


def is_go(plan: Plan, gate: Step) -> bool:
    """Whether it is the last yes before people are let in: what lets them in is behind it, and no other gate between."""
    stages, lets_in = list(plan.stages), letting_in(plan)
    place = next(number for number, stage in enumerate(stages) if gate in stage.steps)
    if _has(lets_in, stages[place]):
        return any(gate.id in step.needs for step in stages[place].steps if not step.person)
    behind = any(gate.id in step.needs for step in stages[place].steps)
    return not behind and len(stages) > place + 1 and _has(lets_in, stages[place + 1])


def _has(actions: frozenset[str], stage: Stage) -> bool:
    return any(step.do.action in actions for step in stage.steps)


def _worded(status: "RunStatus", of: int, moment: Moment, what: str, text: str) -> Occasion:
    run = f"Run {status.run}; changeover watch {status.run}"
    return Occasion(of, moment, f"{status.plan.site.name}: {what}", "\n".join(filter(None, (text, run))))
