"""Whether a case ended as it may: done, back where it began, or stopped safely. Pure.

What a broken host costs is no fault of the run, from when it broke until a while after it was mended: requests and
sessions then, and for the floor a node that the run has not taken out itself. A write that was acknowledged is lost by
nothing but a restore that a person agreed to, and then only if it came after the snapshot.
"""

from collections.abc import Iterator
from itertools import pairwise

from changeover.engine.events import FallbackBegun, StepChanged
from changeover.interlocks import floors
from changeover.labrehearsal.cases import OF_THE_CONDUCTOR
from changeover.labrehearsal.ground import Sample
from changeover.labrehearsal.playing import Excuse, Seen
from changeover.model.states import RunState, StepState
from changeover.probe.records import Found, Kind
from changeover.rehearsal import End
from changeover.rehearsal.allowed import kept_snapshots, not_applied, restored_from

Wrong = tuple[str, str]
"""A rule that did not hold, and how."""


def end_of(seen: Seen) -> End:
    """How the case ended, if nothing is wrong with it."""
    if seen.upgraded:
        return End.DONE
    if seen.status.state is RunState.FELL_BACK or not _differences(seen):
        return End.FELL_BACK
    return End.STOPPED


def findings(seen: Seen) -> list[Wrong]:
    """Everything that is wrong with it."""
    return [
        *seen.wrong,
        *_ended(seen),
        *_repeated(seen),
        *_below_the_floor(seen),
        *_taken_out(seen),
        *_lost(seen),
    ]


def back(seen: Seen) -> float:
    """How many seconds the way back took, those in which a person was waited for included."""
    begun = next((event.at for event in seen.events if isinstance(event, FallbackBegun)), 0.0)
    return seen.events[-1].at - begun if begun and seen.status.state is RunState.FELL_BACK else 0.0


def missing(seen: Seen) -> tuple[int, int]:
    """How many acknowledged writes are not there: lost, and given up by a person who agreed to a restore."""
    since = _restored_since(seen)
    gone = [
        exchange.sent.due + (exchange.answer.took if exchange.answer else 0.0)
        for exchange in seen.book.exchanges
        if exchange.sent.kind is Kind.WRITE and exchange.ok
        and (check := seen.book.checks.get(exchange.sent.id)) and check.found is Found.MISSING
    ]  # fmt: skip
    lost = sum(at < since for at in gone)
    return lost, len(gone) - lost


def _ended(seen: Seen) -> Iterator[Wrong]:
    status = seen.status
    if status.in_flight:
        yield "nothing is in flight", f"{status.in_flight} steps are"
    if seen.upgraded:
        if left := list(_unfinished(seen)):
            yield "done is done", "; ".join(left)
    elif status.state is RunState.FELL_BACK:
        if differs := _differences(seen):
            yield "fell back to where it began", "; ".join(differs)
    elif not status.ended:
        _, question = seen.questions[-1] if seen.questions else (0.0, None)
        if question is None or not question.text.strip():
            yield "a person is told why", f"the run is {status.state} without a reason"
        elif not question.replies:
            yield "there is a way on", f"nothing can be answered to: {question.text}"


def _unfinished(seen: Seen) -> Iterator[str]:
    release = seen.plan.release
    for node in seen.plan.site.application.nodes:
        for what, wanted in (("runs", release.to_version), ("would start", release.to_version)):
            if seen.after[f"{node.name} {what}"] != wanted:
                yield f"{node.name} {what} {seen.after[f'{node.name} {what}']}"
        said = str(seen.after.get(f"{node.name} at the balancer"))
        if not said.startswith("UP"):
            yield f"{node.name} is {said} at the balancer"
    done = [
        step
        for step in seen.plan.steps()
        if step.id in seen.status.steps and seen.status.steps[step.id].state is StepState.DONE
    ]
    applied = seen.after["ledger"] if isinstance(seen.after["ledger"], list) else []
    yield from not_applied(seen.plan, done, {it.database: applied for it in release.migrations})


def _differences(seen: Seen) -> list[str]:
    """Field by field; the snapshot of a database that was changed is kept."""
    kept = {f"/{label}" for _, label in kept_snapshots(seen.status)}
    found: list[str] = []
    for field in sorted(seen.before.keys() | seen.after.keys()):
        was, now = seen.before.get(field), seen.after.get(field)
        if field == "snapshots" and isinstance(now, list):
            now = [path for path in now if not any(path.endswith(label) for label in kept)]
        if was != now:
            found.append(f"{field}: {was}, now {now}")
    return found


