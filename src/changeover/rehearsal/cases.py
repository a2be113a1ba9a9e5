"""The names of cases: which fault strikes which step, and what is answered to each question that comes of it.

app2/start:host-dies              goes on, or back, by itself
app2/start:host-dies:abort        the person who is asked lets it be mended, and the run goes back
app1/drain:hangs@2                strikes the second effect of the step
app1/stop:hangs+back/app1/switch:fails-before:abort:retry
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from changeover.errors import RefusedError
from changeover.simulation import Fault


class Kind(StrEnum):
    """What goes wrong with a step."""

    FAILS_BEFORE = "fails-before"
    FAILS_ONCE = "fails-once"
    FAILS_AFTER = "fails-after"
    BROKEN_OFF = "broken-off"
    SAYS_FAILED = "says-failed"
    HANGS = "hangs"
    HANGS_AFTER = "hangs-after"
    SLOW = "slow"
    FOR_EVER = "fails-for-ever"
    LOCKED = "locked"
    STALLS = "stalls"
    LOGGED = "error-logged"
    NEVER_WELL = "never-well"
    HOST_DIES = "host-dies"
    NETWORK_CUT = "network-cut"
    DISK_FULL = "disk-full"
    DIES_STARTED = "conductor-dies-before-effect"
    DIES_GOES_ON = "conductor-dies-effect-goes-on"
    DIES_WITH = "conductor-dies-effect-dies"
    DIES_UNRECORDED = "conductor-dies-unrecorded"
    DIES_RECORDED = "conductor-dies-recorded"
    MOMENT = "latest-moment-in-it"
    AWAY = "conductor-away"
    LATE = "late"
    REFUSED = "refused"
    SKIPPED = "skipped"


MEANING = {
    Kind.FAILS_BEFORE: "it fails, and nothing was done, again and again until it is mended",
    Kind.FAILS_ONCE: "the same, but only once",
    Kind.FAILS_AFTER: "it is done, and the connection is lost before the answer",
    Kind.BROKEN_OFF: "it fails half-way",
    Kind.SAYS_FAILED: "it is done, and reports that it has failed",
    Kind.HANGS: "it is never done, and never answers",
    Kind.HANGS_AFTER: "it is done, and never answers",
    Kind.SLOW: "it takes ten times as long",
    Kind.FOR_EVER: "it fails, nothing was done, and nobody can mend it",
    Kind.STALLS: "a row that belongs to nothing any more is never worked off",
    Kind.LOGGED: "the version that was started has written an error into its log",
    Kind.LOCKED: "somebody else's long transaction holds the lock that it needs",
    Kind.NEVER_WELL: "the version that it starts is never well on that node",
    Kind.HOST_DIES: "its host loses its power in the middle of it",
    Kind.NETWORK_CUT: "its host is cut off from the network in the middle of it",
    Kind.DISK_FULL: "the disk of its host is full when it begins",
    Kind.DIES_STARTED: "the conductor dies when the step is recorded as begun, before its effect",
    Kind.DIES_GOES_ON: "the conductor dies in the middle of it, and what it has asked for goes on to its end",
    Kind.DIES_WITH: "the conductor dies in the middle of it, and what it has asked for dies too",
    Kind.DIES_UNRECORDED: "the conductor dies after the effect, before that is recorded",
    Kind.DIES_RECORDED: "the conductor dies right after the effect was recorded",
    Kind.MOMENT: "the latest safe moment comes in the middle of it",
    Kind.AWAY: "the conductor dies as soon as it has begun, and the next one comes after the latest safe moment",
    Kind.LATE: "nobody answers the gate until after the latest safe moment",
    Kind.REFUSED: "a person refuses the gate",
    Kind.SKIPPED: "a person skips the gate",
}


class Reply(StrEnum):
    """What a person who is asked says."""

    RETRY = "retry"
    """What was broken is mended, and the steps that failed are done again."""
    ABORT = "abort"
    """What was broken is mended, and the run goes back."""
    ABORT_UNMENDED = "abort-unmended"
    """The run goes back with everything as broken as it is."""
    LEAVE = "leave"
    """The run ends where it is."""
    SKIP = "skip"
    """The steps that failed are skipped, with everything as broken as it is."""
    APPROVE = "approve"
    ACCEPT = "accept-skipped"
    """The finalize gate is approved although steps were skipped."""
    REFUSE = "refuse"


Answer = str
"""A `Reply`, or `with-WORD`: the steps that failed are done again with that answer of those that they offer."""

WITH = "with-"

MENDS = frozenset({Reply.RETRY, Reply.ABORT})
"""Before these are answered what was broken is mended."""


OF_THE_SITE: dict[Kind, Fault] = {
    Kind.FAILS_BEFORE: Fault.REFUSED,
    Kind.FAILS_ONCE: Fault.REFUSED,
    Kind.FOR_EVER: Fault.REFUSED,
    Kind.FAILS_AFTER: Fault.ANSWER_LOST,
    Kind.BROKEN_OFF: Fault.BROKEN_OFF,
    Kind.SAYS_FAILED: Fault.SAYS_FAILED,
    Kind.HANGS: Fault.HANGS,
    Kind.HANGS_AFTER: Fault.HANGS_AFTER,
    Kind.SLOW: Fault.SLOW,
    Kind.NEVER_WELL: Fault.UNWELL,
    Kind.HOST_DIES: Fault.HOST_DIES,
    Kind.NETWORK_CUT: Fault.NETWORK_CUT,
    Kind.DISK_FULL: Fault.DISK_FULL,
}
"""What is aimed at the call."""

OF_THE_CONDUCTOR = frozenset(
    {
        Kind.DIES_STARTED,
        Kind.DIES_GOES_ON,
        Kind.DIES_WITH,
        Kind.DIES_UNRECORDED,
        Kind.DIES_RECORDED,
        Kind.AWAY,
    }
)
ONCE = (
    frozenset(
        {
            Kind.FAILS_ONCE,
            Kind.LOCKED,
            Kind.STALLS,
            Kind.LOGGED,
            Kind.HOST_DIES,
            Kind.NETWORK_CUT,
            Kind.DISK_FULL,
        }
    )
    | OF_THE_CONDUCTOR
)
"""These strike one attempt. The others strike every attempt until a person has mended what is wrong."""

OF_A_LOOK = (
    Kind.FAILS_BEFORE, Kind.FAILS_ONCE, Kind.HANGS, Kind.HOST_DIES, Kind.NETWORK_CUT, Kind.DISK_FULL,
    Kind.DIES_STARTED, Kind.DIES_UNRECORDED, Kind.DIES_RECORDED,
)  # fmt: skip
"""What can go wrong with a step that changes nothing: there is no effect to be half done or to be repeated."""

OF_THE_CLOCK = frozenset({Kind.MOMENT, Kind.AWAY, Kind.LATE})
"""These there are only in a window, while it binds the run."""

OF_A_GATE = {Kind.REFUSED: Reply.REFUSE, Kind.SKIPPED: Reply.SKIP}
"""What a person answers at a gate instead of approving it."""

OF_WHAT_IS_THERE = frozenset({Kind.LOCKED, Kind.STALLS, Kind.LOGGED})
"""These are not aimed at a call: the site is like that when the step begins."""

OF_AN_EFFECT = tuple(
    kind
    for kind in Kind
    if kind not in (*OF_A_GATE, *OF_THE_CLOCK, Kind.NEVER_WELL, Kind.FOR_EVER, *OF_WHAT_IS_THERE)
)

OF_A_START = (*OF_AN_EFFECT, Kind.NEVER_WELL)
OF_A_MIGRATION = (*OF_AN_EFFECT, Kind.LOCKED)
OF_A_FLUSH = (*OF_A_LOOK, Kind.STALLS)
OF_A_LOG = (*OF_A_LOOK, Kind.LOGGED)


@dataclass(frozen=True, slots=True, order=True)
class Strike:
    """A fault, and the step that it strikes; of a step with several effects the one at that place, from 0."""

    step: str
    kind: Kind
    call: int = 0

    def __str__(self) -> str:
        return f"{self.step}:{self.kind}{f'@{self.call + 1}' if self.call else ''}"


@dataclass(frozen=True, slots=True)
class Case:
    """Faults, and what is answered to each question in turn. Without faults, a run in which nothing goes wrong."""

    strikes: tuple[Strike, ...]
    replies: tuple[Answer, ...] = ()

    def __str__(self) -> str:
        return ":".join(["+".join(map(str, self.strikes)) or "nothing", *self.replies])


_KINDS = "|".join(sorted(Kind, key=len, reverse=True))
_STRIKE = re.compile(rf"(?P<step>[^:]+):(?P<kind>{_KINDS})(?:@(?P<call>[1-9][0-9]*))?(?P<rest>[+:].*|)")


def parse(text: str) -> Case:
    """The case of that name; `RefusedError` if it is none."""
    strikes: list[Strike] = []
    rest = f"+{text}"
    if text == "nothing" or text.startswith("nothing:"):
        rest = text.removeprefix("nothing")
    while rest.startswith("+"):
        match = _STRIKE.fullmatch(rest[1:])
        if match is None:
            raise _unknown(text)
        strikes.append(Strike(match["step"], Kind(match["kind"]), int(match["call"] or 1) - 1))
        rest = match["rest"]
    try:
        return Case(tuple(strikes), tuple(map(_answer, filter(None, rest.split(":")))))
    except ValueError:
        raise _unknown(text) from None


def _answer(text: str) -> Answer:
    return text if text.startswith(WITH) else Reply(text)


def _unknown(text: str) -> RefusedError:
    return RefusedError(
        f"{text!r} is not the name of a case",
        hint=f"STEP:FAULT, and a reply to each question: app2/start:host-dies:abort; faults are {', '.join(Kind)}",
    )
