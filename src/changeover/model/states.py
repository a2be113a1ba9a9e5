"""The states of a step and of a run, and the only ways from one to another."""

from enum import StrEnum


class StepState(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    IN_DOUBT = "in doubt"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FELL_BACK = "fell back"
    DONE = "done"


S, R = StepState, RunState

STEP_TRANSITIONS: dict[tuple[StepState, StepState], str] = {
    (S.PENDING, S.RUNNING): "everything it needs is done, and its limits have room",
    (S.PENDING, S.WAITING): "it is a gate for a person, and everything before it is done",
    (S.PENDING, S.SKIPPED): "a person skipped it, or its node was set aside within the failure budget",
    (S.RUNNING, S.DONE): "it was performed, and observing it afterwards confirmed it",
    (S.RUNNING, S.FAILED): "it was tried as often as the plan allows",
    (S.RUNNING, S.PENDING): "an attempt failed and another is allowed",
    (S.RUNNING, S.IN_DOUBT): "the conductor ended while it was in flight, or it ended and cannot be observed",
    (S.WAITING, S.DONE): "a person approved",
    (S.WAITING, S.FAILED): "a person refused",
    (S.WAITING, S.SKIPPED): "a person skipped the gate, with a reason",
    (S.IN_DOUBT, S.DONE): "observed: its effect is there",
    (S.IN_DOUBT, S.PENDING): "observed: nothing of its effect is there",
    (S.IN_DOUBT, S.FAILED): "observed: it cannot be told, so a person decides",
    (S.FAILED, S.PENDING): "a person said to do it again",
    (S.FAILED, S.SKIPPED): "a person skipped it, or its node was set aside within the failure budget",
    (S.SKIPPED, S.SKIPPED): "it was set aside with its unit, and a person accepted that, with a reason",
    (S.SKIPPED, S.PENDING): "a person addressed it: it is done after all",
}

RUN_TRANSITIONS: dict[tuple[RunState, RunState], str] = {
    (R.RUNNING, R.PAUSED): "a person paused it; what is in flight finishes",
    (R.RUNNING, R.WAITING): "only a gate for a person is left to do",
    (R.RUNNING, R.STOPPED): "a step failed, and nothing may be launched until a person decides",
    (R.RUNNING, R.ABORTED): "a person ended it; the site stays where it is",
    (R.RUNNING, R.FELL_BACK): "every step of the way back is done or skipped",
    (R.RUNNING, R.DONE): "every step is done or skipped",
    (R.PAUSED, R.RUNNING): "a person continued it",
    (R.PAUSED, R.ABORTED): "a person ended it",
    (R.PAUSED, R.STOPPED): "a step that was in flight failed, or the latest safe moment came",
    (R.WAITING, R.RUNNING): "a person approved, refused or skipped",
    (R.WAITING, R.PAUSED): "a person paused it",
    (R.WAITING, R.STOPPED): "a person refused the gate, or the latest safe moment came",
    (R.WAITING, R.ABORTED): "a person ended it",
    (R.STOPPED, R.RUNNING): "a person retried or skipped what had failed",
    (R.STOPPED, R.STOPPED): "its latest safe moment came while it was stopped for another reason",
    (R.STOPPED, R.PAUSED): "a person paused it before deciding on what had failed",
    (R.STOPPED, R.ABORTED): "a person ended it",
}

ENDED = frozenset({R.ABORTED, R.FELL_BACK, R.DONE})
"""A run in one of these no longer holds its site."""

SATISFIED = frozenset({S.DONE, S.SKIPPED})
"""A step in one of these lets those that need it go on."""