def _repeated(seen: Seen) -> Iterator[Wrong]:
    """By the journal; and by what the application logged, where no host was broken that forgets its log."""
    done: set[str] = set()
    for event in seen.events:
        if not isinstance(event, StepChanged):
            continue
        if event.state is StepState.RUNNING and event.step in done:
            yield "no finished step is repeated", f"{event.step} began again after it was done"
        elif event.state is StepState.DONE:
            done.add(event.step)
    if seen.upgraded and all(strike.kind in OF_THE_CONDUCTOR for strike in seen.case.strikes):
        for node, times in seen.starts.items():
            if times != 1:
                yield "no finished step is repeated", f"{node} has come up as the new version {times} times"


def _below_the_floor(seen: Seen) -> Iterator[Wrong]:
    floor = min(floors(seen.plan).values(), default=0)
    central = {it.host for it in seen.plan.site.balancers} | {it.host for it in seen.plan.site.databases}
    for sample in seen.samples:
        excused = [it for it in seen.excuses if it.since <= sample.at <= it.until]
        if not sample.servers or any(it.host in central for it in excused) or _agreed_outage(seen, sample):
            continue
        counted = sample.up + sum(
            _not_ours(node, word, excused, seen) for node, word in sample.servers.items()
        )
        if counted < floor:
            words = ", ".join(f"{node} {word}" for node, word in sample.servers.items())
            yield "capacity floor", f"{counted} in rotation, the floor is {floor}: {words}"
            return


def _taken_out(seen: Seen) -> Iterator[Wrong]:
    """Whatever is broken: nobody is taken out while fewer than the floor are left."""
    floor = min(floors(seen.plan).values(), default=0)
    for before, after in pairwise(seen.samples):
        if before.up - 1 >= floor or after.up >= floor or _agreed_outage(seen, after):
            continue
        for node, word in after.servers.items():
            if before.servers.get(node, "").startswith("UP") and word.startswith(("DRAIN", "MAINT")):
                yield "capacity floor", f"{node} was taken out, which leaves {after.up}; the floor is {floor}"


def _not_ours(node: str, word: str, excused: list[Excuse], seen: Seen) -> bool:
    """Whether it is down because its host is broken, and nobody has taken it out."""
    host = seen.plan.site.node(node).host
    return word.startswith("DOWN") and any(it.host == host for it in excused)


def _agreed_outage(seen: Seen, sample: Sample) -> bool:
    """Whether a stage was at work then in which a person has agreed that nobody is served."""
    steps = {step.id for stage in seen.status.plan.stages if stage.outage for step in stage.steps}
    at = [event.at for event in seen.events if isinstance(event, StepChanged) and event.step in steps]
    return bool(at) and at[0] <= sample.at <= at[-1]


def _lost(seen: Seen) -> Iterator[Wrong]:
    book = seen.book
    cost = book.summary()
    since = _restored_since(seen)
    if not cost.writes.acknowledged:
        yield "nothing is lost", "no write was acknowledged, so that nothing can be said"
    gone, _ = missing(seen)
    if gone:
        yield "no acknowledged write is lost", f"{gone} of {cost.writes.acknowledged} are not there"
    if cost.writes.unverified:
        yield "no acknowledged write is lost", f"{cost.writes.unverified} could not be looked for"
    if seen.excuses or since < float("inf"):
        return
    if cost.requests.failed:
        yield "nobody notices", f"{cost.requests.failed} requests failed: {cost.requests.failures}"
    if cost.sessions.cut:
        yield "nobody notices", f"{cost.sessions.cut} sessions were cut"


def _restored_since(seen: Seen) -> float:
    """From when on a restore was said to lose what was written: when its snapshot was begun."""
    if not any(
        step.do.action == "database.restore" and seen.status.steps[step.id].attempt
        for step in seen.status.plan.steps()
    ):
        return float("inf")
    taken = {step.id for step in restored_from(seen.plan, seen.status)}
    begun = [
        event.at
        for event in seen.events
        if isinstance(event, StepChanged) and event.step in taken and event.state is StepState.RUNNING
    ]
    return min(begun, default=float("inf"))
