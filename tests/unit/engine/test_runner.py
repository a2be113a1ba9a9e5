"""The runner conducts a run through success, failure, crashes and the words of a person."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from changeover.actions.base import Context
from changeover.engine.events import FAILURE_BUDGET, CommandTaken, Event, RunChanged, StepChanged, Verb
from changeover.engine.lease import Lease
from changeover.engine.port import Entry
from changeover.engine.records import Records
from changeover.errors import BusyError
from changeover.model.plan import Operation, Stage, Step
from changeover.model.states import RunState, StepState
from changeover.model.values import Outcome, Verdict
from tests.enginekit import (
    PATIENCE,
    Scripted,
    a_gate,
    a_plan,
    a_step,
    answer,
    answered,
    begin,
    budgets,
    conduct,
    eventually,
    tell,
)

S, R = StepState, RunState


async def test_a_run_performs_every_step_once_and_in_order(journal: Records) -> None:
    """Needs and stages are barriers, and the end is recorded."""
    plan = a_plan([a_step("b", needs=("a",)), a_step("a")], [a_step("c")])
    run = await begin(journal, plan)
    action = Scripted()
    status = await conduct(journal, run, action)
    assert status.state is R.DONE
    assert action.performed == ["a", "b", "c"]
    assert (await journal.status(run)).counts[S.DONE] == 3
    assert (await journal.run(run)).ended_at is not None


async def test_a_limit_is_never_exceeded(journal: Records) -> None:
    """Steps that share a limit share its places; others do not wait for them."""
    limited = [a_step(f"x{number}", limits=("two",)) for number in range(7)]
    run = await begin(journal, a_plan([*limited, a_step("y")], limits={"two": 2}))
    action = Scripted()
    assert (await conduct(journal, run, action)).state is R.DONE
    assert action.most["two"] == 2


async def test_a_failed_attempt_is_followed_by_another_after_the_wait(journal: Records) -> None:
    """As often as the plan allows; the clock is the world's."""
    run = await begin(journal, a_plan([a_step("x", attempts=3, retry_wait=5)]))
    action = Scripted(x="fail fail ok")
    status = await conduct(journal, run, action)
    assert status.state is R.DONE
    assert action.performed == ["x"] * 3
    starts = [event.at for event in await journal.events(run) if _is(event, S.RUNNING)]
    assert [b - a for a, b in itertools.pairwise(starts)] == [5, 5]
    assert action.contexts["x"].attempt == 3
    assert action.contexts["x"].since == starts[0]


async def test_an_action_is_told_its_run_and_its_time_limit(journal: Records) -> None:
    """It can name what it makes after the run, and end its own waiting before it is broken off."""
    run = await begin(journal, a_plan([a_step("x", timeout=7.5)]))
    action = Scripted()
    await conduct(journal, run, action)
    assert (action.contexts["x"].run, action.contexts["x"].timeout) == (run, 7.5)


@pytest.mark.parametrize("trouble", ["half", "blind"])
async def test_what_may_be_half_there_is_not_performed_again_by_itself(
    journal: Records, trouble: str
) -> None:
    """Whatever the attempts left: a person looks at it first; once they ask for it, it is."""
    run = await begin(journal, a_plan([a_step("x", attempts=3, retry_wait=5)]))
    action = Scripted(x="half ok" if trouble == "half" else "fail ok")
    if trouble == "blind":
        action.blind.add("x")
    status = await conduct(journal, run, action)
    assert (status.state, status.steps["x"].state) == (R.STOPPED, S.FAILED)
    assert status.steps["x"].evidence == {"half": "x is half", "blind": "x cannot be reached"}[trouble]
    assert action.performed == ["x"]
    if trouble == "blind":
        action.blind.add("x")
    await tell(journal, run, Verb.RETRY, "x")
    assert (await conduct(journal, run, action)).state is R.DONE
    assert action.performed == ["x", "x"]


