"""What a person is asked when only a person can move a run on, and what can be answered."""

from collections.abc import Iterator, Sequence

import msgspec

from changeover.engine.commands import Command, addressable, decide
from changeover.engine.events import Verb
from changeover.engine.fold import RunStatus
from changeover.model.states import RunState, StepState
from changeover.model.values import Value
from changeover.rehearsal.cases import WITH, Answer, Reply

PERSON = "rehearsal"
WHY = "rehearsed"


class Asked(Value, frozen=True):
    """The question. `gate` says that it waits for an approval, not because something has failed.

    `steps` are those that wait or have failed, `hint` what the failure advises. `back` says that the run is on its way
    back. `replies` are the answers that the engine would take.
    """

    text: str
    stage: str
    steps: tuple[str, ...]
    gate: bool = False
    back: bool = False
    hint: str = ""
    replies: tuple[Answer, ...] = ()


def asked(status: RunStatus) -> Asked:
    """What is asked of a person where the run rests."""
    waiting = status.steps_in(StepState.WAITING)
    failed = status.steps_in(StepState.FAILED)
    steps = {step.id: (stage, step) for stage in status.plan.stages for step in stage.steps}
    gate = status.state is RunState.WAITING and bool(waiting)
    concerned = waiting if gate else failed
    last = [status.steps[name].last for name in failed]
    hint = next((it.hint for it in last if it is not None and it.hint), "")
    question = Asked(
        text="; ".join(steps[name][1].summary for name in waiting) if gate else status.reason,
        stage=steps[concerned[0]][0].name if concerned else _stage_of(status),
        steps=tuple(concerned),
        gate=gate,
        back=status.falling_back,
        hint=hint,
    )
    offered: tuple[Answer, ...] = (
        (Reply.APPROVE, Reply.ACCEPT, Reply.REFUSE, Reply.SKIP, Reply.RETRY)
        if gate
        else (Reply.RETRY, *_of_the_steps(status, failed), Reply.SKIP, Reply.ABORT, Reply.LEAVE)
    )
    taken = tuple(
        reply
        for reply in offered
        if (said := list(commands_of(reply, status, question))) and _obeyed(said, status)
    )
    if gate and Reply.APPROVE in taken:
        taken = tuple(reply for reply in taken if reply not in (Reply.RETRY, Reply.ACCEPT))
    return msgspec.structs.replace(question, replies=taken)


def _of_the_steps(status: RunStatus, failed: Sequence[str]) -> tuple[Answer, ...]:
    """What all that have failed offer besides."""
    steps = {step.id: step for step in status.plan.steps()}
    offers = [steps[name].answers for name in failed]
    return tuple(
        f"{WITH}{word}" for word in (offers[0] if offers else ()) if all(word in it for it in offers)
    )


def commands_of(reply: Answer, status: RunStatus, question: Asked) -> Iterator[Command]:
    """What a person types who gives this answer."""
    if reply.startswith(WITH):
        yield from (_command(Verb.RETRY, it, answer=reply.removeprefix(WITH)) for it in question.steps)
        return
    match Reply(reply):
        case Reply.APPROVE | Reply.ACCEPT:
            accepts = reply == Reply.ACCEPT
            yield from (
                _command(Verb.APPROVE, it, accept_skipped=accepts, signed=_signs(it, status))
                for it in question.steps
            )
        case Reply.REFUSE:
            yield from (_command(Verb.REFUSE, it, signed=_signs(it, status)) for it in question.steps)
        case Reply.SKIP:
            aside = [it for it in addressable(status) if status.steps[it].set_aside]
            yield from (_command(Verb.SKIP, it, signed=_signs(it, status)) for it in question.steps or aside)
        case Reply.RETRY:
            yield from _again(status)
        case Reply.ABORT | Reply.ABORT_UNMENDED:
            yield _command(Verb.ABORT)
        case Reply.LEAVE:
            yield _command(Verb.LEAVE)


def _again(status: RunStatus) -> Iterator[Command]:
    """What failed is done again; else what was skipped; else, after an interlock, it simply goes on."""
    failed = status.steps_in(StepState.FAILED)
    if failed:
        yield from (_command(Verb.RETRY, step) for step in failed)
        return
    skipped = list(addressable(status))
    yield from (_command(Verb.RETRY, step) for step in skipped)
    if not skipped and status.state is RunState.STOPPED:
        yield _command(Verb.CONTINUE)


def _obeyed(said: Sequence[Command], status: RunStatus) -> bool:
    return not any(decide(command, status).refused for command in said)


def _stage_of(status: RunStatus) -> str:
    """The first stage that is not finished, or the last."""
    done = (StepState.DONE, StepState.SKIPPED)
    for stage in status.plan.stages:
        if any(status.steps[step.id].state not in done for step in stage.steps):
            return stage.name
    return status.plan.stages[-1].name


def _signs(gate: str, status: RunStatus) -> str:
    """Who answers the gate: the first of those that may, nobody by name where anybody may."""
    who = next(step.who for step in status.plan.steps() if step.id == gate)
    return who[0] if who else ""


def _command(
    verb: Verb, step: str = "", *, accept_skipped: bool = False, answer: str = "", signed: str = ""
) -> Command:
    return Command(0, verb, PERSON, step, WHY, accept_skipped=accept_skipped, answer=answer, signed=signed)
