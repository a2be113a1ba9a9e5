"""The exit codes: one table for the code, the help and the documentation."""

from enum import IntEnum

from changeover import errors
from changeover.model.states import RunState


class Exit(IntEnum):
    """How a command ends. 2 is what shells and argument parsers use for bad input; 130 is 128 + SIGINT."""

    DONE = 0
    TROUBLE = 1
    BAD_INPUT = 2
    STOPPED = 3
    REFUSED = 4
    FELL_BACK = 5
    ABORTED = 6
    FENCED = 7
    UNREACHABLE = 8
    FINDINGS = 9
    INTERRUPTED = 130


MEANING = {
    Exit.DONE: "done; for a run: upgraded, and at most the finalize gate is left",
    Exit.TROUBLE: "trouble of our own: an unexpected error, or the journal or a ledger failed",
    Exit.BAD_INPUT: "bad input: the arguments, the site's file or a plan",
    Exit.STOPPED: "the run stopped for a person: a failure, a gate, a pause; the site is safe, and it can go on",
    Exit.REFUSED: "refused, and nothing was changed: the site is held, the plan is stale, a check is not good, not allowed now",
    Exit.FELL_BACK: "the run fell back to where it began, but for steps that a person has skipped",
    Exit.ABORTED: "the run was ended where it was",
    Exit.FENCED: "another conductor has taken the run over; this one stopped at once",
    Exit.UNREACHABLE: "the site did not answer as it should before anything began; nothing was changed",
    Exit.FINDINGS: "the rehearsal has findings: a fault that does not end done, where it began, or stopped safely",
    Exit.INTERRUPTED: "interrupted; if a run was conducted here, `changeover resume` looks first at what was in flight",
}

_OF_ERROR: tuple[tuple[type[errors.ChangeoverError], Exit], ...] = (
    (errors.FencedError, Exit.FENCED),
    (errors.JournalError, Exit.TROUBLE),
    (errors.LedgerError, Exit.TROUBLE),
    (errors.SpecError, Exit.BAD_INPUT),
    (errors.RefusedError, Exit.REFUSED),
    (errors.StepError, Exit.UNREACHABLE),
    (errors.PortError, Exit.UNREACHABLE),
)


def of_error(error: Exception) -> Exit:
    """The code for an error: that of the first kind in the table that it is one of."""
    return next((code for kind, code in _OF_ERROR if isinstance(error, kind)), Exit.TROUBLE)


def of_run(state: RunState, *, finalize_left: bool) -> Exit:
    """The code for a run that was left in that state."""
    if state is RunState.DONE or finalize_left:
        return Exit.DONE
    ends = {RunState.ABORTED: Exit.ABORTED, RunState.FELL_BACK: Exit.FELL_BACK}
    return ends.get(state, Exit.STOPPED)
