"""What can go wrong with one call of a port, and how a fault is aimed at one.

    with aimed(Fault.ANSWER_LOST) as aim:
        await action.perform(operation, context)
    aim.hit   # the call that it struck, None if there was none

It strikes only what is called within the block, by whatever tasks: the steps beside it go on untouched.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from changeover.errors import (
    AccessError,
    ApplicationError,
    BalancerError,
    DatabaseError,
    HostError,
    PortError,
)


class Fault(StrEnum):
    """What goes wrong. Where the site does not name the host of a call, only the call is lost with it."""

    REFUSED = "refused"
    """It fails, and nothing was done."""
    BROKEN_OFF = "broken off"
    """It fails in the middle: what it does at once is done, what it does at its end is not."""
    ANSWER_LOST = "answer lost"
    """It is done, and the connection is lost before the answer."""
    SAYS_FAILED = "says failed"
    """It is done, and reports that it has failed."""
    HANGS = "hangs"
    """It is never done, and never answers."""
    HANGS_AFTER = "hangs after"
    """It is done, and never answers."""
    SLOW = "slow"
    """It is done, in ten times the time."""
    HOST_DIES = "host dies"
    """Its host dies in the middle of it."""
    NETWORK_CUT = "network cut"
    """Its host is cut off from the network in the middle of it, and goes on with it."""
    UNWELL = "unwell"
    """It is done; a version that it has started is never well on that node, until another one is or it is mended."""
    DISK_FULL = "disk full"
    """The disk of its host is full when it begins."""


ERRORS: dict[str, type[PortError]] = {
    "host": HostError,
    "balancer": BalancerError,
    "database": DatabaseError,
    "application": ApplicationError,
    "access": AccessError,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a port: `application.start` of `app1` on its host. An effect may change the site, a look not."""

    port: str
    method: str
    target: str
    host: str
    effect: bool = True

    def __str__(self) -> str:
        return f"{self.port}.{self.method} of {self.target}"

    def error(self, message: str, hint: str = "") -> PortError:
        """As this port raises it."""
        return ERRORS[self.port](message, hint=hint)


@dataclass(slots=True)
class Aim:
    """A fault, and what it waits for: the effect after `skip` others, or with `looks` any call.

    `hit` is the call that it has struck: it strikes once.
    """

    fault: Fault
    skip: int = 0
    looks: bool = False
    hit: Call | None = None

    def strikes(self, call: Call) -> Fault | None:
        """The fault, if this is the call."""
        if self.hit or not (call.effect or self.looks):
            return None
        if self.skip:
            self.skip -= 1
            return None
        self.hit = call
        return self.fault


_aim: ContextVar[Aim | None] = ContextVar("aim", default=None)


@contextmanager
def aimed(fault: Fault, *, skip: int = 0, looks: bool = False) -> Iterator[Aim]:
    """Within the block, let the fault strike one call."""
    aim = Aim(fault, skip, looks)
    with aiming(aim):
        yield aim


@contextmanager
def aiming(aim: Aim) -> Iterator[None]:
    """Within the block, ask that aim at every call."""
    token = _aim.set(aim)
    try:
        yield
    finally:
        _aim.reset(token)


def aim() -> Aim | None:
    """What is aimed at the calls made here."""
    return _aim.get()
