"""One event of a run, as one line."""

from changeover.engine.events import (
    Claimed,
    CommandTaken,
    Created,
    Event,
    FallbackBegun,
    RunChanged,
    StepChanged,
    Told,
    Warned,
)
from changeover.model.states import RunState, StepState
from changeover.report.document import Text, Tone
from changeover.report.told import TONES
from changeover.report.words import clock

_RUN_TONES = {
    RunState.DONE: Tone.GOOD,
    RunState.STOPPED: Tone.BAD,
    RunState.ABORTED: Tone.BAD,
    RunState.FELL_BACK: Tone.DOUBT,
    RunState.PAUSED: Tone.DOUBT,
    RunState.WAITING: Tone.DOUBT,
    RunState.RUNNING: Tone.STRONG,
}
_WIDE = 24


def line(event: Event) -> Text:
    """When, what, and what was said about it: `14:05:09.3  app1/drain  done  no new sessions`."""
    what, state, said, tone = _told(event)
    return Text(f"{clock(event.at)}  {what:<{_WIDE}}  {state:<9}  {' '.join(said.split())}".rstrip(), tone)


def note(at: float, step: str, text: str) -> Text:
    """What a step in flight says of how far it has come, as a line among those of the events."""
    return Text(f"{clock(at)}  {step:<{_WIDE}}  {'':<9}  {' '.join(text.split())}".rstrip(), Tone.QUIET)


def _told(event: Event) -> tuple[str, str, str, Tone]:  # noqa: PLR0911 - one for each kind of event
    match event:
        case Created():
            return "run", "created", f"by {event.actor}{_because(event.reason)}", Tone.STRONG
        case Claimed():
            return "run", "taken", f"by {event.owner} (epoch {event.epoch})", Tone.QUIET
        case RunChanged():
            by = f"by {event.actor}" if event.actor else ""
            said = ": ".join(filter(None, (by, event.reason)))
            return "run", event.state, said, _RUN_TONES[event.state]
        case FallbackBegun():
            count = sum(len(stage.steps) for stage in event.stages)
            return "run", "back", f"by {event.actor}{_because(event.reason)} ({count} steps)", Tone.BAD
        case Warned():
            return "clock", "warns", event.reason, Tone.DOUBT
        case Told():
            what = f"{event.notice}: {event.moment}"
            return (
                "notice",
                "failed" if event.error else "told",
                f"{what}{_because(event.error)}",
                Tone.DOUBT if event.error else Tone.QUIET,
            )
        case CommandTaken():
            to = f" {event.step}" if event.step else ""
            chosen = f" with {event.answer}" if event.answer else ""
            said = f"{event.verb}{to}{chosen}, by {event.by}{_because(event.reason)}"
            refused = f"; refused: {event.refused}" if event.refused else ""
            return (
                "command",
                "refused" if refused else "taken",
                said + refused,
                Tone.BAD if refused else Tone.STRONG,
            )
        case StepChanged():
            return event.step, _state(event), _said(event), TONES[event.state]


def _state(event: StepChanged) -> str:
    return "again" if event.state is StepState.PENDING else event.state.value


def _said(event: StepChanged) -> str:
    attempt = f"attempt {event.attempt}" if event.state is StepState.RUNNING and event.attempt > 1 else ""
    by = f"by {event.actor}{_because(event.reason)}" if event.actor else event.reason
    hint = f"hint: {event.hint}" if event.hint else ""
    return "; ".join(filter(None, (attempt, by, event.evidence, hint)))


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
