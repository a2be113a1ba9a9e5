"""What the ledger holds: one header, then records in the order in which things happened."""

from collections import Counter
from enum import StrEnum
from typing import Any

import msgspec

FORMAT = 1

_GATEWAY_HEARD_NOTHING = (502, 504)
"""A gateway's word that it got no valid answer from the server behind it (RFC 9110, 15.6.3 and 15.6.5)."""


class Kind(StrEnum):
    """What a request was for."""

    READ = "read"
    LOGIN = "login"
    USE = "use"
    LOGOUT = "logout"
    WRITE = "write"


class Outcome(StrEnum):
    """What became of a request; all but `OK` are failures, each for its reason."""

    OK = "ok"
    CONNECT = "connect"  # no connection came about: the request was never sent
    TIMEOUT = "timeout"  # no whole answer within the time limit
    RESET = "reset"  # the connection ended, or spoke no HTTP, before the whole answer had come
    SERVER = "5xx"
    STATUS = "status"  # a status that was not expected
    CONTENT = "content"  # the right status, without the text that had to be in it


class Change(StrEnum):
    """What happened to a session."""

    OPENED = "opened"
    ENDED = "ended"  # by the visitor, as planned
    CUT = "cut"  # by the site


class Found(StrEnum):
    """What became of a write, asked afterwards."""

    PRESENT = "present"
    MISSING = "missing"
    UNVERIFIED = "unverified"  # the site did not say


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: enough to understand the ledger, and to verify its writes, with nothing else at hand."""

    changeover_probe: int = FORMAT
    run: str
    url: str
    begin: float
    rate: float
    write_rate: float
    sessions: int
    timeout: float
    profile: dict[str, Any]


class Sent(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A request left at `due + late` (epoch seconds); it belongs to `due`, when the schedule wanted it."""

    number: int
    due: float
    late: float
    kind: Kind
    session: int = 0
    id: str = ""


class Answered(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """Request `number` ended `took` seconds after it was due; status 0 means that there was none."""

    number: int
    took: float
    outcome: Outcome
    status: int = 0

    @property
    def undecided(self) -> bool:
        """For a write: nobody who knows has answered, so it may have happened or not."""
        return self.outcome in (Outcome.TIMEOUT, Outcome.RESET) or self.status in _GATEWAY_HEARD_NOTHING


class SessionChanged(msgspec.Struct, frozen=True, array_like=True, tag="x"):
    """A session opened, ended or was cut, as the answer to the request due at that moment showed."""

    due: float
    session: int
    change: Change
    how: str = ""


class Checked(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    """The write `id` was looked for; the last such record counts."""

    id: str
    found: Found
    status: int = 0


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """The schedule stopped at this moment, and why."""

    at: float
    why: str


Tally = Counter[Kind | Outcome | Change | Found]
"""How often each has happened so far."""

Record = Sent | Answered | SessionChanged | Checked | Ended