async def test_a_step_that_fails_for_good_stops_the_run_with_the_evidence(journal: Records) -> None:
    """Nothing that needs it is launched; what went wrong and what to do is in the journal."""
    run = await begin(journal, a_plan([a_step("x", attempts=2)], [a_step("y")]))
    action = Scripted(x="fail fail")
    status = await conduct(journal, run, action)
    assert (status.state, status.reason) == (R.STOPPED, "x failed: x did not come about")
    last = status.steps["x"].last
    assert last is not None
    assert (last.state, last.error, last.hint) == (S.FAILED, "StepError", "look at its log")
    assert action.performed == ["x", "x"]
    assert (await journal.run(run)).ended_at is None


async def test_what_is_in_flight_finishes_when_another_step_fails(journal: Records) -> None:
    """A stop launches nothing new and breaks nothing off."""
    run = await begin(journal, a_plan([a_step("x"), a_step("y"), a_step("z", needs=("y",))]))
    action = Scripted(x="fail")
    action.hold["y"] = asyncio.Event()
    conducting = asyncio.create_task(conduct(journal, run, action))
    await eventually(lambda: _state(journal, run), R.STOPPED)
    action.hold["y"].set()
    status = await conducting
    assert [status.steps[step].state for step in "xyz"] == [S.FAILED, S.DONE, S.PENDING]


async def test_a_step_that_is_late_is_done_if_it_is_observed_done(journal: Records) -> None:
    """The time limit ends the waiting, the observation decides."""
    run = await begin(journal, a_plan([a_step("x", timeout=0.05)]))
    assert (await conduct(journal, run, Scripted(x="late"))).state is R.DONE


async def test_a_step_that_hangs_fails_with_its_time_limit(journal: Records) -> None:
    """With what was observed."""
    run = await begin(journal, a_plan([a_step("x", timeout=0.05)]))
    status = await conduct(journal, run, Scripted(x="hang"))
    last = status.steps["x"].last
    assert last is not None
    assert (last.error, last.evidence) == (
        "StepTimeoutError",
        "not within 0.05 s; then observed: x is not there",
    )


async def test_performed_is_not_done_until_it_is_observed(journal: Records) -> None:
    """An action that raises nothing and achieves nothing has failed."""
    run = await begin(journal, a_plan([a_step("x")]))
    status = await conduct(journal, run, Scripted(x="idle"))
    assert status.steps["x"].evidence == "performed (x performed), but then observed: x is not there"
    assert status.steps["x"].state is S.FAILED


async def test_an_effect_that_cannot_be_observed_is_looked_at_again(journal: Records) -> None:
    """It is in doubt meanwhile, and never performed twice."""
    run = await begin(journal, a_plan([a_step("x")]))
    action = Scripted(x="blind")
    assert (await conduct(journal, run, action)).state is R.DONE
    assert action.performed == ["x"]
    assert S.IN_DOUBT in [
        event.state for event in await journal.events(run) if isinstance(event, StepChanged)
    ]


@pytest.mark.parametrize(
    ("left", "performed", "state"),
    [("whole", ["x"], S.DONE), ("", ["x", "x"], S.DONE), ("half", ["x"], S.FAILED)],
)
async def test_what_was_still_at_work_is_looked_at_once_it_has_ended(
    journal: Records, left: str, performed: list[str], state: StepState
) -> None:
    """It is performed only if nothing was left there."""

    class Busy(Scripted):
        async def perform(self, operation: Operation, context: Context) -> str:
            if not self.performed:
                self.performed.append("x")
                self.effects["x"] = left
                raise BusyError("what was begun before was still at work, and has ended now")
            return await super().perform(operation, context)

    run = await begin(journal, a_plan([a_step("x")]))
    action = Busy()
    status = await conduct(journal, run, action)
    assert action.performed == performed
    assert status.steps["x"].state is state


async def test_a_defect_in_an_action_is_a_failed_step(journal: Records) -> None:
    """The engine goes on, and the journal names the type."""
    run = await begin(journal, a_plan([a_step("x")]))
    status = await conduct(journal, run, Scripted(x="bug"))
    last = status.steps["x"].last
    assert last is not None
    assert (last.error, last.evidence) == ("ZeroDivisionError", "ZeroDivisionError: a defect")


async def test_a_step_of_an_unknown_kind_fails_and_says_so(journal: Records) -> None:
    """The plan was made by a version that had it."""
    run = await begin(journal, a_plan([a_step("x")]))
    status = await conduct(journal, run)
    assert "no action 'scripted'" in status.steps["x"].evidence


