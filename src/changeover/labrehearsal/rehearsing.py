"""Every chosen case on a lab, one after another; a lab of our own where none is up."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from changeover.conductor import Conductor
from changeover.errors import ChangeoverError, RefusedError
from changeover.lab import LabError, find
from changeover.labrehearsal import cases, judging
from changeover.labrehearsal.ground import Ground, whole
from changeover.labrehearsal.interrupting import interruptible
from changeover.labrehearsal.playing import PROGRAM, Seen, play
from changeover.labrehearsal.results import FORMAT, LeftOut, OnHosts, Played
from changeover.labrehearsal.telling import line_of
from changeover.model.plan import Plan
from changeover.rehearsal import Case, End, Finding, Kind, Line
from changeover.rehearsal.tracing import said
from changeover.report.document import Text

Say = Callable[[Text | str], None]

PLACE = "rehearsal"
"""The directory of a lab in which each case leaves its journal, its ledger and its conductor's words."""

OF_OUR_OWN = ("--startup-seconds", "0.3", "--session-idle-seconds", "5")


async def on_hosts(patterns: Sequence[str], say: Say, *, everything: bool = False) -> OnHosts:
    """Play the chosen cases, those that match the patterns, or every one. `Interrupted`, it has cleaned up first."""
    name = os.environ.get("CHANGEOVER_LAB") or "lab"
    try:
        return await interruptible(_on_lab(name, patterns, say, everything=everything))
    except LabError as error:
        raise RefusedError(error.message, hint=error.hint) from error


async def _on_lab(name: str, patterns: Sequence[str], say: Say, *, everything: bool) -> OnHosts:
    begun = time.monotonic()
    async with _ground(name, say) as ground:
        place = ground.lab.directory.path / PLACE
        await whole(shutil.rmtree, place, ignore_errors=True)
        plan = await _plan(ground, place / "plan")
        kinds = ground.kinds if ground.transactional else _without_transactions(ground.kinds)
        known = list(dict.fromkeys([*cases.chosen(plan, kinds), *cases.candidates(plan, kinds)]))
        if everything:
            wanted = known
        elif patterns:
            wanted = cases.select(patterns, plan, kinds)
        else:
            wanted = cases.chosen(plan, kinds)
        say(f"{len(wanted)} cases on lab {name}; what each leaves is in {place}")
        played: list[Played] = []
        findings: list[Finding] = []
        for number, case in enumerate(wanted, start=1):
            one, wrong = await _played(ground, case, place / f"{number:03}", plan)
            played.append(one)
            findings += wrong
            say(line_of(one))
            for finding in wrong:
                say(f"  {finding.rule}: {finding.what}")
        return OnHosts(
            format=FORMAT,
            site=plan.site.name,
            lab=name,
            form=str(ground.layout.form),
            plan=plan.digest(),
            from_version=plan.release.from_version,
            to_version=plan.release.to_version,
            nodes=len(plan.site.application.nodes),
            stages=tuple(stage.name for stage in plan.stages),
            cases=tuple(played),
            left_out=tuple(_left_out(plan, [case for case in known if case not in wanted])),
            beyond=tuple(str(kind) for kind in Kind if kind not in kinds),
            findings=tuple(findings),
            took=round(time.monotonic() - begun, 1),
        )


async def _played(ground: Ground, case: Case, directory: Path, plan: Plan) -> tuple[Played, list[Finding]]:
    stage = stage_of(case, plan)
    begun = time.monotonic()
    try:
        seen = await play(ground, case, directory)
    except (LabError, ChangeoverError, OSError, TimeoutError) as error:
        told = f"{type(error).__name__}: {getattr(error, 'message', '') or error}"
        took = round(time.monotonic() - begun, 1)
        failed = Played(str(case), stage, End.FINDING, (), 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, took)
        return failed, [Finding(str(case), "the case can be played", told, 0.0)]
    wrong = judging.findings(seen)
    lines = tuple(_trace(seen))
    cost = seen.book.summary()
    lost, given_up = judging.missing(seen)
    one = Played(
        case=str(case),
        stage=stage,
        end=End.FINDING if wrong else judging.end_of(seen),
        befell=tuple(text for _, text in seen.struck),
        asked=len(seen.questions) - seen.upgraded,
        in_rotation=min((it.up for it in seen.samples if it.servers), default=0),
        requests_failed=cost.requests.failed,
        sessions_cut=cost.sessions.cut,
        writes_acknowledged=cost.writes.acknowledged,
        writes_lost=lost,
        writes_given_up=given_up,
        gap=round(cost.longest_gap, 2),
        way_back=round(judging.back(seen), 1),
        took=round(seen.took, 1),
        trace=lines,
    )
    return one, [
        Finding(str(case), rule, what, lines[-1].at if lines else 0.0, trace=lines) for rule, what in wrong
    ]


def stage_of(case: Case, plan: Plan) -> str:
    """The stage of its first fault."""
    first = case.strikes[0].step
    for stage in plan.stages:
        if any(step.id == first for step in stage.steps):
            return stage.name
    return "expand" if first.endswith(f"/{cases.HALF_WAY}") else plan.stages[-1].name


def _left_out(plan: Plan, left: Sequence[Case]) -> list[LeftOut]:
    stages: dict[str, list[str]] = {}
    for case in left:
        stages.setdefault(stage_of(case, plan), []).append(str(case))
    return [LeftOut(stage, tuple(names)) for stage, names in stages.items()]


def _without_transactions(kinds: Sequence[Kind]) -> tuple[Kind, ...]:
    """A server that commits each change of the schema leaves half a migration in any case."""
    return tuple(kind for kind in kinds if kind is not Kind.FAILS_BEFORE)


def _trace(seen: Seen) -> list[Line]:
    """Events and faults, in seconds since the run began."""
    if not seen.events:
        return []
    lines = [(event.at, said(event)) for event in seen.events]
    lines += [(at, f"struck: {text}" if "asked:" not in text else text) for at, text in seen.struck]
    return [Line(round(at - seen.events[0].at, 2), text) for at, text in sorted(lines)]


async def _plan(ground: Ground, directory: Path) -> Plan:
    """The plan of the lab as it is at first, by which cases are chosen; each case makes its own."""
    await whole(ground.reset)
    file = await whole(ground.write_file, directory, None)
    conductor = Conductor.from_file(file, journal=str(directory / "journal.db"))
    try:
        return await conductor.plan()
    finally:
        await conductor.close()


@asynccontextmanager
async def _ground(name: str, say: Say) -> AsyncIterator[Ground]:
    """The lab of that name, left as new; brought up, and taken down again, if there is none."""
    try:
        lab = find(name)
        ours = False
    except LabError:
        say(f"no lab {name!r} is up: one is brought up, and taken down at the end")
        await _lab("up", "--name", name, *OF_OUR_OWN)
        lab = find(name)
        ours = True
    else:
        say(f"lab {name} is used: it is put back to its first state before each case and at the end")
    try:
        with lab.directory.locked("rehearsing on it"), Ground(lab).entered():
            ground = Ground(lab)
            try:
                yield ground
            finally:
                if not ours:
                    await whole(ground.reset)
    finally:
        if ours:
            await _lab("down", "--name", name)


async def _lab(*command: str) -> None:
    """A command of the lab, which cleans up after itself when it is interrupted."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "lab", *command, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    if code:
        raise RefusedError(f"`changeover lab {' '.join(command)}` ended with {code}", hint="it has said why")
