"""The events of a run as the lines of a trace."""

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


def said(event: Event) -> str:
    """The event in a line."""
    match event:
        case Created():
            line = "the run is created"
        case Claimed():
            line = f"a conductor takes the run over (epoch {event.epoch})"
        case RunChanged():
            line = f"the run is {event.state}{f': {event.reason}' if event.reason else ''}"
        case FallbackBegun():
            stages = ", ".join(stage.name for stage in event.stages)
            line = f"the way back begins ({event.actor}: {event.reason}): {stages}"
        case CommandTaken():
            what = f"{event.verb} {event.step} {event.answer}".rstrip()
            line = f"{what} is refused: {event.refused}" if event.refused else f"{what} is taken"
        case StepChanged():
            why = event.evidence or event.reason
            line = f"{event.step} is {event.state}{f': {why}' if why else ''}"
        case Warned():
            line = event.reason
        case Told():
            line = f"{event.notice} {f'is not told ({event.error})' if event.error else 'is told'}: {event.moment}"
    return line