async def test_retried_by_a_person_it_is_observed_first(journal: Records) -> None:
    """What they have done by hand is not done again; the count of attempts goes on, its time begins anew."""
    run = await begin(journal, a_plan([a_step("x"), a_step("y")], budgets=budgets(0, 0, 0)))
    action = Scripted(x="fail", y="fail")
    await conduct(journal, run, action)
    action.effects["x"] = "whole"
    await tell(journal, run, Verb.RETRY, "x")
    await tell(journal, run, Verb.RETRY, "y")
    status = await conduct(journal, run, action)
    assert status.state is R.DONE
    assert sorted(action.performed) == ["x", "y", "y"]
    assert status.steps["y"].attempt == 2
    assert action.contexts["y"].since == status.steps["y"].started_at


# Crashes


async def crash_in_flight(journal: Records, run: str, action: Scripted, step: str) -> None:
    """End a conductor while that step is in flight, leaving the journal as a crash would."""
    action.hold[step] = asyncio.Event()
    conducting = asyncio.create_task(conduct(journal, run, action))
    await eventually(lambda: _performing(action, step), True)
    conducting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await conducting
    action.hold.clear()
    action.performed.clear()
    assert (await journal.status(run)).steps[step].state is S.RUNNING


@pytest.mark.parametrize(
    ("effect", "state", "performed"),
    [("whole", R.DONE, ["y"]), ("", R.DONE, ["x", "y"]), ("half", R.STOPPED, [])],
)
async def test_what_was_in_flight_at_a_crash_is_observed(
    journal: Records, effect: str, state: RunState, performed: list[str]
) -> None:
    """Done: it goes on; absent: again; half done: a person decides."""
    run = await begin(journal, a_plan([a_step("x")], [a_step("y")]))
    action = Scripted()
    await crash_in_flight(journal, run, action, "x")
    action.effects["x"] = effect
    status = await conduct(journal, run, action)
    assert status.state is state
    assert action.performed == performed
    assert status.epoch == 2


async def test_what_cannot_be_observed_after_a_crash_waits_for_a_person(journal: Records) -> None:
    """With the reason why it could not be told."""
    run = await begin(journal, a_plan([a_step("x")]))
    action = Scripted()
    await crash_in_flight(journal, run, action, "x")
    action.blind.add("x")
    status = await conduct(journal, run, action)
    assert status.state is R.STOPPED
    assert status.steps["x"].evidence == "x cannot be reached"


async def test_a_crash_does_not_use_up_an_attempt(journal: Records) -> None:
    """Only failures count against what the plan allows."""
    run = await begin(journal, a_plan([a_step("x", attempts=2)]))
    action = Scripted(x="ok fail ok")
    await crash_in_flight(journal, run, action, "x")
    assert (await conduct(journal, run, action)).state is R.DONE
    assert action.performed == ["x", "x"]


async def test_since_outlives_a_crash(journal: Records) -> None:
    """A timed gate goes on counting from its first start."""
    run = await begin(journal, a_plan([a_step("x")]))
    action = Scripted()
    await crash_in_flight(journal, run, action, "x")
    since = action.contexts["x"].since
    await conduct(journal, run, action)
    assert action.contexts["x"].since == since
    assert action.contexts["x"].attempt == 2


# Failure budgets


def a_batch(*nodes: str, stop: str = "stop") -> list[Step]:
    """Two steps for each node, one after the other."""
    return [
        step
        for node in nodes
        for step in (
            a_step(f"{node}/{stop}", unit=node),
            a_step(f"{node}/start", unit=node, needs=(f"{node}/{stop}",)),
        )
    ]


async def test_a_node_that_fails_within_the_budgets_is_set_aside(journal: Records) -> None:
    """The rest of its steps are skipped, in later stages too, and the run goes on."""
    later = [a_step(f"app{number}/clean", unit=f"app{number}") for number in (1, 2)]
    run = await begin(journal, a_plan(a_batch("app1", "app2"), later, budgets=budgets(1, 1, 1)))
    action = Scripted(app1__stop="fail")
    status = await conduct(journal, run, action)
    assert status.state is R.DONE
    assert status.steps_in(S.SKIPPED) == ["app1/stop", "app1/start", "app1/clean"]
    last = status.steps["app1/clean"].last
    assert last is not None
    assert (last.actor, last.reason) == (FAILURE_BUDGET, "app1 was set aside: app1/stop failed")


