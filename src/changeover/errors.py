"""Everything Changeover raises on purpose.

    ChangeoverError                 says what happened and what to do next
    ├── SpecError                   the operator's input is wrong: file, line, key, what was expected
    ├── RefusedError                a rule forbids it: site changed, lock held, floor broken, not allowed now
    │   ├── LockedError             another run holds the site: who, why, since when
    │   └── StaleError              the site is no longer what the plan was made from
    ├── JournalError                the journal cannot be read or written
    │   └── FencedError             another conductor owns the run now; stop at once
    ├── LedgerError                 the probe's ledger cannot be read or written
    ├── StepError                   an action did not reach its goal; the evidence says how far it came
    │   ├── StepTimeoutError        not within its time limit
    │   └── BrokenOffError          the clock broke it off: no more time than for the way back was left
    └── PortError                   the world outside did not answer as its contract says
        ├── HostError               a host: unreachable, refused, key unknown
        │   ├── CommandError        a command ended with an exit status that was not expected
        │   └── NobodyListensError  a connection was refused at the other end: no network is to blame
        ├── BalancerError           a balancer: unreachable, refused, or it reports another state
        ├── DatabaseError           a database: unreachable, refused
        │   └── LockTimeoutError    a lock was not to be had within the declared time; safe to try again
        ├── ApplicationError        a capability: missing binding, unexpected answer
        │   └── BusyError           the same was still at work there; it has ended, and nothing was begun
        ├── AccessError             an access gate: no packet filter, no rights, or it reports another state
        └── NotifierError           people could not be told: nobody took the message

The exit code that the terminal returns for each is in `changeover.cli`.
"""

__all__ = [
    "AccessError",
    "ApplicationError",
    "BalancerError",
    "BrokenOffError",
    "BusyError",
    "ChangeoverError",
    "CommandError",
    "DatabaseError",
    "FencedError",
    "HostError",
    "JournalError",
    "LedgerError",
    "LockTimeoutError",
    "LockedError",
    "NobodyListensError",
    "NotifierError",
    "PortError",
    "RefusedError",
    "SpecError",
    "StaleError",
    "StepError",
    "StepTimeoutError",
]


class ChangeoverError(Exception):
    """The base of all errors; `hint` tells the operator what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SpecError(ChangeoverError):
    """The operator's input is wrong."""


class RefusedError(ChangeoverError):
    """A rule forbids what was asked, and nothing was changed."""


class LockedError(RefusedError):
    """Another run holds the site."""


class StaleError(RefusedError):
    """The site differs from the facts that the plan was made from."""


class JournalError(ChangeoverError):
    """The journal cannot be read or written."""


class FencedError(JournalError):
    """Another conductor owns the run: this one has lost its epoch."""


class LedgerError(ChangeoverError):
    """The probe's ledger cannot be read or written."""


class StepError(ChangeoverError):
    """An action did not reach its goal."""


class StepTimeoutError(StepError):
    """An action did not reach its goal within its time limit."""


class BrokenOffError(StepError):
    """An action was broken off while it was under way: it may be half done."""


class PortError(ChangeoverError):
    """Something outside did not answer as its port's contract says."""


class HostError(PortError):
    """A host is unreachable, refuses us, or is not who it should be."""


class CommandError(HostError):
    """A command ended with an exit status that was not expected."""


class NobodyListensError(HostError):
    """A host was asked to connect somewhere, and was refused there."""


class BalancerError(PortError):
    """A balancer is unreachable, refuses a command, or reports another state than the one set."""


class DatabaseError(PortError):
    """A database is unreachable or refuses a statement."""


class LockTimeoutError(DatabaseError):
    """A lock was not granted within the declared time; nothing was changed, so it may be tried again."""


class ApplicationError(PortError):
    """A capability has no binding, or answered what its binding does not allow."""


class BusyError(ApplicationError):
    """What was begun before was still at work; it has ended meanwhile, and nothing was begun. Look what it left."""


class AccessError(PortError):
    """An access gate cannot be closed or opened, or its host reports another state than the one set."""


class NotifierError(PortError):
    """A message to people was not taken by whoever delivers it. Its text holds no part of the address."""
