"""Full stops and windows that are made wrongly."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from changeover.engine import clock
from changeover.engine.fold import RunStatus
from changeover.engine.guard import Guard
from changeover.model.plan import Plan, Step
from changeover.simulation import SimulatedSite
from tests.unit.rehearsal.broken.breaking import (
    BEGAN,
    LEADS,
    WITHOUT_A_FAULT,
    Broken,
    Sound,
    edited,
    one,
    without,
)
from tests.unit.rehearsal.broken.plans import never_asked
from tests.unit.rehearsal.plans import a_full_stop, a_window

FULL_STOP = Sound(make=a_full_stop)
WINDOW = Sound(make=a_window)


class Slow(SimulatedSite):
    """What has not been written out is worked off slowly."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.durations = replace(self.durations, flush_rate=0.5)


SLOW = Sound(make=a_full_stop, site=Slow)

UNGUARDED = {f"{Guard.__module__}.Guard.{when}": never_asked for when in ("before", "after")}

sound_latest = clock.latest


def before(moved: str, other: str) -> Callable[[Plan], Plan]:
    """The plan in which one stage comes before another."""

    def edit(plan: Plan) -> Plan:
        stage = next(it for it in plan.stages if it.name == moved)
        rest = [it for it in plan.stages if it.name != moved]
        place = next(place for place, it in enumerate(rest) if it.name == other)
        return msgspec.structs.replace(plan, stages=(*rest[:place], stage, *rest[place:]))

    return edit


def in_its_stage(plan: Plan) -> Plan:
    """The other node is upgraded beside the head, and not after it."""
    head, other = (next(it for it in plan.stages if it.name == f"node-app{number}") for number in (1, 2))
    both = msgspec.structs.replace(head, steps=(*head.steps, *other.steps))
    stages = tuple(both if it is head else it for it in plan.stages if it is not other)
    return msgspec.structs.replace(plan, stages=stages)


def only_at_the_end(status: RunStatus, *, beginning: Step | None = None) -> clock.Limit | None:
    """The time that the way back takes is forgotten."""
    limit = sound_latest(status, beginning=beginning)
    return limit and msgspec.structs.replace(limit, at=limit.until)


def not_put_back(step: Step) -> tuple[Step, ...]:
    """A switch is taken back, and the files that it has overwritten are not."""
    undo = tuple(it for it in step.undo if it.do.action != "files.put-back")
    return (msgspec.structs.replace(step, undo=undo),)


def not_restored(step: Step) -> tuple[Step, ...]:
    """No script is taken back."""
    return (msgspec.structs.replace(step, restore=""),)


CLOSED = {
    "stop-before-flushed": Broken(
        what="full stop: nodes are stopped before the flush is empty; the interlock stops it",
        sound=SLOW,
        plan=without("news/flushed"),
        rule=WITHOUT_A_FAULT,
        says="nothing unflushed is stopped",
    ),
    "stop-before-flushed-unguarded": Broken(
        what="the same, and no interlock is asked",
        sound=SLOW,
        plan=without("news/flushed"),
        patches=UNGUARDED,
        rule="nothing unflushed is stopped",
        says="is unflushed",
    ),
    "clean-while-a-node-runs": Broken(
        what="full stop: storage is cleaned while nodes run, and no interlock is asked; the plan's own look stops it",
        sound=FULL_STOP,
        plan=before("clean", "stop"),
        patches=UNGUARDED,
        rule=WITHOUT_A_FAULT,
        says="app1/still-stopped",
    ),
    "clean-while-a-node-runs-unseen": Broken(
        what="the same, and nobody looks",
        sound=FULL_STOP,
        plan=lambda plan: without("app1/still-stopped")(
            without("app2/still-stopped")(before("clean", "stop")(plan))
        ),
        patches=UNGUARDED,
        rule="cleaned and changed only at rest",
        says="app1 runs",
    ),
    "never-unflushed": Broken(
        what="full stop: on the way back the flush is left on",
        sound=FULL_STOP,
        plan=one("news/flush", undo=()),
        case="app1/start:fails-before:abort",
        rule=BEGAN,
        says="deployments.news.flush: False, now True",
    ),
    "all-at-once": Broken(
        what="window: the second node is started before the head is good",
        sound=WINDOW,
        plan=in_its_stage,
        rule="the head goes first",
        says="app2/",
    ),
    "opened-before-go": Broken(
        what="window: the site is opened before everybody has agreed",
        sound=WINDOW,
        plan=before("open", "sign-off"),
        rule="opened when everybody has agreed",
        says="sign-off-anna/approve",
    ),
    "not-put-back": Broken(
        what="window: the configuration is not put back",
        sound=WINDOW,
        plan=edited(not_put_back),
        case="app1/start:fails-before:abort:retry:retry",
        rule=LEADS,
        says="back-stop waits for app1",
    ),
    "not-restored": Broken(
        what="window: what the scripts have done is not taken back",
        sound=WINDOW,
        plan=edited(not_restored),
        case="app1/start:fails-before:abort",
        rule=BEGAN,
        says="databases.main.applied",
    ),
    "not-opened": Broken(
        what="window: on the way back the site stays closed",
        sound=WINDOW,
        plan=one("public/close", undo=()),
        case="app1/start:fails-before:abort",
        rule=BEGAN,
        says="gates.public",
    ),
    "back-too-late": Broken(
        what="window: the way back is begun when the window closes, and not so long before as it takes",
        sound=WINDOW,
        patches={"changeover.engine.clock.latest": only_at_the_end},
        case="sign-off-anna/approve:late",
        rule="back before the window closes",
    ),
}