async def test_one_node_more_than_the_budget_stops_the_run(journal: Records) -> None:
    """It says which budget, and how many there were."""
    run = await begin(journal, a_plan(a_batch("app1"), a_batch("app2"), budgets=budgets(1, 1, 5)))
    status = await conduct(journal, run, Scripted(app1__stop="fail", app2__stop="fail"))
    assert status.state is R.STOPPED
    assert status.reason == "app2/stop failed: 2 nodes failed in this run, the limit is 1"


async def test_a_failure_that_is_no_nodes_is_in_no_budget(journal: Records) -> None:
    """A database that fails is not one node of many."""
    run = await begin(journal, a_plan([a_step("main/expand")], budgets=budgets(9, 9, 9)))
    assert (await conduct(journal, run, Scripted(main__expand="fail"))).state is R.STOPPED


async def test_a_node_that_is_brought_back_is_upgraded_after_all(journal: Records) -> None:
    """To retry one of its steps brings back all that was set aside with it."""
    gate = a_gate("go")
    run = await begin(journal, a_plan(a_batch("app1", "app2"), [gate], budgets=budgets(1, 1, 1)))
    action = Scripted(app1__stop="fail")
    status = await conduct(journal, run, action)
    assert status.state is R.WAITING
    number = await tell(journal, run, Verb.RETRY, "app1/start")
    status = await conduct(journal, run, action)
    assert await answer(journal, number) == ("taken", "to be done again: app1/stop, app1/start")
    assert status.state is R.WAITING
    assert not status.steps_in(S.SKIPPED)
    assert action.performed[-2:] == ["app1/stop", "app1/start"]


async def test_no_further_attempt_for_a_node_that_was_set_aside(journal: Records) -> None:
    """A step of it that is in flight still ends, but is not tried again."""
    steps = [a_step("app1/x", unit="app1"), a_step("app1/y", unit="app1", attempts=5)]
    run = await begin(journal, a_plan(steps, budgets=budgets(1, 1, 1)))
    action = Scripted(app1__x="fail", app1__y="fail ok")
    action.hold["app1/y"] = asyncio.Event()
    conducting = asyncio.create_task(conduct(journal, run, action))
    await eventually(lambda: _step(journal, run, "app1/x"), S.SKIPPED)
    action.hold["app1/y"].set()
    status = await conducting
    assert status.state is R.DONE
    assert action.performed.count("app1/y") == 1


# Interlocks


class Interlock:
    """Says what it is told to say, and remembers when it was asked."""

    def __init__(self, *verdicts: Verdict | Exception | None) -> None:
        self.verdicts = list(verdicts)

    async def before(self, step: Step, stage: Stage) -> Verdict | None:
        verdict = self.verdicts.pop(0) if self.verdicts else None
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    after = before

    def dropped(self, step: Step) -> None:
        pass


BAD = Verdict("capacity floor", Outcome.BAD, "1 of 2 in rotation", "bring one back")


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (BAD, "x: capacity floor: 1 of 2 in rotation (bring one back)"),
        (Verdict("floor", Outcome.UNKNOWN, "nobody knows"), "x: floor: nobody knows"),
        (OSError("no answer"), "the interlocks of x could not be asked: no answer"),
    ],
)
async def test_an_interlock_stops_the_run_before_the_effect(
    journal: Records, verdict: Verdict | Exception, says: str
) -> None:
    """The step has not begun; once the site is set right, to retry it goes on."""
    run = await begin(journal, a_plan([a_step("x")]))
    action = Scripted()
    status = await conduct(journal, run, action, guard=Interlock(verdict))
    assert (status.state, status.reason) == (R.STOPPED, says)
    assert (status.steps["x"].state, action.performed) == (S.PENDING, [])
    await tell(journal, run, Verb.RETRY, "x")
    assert (await conduct(journal, run, action)).state is R.DONE


