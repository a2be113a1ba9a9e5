"""Where a conductor may be made to die, so that tests can prove that nothing is lost there."""

from collections.abc import Callable

Fault = Callable[[str], None]

FAULT_POINTS = (
    "claiming",
    "claimed",
    "started",
    "performing",
    "performed",
    "finishing",
    "appended",
    "finished",
    "obeying",
    "obeyed",
    "renewing",
    "renewed",
    "observed",
    "ending",
)
"""Where `Runner` calls its `fault`, in a run's order. Tests kill the process there.

`started`: that is durable, the effect has not begun. `performing`, `performed`: right before and after the
effect. `finishing`, `finished`: before and after the outcome is durable. `appended`: within the transaction,
before it is committed. `observed`: a step in doubt was looked at. `ending`: at rest, the lease still held.
"""
