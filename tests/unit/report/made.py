"""Small fixed plans, events and ledgers."""

import msgspec

from changeover.engine.events import Claimed, CommandTaken, Created, Event, RunChanged, StepChanged, Verb
from changeover.engine.owner import Owner
from changeover.model.plan import Plan, Stage
from changeover.model.states import RunState, StepState
from changeover.probe.ledger import Ledger
from changeover.probe.records import (
    Answered,
    Change,
    Checked,
    Ended,
    Found,
    Header,
    Kind,
    Outcome,
    Sent,
    SessionChanged,
)
from changeover.probe.summary import Exchange
from tests.enginekit import a_gate, a_plan, a_step

BEGAN = 1_800_000_000.0
OWNER = Owner("ann", "ops1", 411, 1, "boot", "pid")

PLAN = a_plan(
    [a_step("a", summary="do a", estimate=2.0), a_step("b", summary="do b", needs=("a",), estimate=3.0)],
    [a_step("c", summary="do c", estimate=1.0)],
    finalize=[a_gate("finalize/approve"), a_step("d", needs=("finalize/approve",))],
)


def step(name: str, state: StepState, **more: object) -> StepChanged:
    """A step's change of state."""
    return StepChanged(step=name, state=state, **more)  # type: ignore[arg-type]


def history(*moments: tuple[float, Event]) -> list[Event]:
    """Events so many seconds after the beginning, each with the next number."""
    return [
        msgspec.structs.replace(event, seq=number, at=BEGAN + after)
        for number, (after, event) in enumerate(moments, start=1)
    ]


S = StepState
UPGRADED = (
    (0.0, Created(site="identity", plan="p", actor="ann", reason="CHG-1")),
    (0.0, Claimed(epoch=1, owner=OWNER)),
    (1.0, step("a", S.RUNNING, attempt=1)),
    (2.0, step("a", S.PENDING, evidence="not yet", error="StepError")),
    (3.0, step("a", S.RUNNING, attempt=2)),
    (5.0, step("a", S.DONE, evidence="a is there")),
    (6.0, CommandTaken(command=1, verb=Verb.SKIP, actor="bob", step="b", reason="by hand")),
    (6.0, step("b", S.SKIPPED, actor="bob", reason="by hand")),
    (7.0, step("c", S.RUNNING, attempt=1)),
    (10.0, step("c", S.DONE, evidence="c is there")),
    (10.0, step("finalize/approve", S.WAITING)),
    (10.0, RunChanged(state=RunState.WAITING, reason="for a person: finalize/approve")),
)
FINALIZED = (
    *UPGRADED,
    (1000.0, Claimed(epoch=2, owner=OWNER)),
    (1001.0, CommandTaken(command=2, verb=Verb.APPROVE, actor="bob", step="finalize/approve", reason="fine")),
    (1001.0, step("finalize/approve", S.DONE, actor="bob", reason="fine")),
    (1001.0, RunChanged(state=RunState.RUNNING, actor="bob")),
    (1002.0, step("d", S.RUNNING, attempt=1)),
    (1004.0, step("d", S.DONE, evidence="d is there")),
    (1004.0, RunChanged(state=RunState.DONE)),
)


def a_ledger(
    start: float,
    end: float,
    *,
    failed: tuple[float, ...] = (),
    cut: tuple[float, ...] = (),
    missing: tuple[float, ...] = (),
    unverified: tuple[float, ...] = (),
    sessions: int = 1,
    write_rate: float = 1.0,
    late: float = 0.0,
) -> Ledger:
    """A ledger of a write a second over [start, end), seconds after the beginning, all well but for those moments."""
    header = Header(
        run="probe",
        url="http://ann:hidden@10.0.0.1/",
        begin=BEGAN + start,
        rate=1.0,
        write_rate=write_rate,
        sessions=sessions,
        timeout=5.0,
        profile={},
    )
    moments = [start + number for number in range(int(end - start))]
    kind = Kind.WRITE if write_rate else Kind.READ
    exchanges = [
        Exchange(
            Sent(number, BEGAN + at, late, kind, 1, f"w{at:g}"),
            Answered(
                number, 0.01, Outcome.SERVER if at in failed else Outcome.OK, 500 if at in failed else 200
            ),
        )
        for number, at in enumerate(moments)
    ]
    found = dict.fromkeys(missing, Found.MISSING) | dict.fromkeys(unverified, Found.UNVERIFIED)
    return Ledger(
        header,
        exchanges,
        [SessionChanged(BEGAN + at, 1, Change.CUT) for at in cut],
        {f"w{at:g}": Checked(f"w{at:g}", found.get(at, Found.PRESENT)) for at in moments},
        Ended(BEGAN + end, "asked"),
        0,
    )


def with_stages(*stages: Stage) -> Plan:
    """The plan with other stages."""
    return msgspec.structs.replace(PLAN, stages=stages)