async def test_an_interlock_that_breaks_with_the_effect_stops_the_run_after_it(journal: Records) -> None:
    """What was done is recorded, and nothing follows until a person continues."""
    run = await begin(journal, a_plan([a_step("x")], [a_step("y")]))
    action = Scripted()
    status = await conduct(journal, run, action, guard=Interlock(None, BAD))
    assert (status.state, status.steps["x"].state, action.performed) == (R.STOPPED, S.DONE, ["x"])
    await tell(journal, run, Verb.CONTINUE)
    assert (await conduct(journal, run, action)).state is R.DONE


async def test_a_step_that_follows_another_is_recorded_together_with_its_end(
    journal: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction less for each step, and the effect still begins after both are durable."""
    run = await begin(journal, a_plan([a_step("x")], [a_step("y")]))
    append, together = journal.append, []

    async def recorded(lease: Lease, entries: Sequence[Entry], *, before: Callable[[], None]) -> None:
        together.append([_said(event) for entry in entries for event in entry.events])
        await append(lease, entries, before=before)

    class Watching(Scripted):
        async def perform(self, operation: Operation, context: Context) -> str:
            performed.append((operation.target, (await journal.events(run))[-1]))
            return await super().perform(operation, context)

    performed: list[tuple[str, Event]] = []
    monkeypatch.setattr(journal, "append", recorded)
    await conduct(journal, run, Watching())
    assert together == [["x running"], ["x done", "y running"], ["y done"], ["run done"]]
    assert [(name, _said(event)) for name, event in performed] == [("x", "x running"), ("y", "y running")]


async def test_what_an_interlock_stops_after_a_step_lets_nothing_begin(journal: Records) -> None:
    """Although the end of the step is being recorded meanwhile."""
    run = await begin(journal, a_plan([a_step("x")], [a_step("y")]))
    await conduct(journal, run, Scripted(), guard=Interlock(None, BAD))
    said = [_said(event) for event in (await journal.events(run))[2:]]
    assert said == ["x running", "x done", "run stopped"]


async def test_good_verdicts_stop_nothing(journal: Records) -> None:
    """They are asked twice for each attempt."""
    run = await begin(journal, a_plan([a_step("x")]))
    good = Interlock(*[Verdict("floor", Outcome.GOOD, "2 of 2")] * 2, BAD)
    assert (await conduct(journal, run, Scripted(), guard=good)).state is R.DONE


# Commands


async def test_a_gate_waits_for_its_approval(journal: Records) -> None:
    """The run rests, holds its site, and goes on with the actor in the journal."""
    run = await begin(journal, a_plan([a_gate("go")], [a_step("x")]))
    action = Scripted()
    status = await conduct(journal, run, action)
    assert (status.state, status.reason) == (R.WAITING, "for a person: go")
    await tell(journal, run, Verb.APPROVE, "go")
    status = await conduct(journal, run, action)
    assert status.state is R.DONE
    last = status.steps["go"].last
    assert last is not None
    assert last.actor == "kim"


async def test_a_gate_that_is_refused_stops_the_run(journal: Records) -> None:
    """And may be asked again."""
    run = await begin(journal, a_plan([a_gate("go")], budgets=budgets(9, 9, 9)))
    await conduct(journal, run, Scripted())
    await tell(journal, run, Verb.REFUSE, "go", "not today")
    status = await conduct(journal, run, Scripted())
    assert (status.state, status.reason) == (R.STOPPED, "go was refused")
    await tell(journal, run, Verb.RETRY, "go")
    assert (await conduct(journal, run, Scripted())).state is R.WAITING


async def test_commands_are_noticed_while_the_run_waits(journal: Records) -> None:
    """A conductor told to stay needs no new one."""
    run = await begin(journal, a_plan([a_gate("go")]))
    conducting = asyncio.create_task(conduct(journal, run, Scripted(), on_stop="wait"))
    await eventually(lambda: _state(journal, run), R.WAITING)
    number = await tell(journal, run, Verb.APPROVE, "go")
    assert await answered(journal, number) == ("taken", "go is approved")
    assert (await conducting).state is R.DONE


async def test_a_pause_lets_what_is_in_flight_finish(journal: Records) -> None:
    """Nothing new begins until it is continued, by the next conductor too."""
    run = await begin(journal, a_plan([a_step("x")], [a_step("y")]))
    action = Scripted()
    action.hold["x"] = asyncio.Event()
    conducting = asyncio.create_task(conduct(journal, run, action))
    await eventually(lambda: _performing(action, "x"), True)
    await answered(journal, await tell(journal, run, Verb.PAUSE))
    action.hold["x"].set()
    status = await conducting
    assert (status.state, status.steps["x"].state) == (R.PAUSED, S.DONE)
    assert (await conduct(journal, run, action)).state is R.PAUSED
    await tell(journal, run, Verb.CONTINUE)
    assert (await conduct(journal, run, action)).state is R.DONE
    assert action.performed == ["x", "y"]


async def test_a_pause_ends_the_wait_for_the_next_attempt(journal: Records) -> None:
    """The run rests at once; continued, the attempt is made."""
    run = await begin(journal, a_plan([a_step("x", attempts=2, retry_wait=1)]))
    action = Scripted(x="fail ok")
    clock = _FrozenClock()
    conducting = asyncio.create_task(conduct(journal, run, action, clock=clock))
    await asyncio.wait_for(clock.asked.wait(), PATIENCE)
    await tell(journal, run, Verb.PAUSE)
    assert (await conducting).state is R.PAUSED
    await tell(journal, run, Verb.CONTINUE)
    assert (await conduct(journal, run, action)).state is R.DONE


async def test_skipping_a_step_that_waits_for_its_next_attempt(journal: Records) -> None:
    """It is not made any more."""
    run = await begin(journal, a_plan([a_step("x", attempts=2, retry_wait=1)], [a_step("y")]))
    action = Scripted(x="fail ok")
    clock = _FrozenClock()
    conducting = asyncio.create_task(conduct(journal, run, action, clock=clock))
    await asyncio.wait_for(clock.asked.wait(), PATIENCE)
    await tell(journal, run, Verb.SKIP, "x", "not needed")
    assert (await conducting).state is R.DONE
    assert action.performed == ["x", "y"]


async def test_an_abort_lets_what_is_in_flight_finish_and_leaves_the_site_as_it_is(journal: Records) -> None:
    """Then the run has ended, and the site is free."""
    run = await begin(journal, a_plan([a_step("x")], [a_step("y")]))
    action = Scripted()
    action.hold["x"] = asyncio.Event()
    conducting = asyncio.create_task(conduct(journal, run, action))
    await eventually(lambda: _performing(action, "x"), True)
    number = await tell(journal, run, Verb.ABORT, reason="enough")
    assert await answered(journal, number) == (
        "taken",
        "it goes back as soon as what is in flight has finished",
    )
    action.hold["x"].set()
    status = await conducting
    assert (status.state, status.reason) == (R.ABORTED, "enough")
    assert (status.steps["x"].state, status.steps["y"].state) == (S.DONE, S.PENDING)
    await begin(journal, a_plan([a_step("x")]))


async def test_an_abort_is_remembered_over_a_crash(journal: Records) -> None:
    """The next conductor looks at what was in flight, and ends the run."""
    run = await begin(journal, a_plan([a_step("x")], [a_step("y")]))
    action = Scripted()
    action.hold["x"] = asyncio.Event()
    conducting = asyncio.create_task(conduct(journal, run, action))
    await eventually(lambda: _performing(action, "x"), True)
    await answered(journal, await tell(journal, run, Verb.ABORT, reason="enough"))
    conducting.cancel()
    await asyncio.gather(conducting, return_exceptions=True)
    status = await conduct(journal, run, action)
    assert (status.state, status.steps["x"].state) == (R.ABORTED, S.PENDING)


async def test_commands_still_unanswered_at_the_end_are_refused(journal: Records) -> None:
    """Whoever sent them hears of it."""
    run = await begin(journal, a_plan([a_step("x")]))
    await tell(journal, run, Verb.ABORT, reason="enough")
    late = await tell(journal, run, Verb.PAUSE)
    await conduct(journal, run, Scripted())
    why = "the run is being aborted; what is in flight finishes first"
    assert await answer(journal, late) == ("refused", why)


async def test_a_refused_command_is_recorded_and_answered(journal: Records) -> None:
    """With why, and it changes nothing."""
    run = await begin(journal, a_plan([a_gate("app1/go")]))
    number = await tell(journal, run, Verb.APPROVE, "app1/goo")
    assert (await conduct(journal, run, Scripted())).state is R.WAITING
    why = "the plan has no step 'app1/goo'; did you mean 'app1/go'?"
    assert await answer(journal, number) == ("refused", why)
    assert why in [event.refused for event in await journal.events(run) if isinstance(event, CommandTaken)]


async def test_a_skipped_step_holds_the_finalize_gate(journal: Records) -> None:
    """Until it is addressed, or accepted with a reason."""
    plan = a_plan([a_step("x"), a_step("y")], finalize=[a_gate("go"), a_step("drop", needs=("go",))])
    run = await begin(journal, plan)
    action = Scripted(x="fail fail", y="fail")
    await conduct(journal, run, action)
    await tell(journal, run, Verb.SKIP, "x", "broken")
    await tell(journal, run, Verb.RETRY, "y")
    assert (await conduct(journal, run, action)).state is R.WAITING
    for verb, reason in ((Verb.APPROVE, ""), (Verb.SKIP, "go on")):
        number = await tell(journal, run, verb, "go", reason)
        status = await conduct(journal, run, action)
        outcome, said = await answer(journal, number)
        assert (outcome, status.state) == ("refused", R.WAITING)
        assert "these were skipped: x" in said
    await tell(journal, run, Verb.APPROVE, "go", "x is obsolete", accept_skipped=True)
    assert (await conduct(journal, run, action)).state is R.DONE


# Around it


async def test_secrets_are_taken_out_of_everything_that_is_recorded(journal: Records) -> None:
    """Evidence, errors, reasons and answers."""
    run = await begin(journal, a_plan([a_step("x")]))
    number = await tell(journal, run, Verb.APPROVE, "swordfish")
    status = await conduct(
        journal,
        run,
        Scripted(x="fail"),
        redact=lambda text: text.replace("swordfish", "***").replace("x did not come about", "***"),
    )
    assert status.steps["x"].evidence == "***"
    assert "***" in status.reason
    assert "swordfish" not in (await answer(journal, number))[1]
    recorded = "".join(
        str(event) for event in await journal.events(run) if not isinstance(event, CommandTaken)
    )
    assert "swordfish" not in recorded
    assert "did not come about" not in recorded


async def test_long_evidence_is_cut(journal: Records) -> None:
    """What a command printed may be megabytes."""
    run = await begin(journal, a_plan([a_step("x")]))
    status = await conduct(journal, run, Scripted(), redact=lambda _: "x" * 5000)
    assert status.steps["x"].evidence.endswith("x… (1000 characters more)")


async def test_the_observer_sees_every_event_once_it_is_durable(journal: Records) -> None:
    """From this conductor's claim on; an observer that fails is no reason to stop."""
    run = await begin(journal, a_plan([a_step("x")]))
    seen: list[Event] = []

    def observe(event: Event) -> None:
        seen.append(event)
        raise ZeroDivisionError

    await conduct(journal, run, Scripted(), observer=observe)
    assert seen == (await journal.events(run))[1:]


async def test_the_end_of_the_run_is_its_last_event(journal: Records) -> None:
    """So that whoever follows it knows when to stop."""
    run = await begin(journal, a_plan([a_step("x")]))
    await conduct(journal, run, Scripted())
    events = [event async for event in journal.follow(run)]
    assert isinstance(events[-1], RunChanged)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


class _FrozenClock:
    """A clock in which nobody's sleep ends."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def now(self) -> float:
        return 1_800_000_000.0

    async def sleep(self, seconds: float) -> None:
        self.asked.set()
        await asyncio.Event().wait()


def _said(event: Event) -> str:
    if isinstance(event, StepChanged):
        return f"{event.step} {event.state}"
    return f"run {event.state}" if isinstance(event, RunChanged) else type(event).__name__


def _is(event: Event, state: StepState) -> bool:
    return isinstance(event, StepChanged) and event.state is state


async def _state(journal: Records, run: str) -> RunState:
    return (await journal.run(run)).state


async def _step(journal: Records, run: str, step: str) -> StepState:
    return (await journal.status(run)).steps[step].state


async def _performing(action: Scripted, step: str) -> Any:
    return step in action.performed
