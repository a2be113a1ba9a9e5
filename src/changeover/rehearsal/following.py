"""Follows a run in the course of one play, event by event and effect by effect: whether its engine keeps its promises."""

from collections.abc import Callable, Iterable, Iterator

from changeover.actions.base import Action, Context
from changeover.engine.events import StepChanged
from changeover.engine.fold import RunStatus
from changeover.errors import ChangeoverError
from changeover.model.plan import Operation, Stage, Step
from changeover.model.states import SATISFIED, StepState
from changeover.model.values import Presence
from changeover.rehearsal import sameness, truth
from changeover.simulation import SimulatedSite

S = StepState

Broken = Callable[[str, str], None]
"""Is told of a rule that did not hold, and how."""


class Follower:
    """Knows where the run stands.

    `agreed` are the databases whose restore a person has agreed to, `accepting` says that who answers just now accepts what
    was skipped. `flying` are the steps in flight. `endless` is called with a step that is begun again and again, `looks` says of a step
    and its kind of action whether it changes nothing.
    """

    def __init__(
        self,
        site: SimulatedSite,
        *,
        broken: Broken,
        endless: Callable[[], None],
        looks: Callable[[str, str], bool],
        agreed: frozenset[str] = frozenset(),
    ) -> None:
        self._site = site
        self._broken = broken
        self._endless = endless
        self._looks = looks
        self._performed: set[str] = set()
        self._tried: dict[str, int] = {}
        self.agreed = agreed
        self.accepting = False
        self.deaths = 0
        self.flying: set[str] = set()

    def index(self, status: RunStatus) -> None:
        """Another status, or another plan that it executes."""
        self.status = status
        self._begun = _begun(status)
        self.standing = sameness.Standing(status)
        self.steps = {step.id: step for step in status.plan.steps()}
        self.stage_of = {step.id: stage for stage in status.plan.stages for step in stage.steps}

    def step_changed(self, event: StepChanged) -> None:
        """What is to be said of that event, before the status knows of it."""
        step = self.steps[event.step]
        if event.state is S.RUNNING:
            self.flying.add(event.step)
            missing = [need for need in self._needs(step) if self.status.steps[need].state not in SATISFIED]
            if missing:
                self._broken("the order is kept", f"{step.id} begins before {', '.join(missing)}")
            self._may_be_final(step)
            self._in_time(step, event.at)
            self._in_turn(step)
            self._tries(step)
        elif event.state is not S.IN_DOUBT:
            self.flying.discard(event.step)
        if event.state is S.DONE and not step.person:
            self._is_there(step)
        if event.state is S.DONE and step.person:
            self._holds(step)
            self.agreed |= {
                it.do.target
                for it in self.status.plan.steps()
                if it.do.action == "database.restore" and step.id in it.needs
            }

    async def performed(self, action: Action, operation: Operation, context: Context) -> None:
        """An effect begins: it must not be there already if that could have been known."""
        step = context.step
        state = self.status.steps[step].state
        if state is S.DONE:
            self._broken("no finished step is repeated", f"{step} is performed again")
        elif state is not S.RUNNING:
            text = f"{step} is performed while the journal has it {state}"
            self._broken("an effect follows its record", text)
        elif step in self._performed and not self._looks(step, operation.action):
            try:
                seen = await action.observe(operation, context)
            except ChangeoverError:
                pass
            else:
                there = truth.missing(operation, self._site, self.status.run) == ""
                if seen.presence is Presence.DONE or there:
                    self._broken(
                        "a resume looks first",
                        f"{step} is performed again although it is done; observed: {seen.evidence}",
                    )
        self._performed.add(step)

    def active(self) -> Iterator[Step]:
        """Those in flight; of a conductor that has died, those that may be."""
        return (self.steps[name] for name in self.flying if name in self.steps)

    def stage(self) -> Stage | None:
        """The one that is executed, also while nothing of it is in flight."""
        at_work = next((self.stage_of[name] for name in self.flying if name in self.stage_of), None)
        return at_work or self._begun

    def changed(self, event: StepChanged) -> None:
        """The status knows of that event now."""
        self.standing.changed(event.step)
        if event.state is S.RUNNING:
            self._begun = self.stage_of[event.step]
        elif event.state in SATISFIED and self._begun:
            states = (self.status.steps[step.id].state for step in self._begun.steps)
            if all(state in SATISFIED for state in states):
                self._begun = None

    def _needs(self, step: Step) -> Iterable[str]:
        """What comes first: what it needs, and the whole stage before, whose steps were asked the same."""
        stages = self.status.plan.stages
        place = stages.index(self.stage_of[step.id])
        if place:
            yield from (it.id for it in stages[place - 1].steps)
        yield from step.needs

    def _may_be_final(self, step: Step) -> None:
        """What gives up the way back begins only after a person has approved that, or has skipped the gate."""
        stage = self.stage_of[step.id]
        gates = [self.status.steps[it.id].last for it in stage.steps if it.person]
        if stage.finalize and not any(it and it.state in SATISFIED and it.actor for it in gates):
            self._broken(
                "only a person gives up the way back", f"{step.id} begins, and nobody has approved it"
            )

    def _holds(self, gate: Step) -> None:
        """While something before it is skipped, finalize is approved only by somebody who accepts that."""
        if not self.stage_of[gate.id].finalize or self.accepting:
            return
        before = [it for it in self.status.steps_in(S.SKIPPED) if not self.stage_of[it].finalize]
        if before:
            skipped = ", ".join(before)
            self._broken(
                "what was skipped holds finalize", f"{gate.id} is approved, and these were skipped: {skipped}"
            )

    def _in_time(self, step: Step, now: float) -> None:
        """Nothing begins so late that the window closes before all could be back, unless a person has decided that."""
        window, stages = self.status.plan.release.window, self.status.plan.stages
        if window is None or self.status.falling_back or self.status.late:
            return
        bound = [place for place, stage in enumerate(stages) if stage.outage]
        if (
            bound
            and stages.index(self.stage_of[step.id]) <= bound[-1]
            and now > window.closes - window.margin
        ):
            self._broken("in time", f"{step.id} begins {now - window.closes + window.margin:.0f} s too late")

    def _in_turn(self, step: Step) -> None:
        """Where everything stands still the head is good before another node starts, and all agree before it is opened."""
        plan, action = self.status.plan, step.do.action
        if not self.stage_of[step.id].outage and action != "access.open":
            return
        head = plan.site.head.name
        left = [it for it in plan.steps() if self.status.steps[it.id].state not in SATISFIED]
        if action == "node.start" and step.do.target != head and not self.status.falling_back:
            bad = [it.id for it in left if (it.do.action, it.do.target) == ("node.version", head)]
            if bad:
                self._broken("the head goes first", f"{step.id} begins before {', '.join(bad)}")
        if action == "access.open":
            gates = [it.id for it in left if it.person and self.stage_of[it.id].outage]
            if gates:
                text = f"{step.id} begins before {', '.join(gates)}"
                self._broken("opened when everybody has agreed", text)

    def _tries(self, step: Step) -> None:
        """A step begins no more often than its plan says, and once more for each conductor that has died."""
        tried = self._tried[step.id] = self._tried.get(step.id, 0) + 1
        if tried > step.attempts + self.deaths:
            text = f"{step.id} begins {tried} times, the plan allows {step.attempts}"
            self._broken("attempts come to an end", text)
            self._endless()

    def _is_there(self, step: Step) -> None:
        """What is recorded as done is there, while every host can be seen."""
        if not all(host.reached for host in self._site.hosts.values()):
            return
        if missing := truth.missing(step.do, self._site, self.status.run):
            self._broken("what is done is there", f"{step.id} is recorded as done: {missing}")


def _begun(status: RunStatus) -> Stage | None:
    """The stage that was begun and is not finished."""
    for stage in status.plan.stages:
        steps = [status.steps[step.id] for step in stage.steps]
        if any(it.state not in SATISFIED for it in steps):
            return stage if any(it.attempt or it.state is not S.PENDING for it in steps) else None
    return None
