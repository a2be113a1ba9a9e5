"""Small values that the rest of the model is made of."""

from enum import StrEnum
from typing import Any

import msgspec

Json = Any
"""What JSON can hold: None, bool, int, float, str, and lists and dicts of these."""


class Value(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The base of every model type: immutable, compared by value, JSON there and back without loss."""


class Secret(Value, frozen=True):
    """Where a secret is found, never the secret itself: exactly one of the three is set.

    `env` names an environment variable of the conductor, `file` a file it can read (surrounding white
    space is dropped), `command` a shell line it runs whose standard output is the secret.
    """

    env: str = ""
    file: str = ""
    command: str = ""

    def __str__(self) -> str:
        """Say where the secret is to be found."""
        kind = next(name for name in ("env", "file", "command") if getattr(self, name))
        return f"{kind}:{getattr(self, kind)}"


class Outcome(StrEnum):
    """What a check came to. *unknown* is never treated as *good*."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


class Verdict(Value, frozen=True):
    """What was checked, what came of it, and the evidence: what was seen, in the words of what said it."""

    subject: str
    outcome: Outcome
    evidence: str
    hint: str = ""

    @property
    def good(self) -> bool:
        """Whether the check passed."""
        return self.outcome is Outcome.GOOD


class Presence(StrEnum):
    """What `observe` says of a step's effect."""

    ABSENT = "absent"
    DONE = "done"
    UNKNOWN = "unknown"


class Observation(Value, frozen=True):
    """Whether a step's effect is there, with the evidence."""

    presence: Presence
    evidence: str

    @property
    def done(self) -> bool:
        """Whether the effect is wholly there."""
        return self.presence is Presence.DONE


def done(evidence: str) -> Observation:
    """The effect is wholly there."""
    return Observation(Presence.DONE, evidence)


def absent(evidence: str) -> Observation:
    """Nothing of the effect is there: performing it from the start is safe."""
    return Observation(Presence.ABSENT, evidence)


def unknown(evidence: str) -> Observation:
    """It cannot be told, or the effect is half there."""
    return Observation(Presence.UNKNOWN, evidence)
