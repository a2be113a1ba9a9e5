"""Which cases of a rehearsal can be brought about on real hosts, and which of them are chosen. Pure."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from changeover.errors import RefusedError
from changeover.model.plan import BACK, Plan, Stage, Step
from changeover.model.site import Site
from changeover.model.states import StepState
from changeover.rehearsal.cases import Case, Kind, Reply, Strike, parse

HALF_WAY = "999_half_way"
"""The name of the migration that the rehearsal adds to those of the release, and lets fail half-way."""

HOW = {
    Kind.HOST_DIES: "its host loses its power",
    Kind.NETWORK_CUT: "the cable of its host is out",
    Kind.HANGS: "its host is frozen",
    Kind.DISK_FULL: "not one block is free on the disk of its host",
    Kind.DIES_STARTED: "SIGKILL for the conductor as soon as the journal says that the step has begun",
    Kind.DIES_RECORDED: "SIGKILL for the conductor as soon as the journal says that the step is done",
    Kind.FAILS_BEFORE: "the application does not start, is not well, or says another version; a migration in a "
    "transaction fails at its second statement",
    Kind.BROKEN_OFF: "a migration without a transaction fails at its second statement",
    Kind.REFUSED: "a person refuses the gate",
}
"""What happens on the lab. The other faults cannot be brought about there at will."""

OF_A_HOST = frozenset({Kind.HOST_DIES, Kind.NETWORK_CUT, Kind.HANGS, Kind.DISK_FULL})
OF_THE_CONDUCTOR = frozenset({Kind.DIES_STARTED, Kind.DIES_RECORDED})

FAULT_FILES = {
    "node.start": ("fail-start", ""),
    "node.health": ("fail-health-after", "0"),
    "node.version": ("wrong-version", "v0"),
}
"""Action → the switch of the lab's application that makes it fail, and what it holds."""

TAKES_ROOM = frozenset({"node.install", "database.snapshot", "database.verify"})

CHOSEN = (
    "{first}/check:conductor-dies-before-effect",
    "{last}/install:disk-full:abort",
    "{database}/snapshot:host-dies:retry",
    "{database}/verify-snapshot:conductor-dies-before-effect",
    "{expand}:network-cut:retry",
    "{half_way}:fails-before:abort",
    "{half_way}:broken-off:abort",
    "{first}/drain:network-cut:retry",
    "{first}/stop:host-dies:abort-unmended:retry",
    "{second}/switch:conductor-dies-before-effect",
    "{second}/start:fails-before:abort",
    "{third}/start:hangs:retry",
    "{last}/enter:conductor-dies-recorded",
    "{first}/verify:host-dies:retry",
    "finalize/approve:refused+back/{third}/start:conductor-dies-before-effect:abort",
    "{contract}:conductor-dies-before-effect",
    "{first}/remove-old:network-cut:retry",
)
"""Every stage of a rolling plan and every fault, in some minutes."""


def candidates(plan: Plan, kinds: Sequence[Kind]) -> list[Case]:
    """Every case of these faults: one of each class of alike steps in each stage, with each answer."""
    found: list[Case] = []
    for stage in _stages(plan):
        seen: set[str] = set()
        for step in stage.steps:
            if step.do.action not in seen:
                seen.add(step.do.action)
                found += _of_step(step, stage, kinds)
        if stage.name == "expand":
            found += _half_way(plan, kinds)
    return [*found, *_on_the_way_back(plan, kinds)]


def chosen(plan: Plan, kinds: Sequence[Kind]) -> list[Case]:
    """Those that are rehearsed unless others are asked for."""
    names = [node.name for node in plan.site.application.nodes]
    change = next(iter(plan.release.migrations), None)
    database = change.database if change else ""
    of = {
        "first": names[0],
        "second": names[1 % len(names)],
        "third": names[2 % len(names)],
        "last": names[-1],
        "database": database,
        "expand": f"{database}/expand/{change.expand[0].name}" if change and change.expand else "",
        "contract": f"{database}/contract/{change.contract[0].name}" if change and change.contract else "",
        "half_way": f"{database}/expand/{HALF_WAY}",
    }
    cases = dict.fromkeys(parse(text.format(**of)) for text in CHOSEN)
    return [case for case in cases if not why_not(case, plan, kinds)]


def select(patterns: Sequence[str], plan: Plan, kinds: Sequence[Kind]) -> list[Case]:
    """The cases of these names, or whose names match these shell patterns; `RefusedError` for one that none does."""
    known = list(dict.fromkeys([*chosen(plan, kinds), *candidates(plan, kinds)]))
    found: dict[Case, None] = {}
    for pattern in patterns:
        matching = [case for case in known if fnmatchcase(str(case), pattern)]
        if not matching:
            case = parse(pattern)
            if why := why_not(case, plan, kinds):
                raise RefusedError(
                    f"{case}: {why}", hint=f"`--cases '*'` is what there is: {len(known)} cases"
                )
            matching = [case]
        found |= dict.fromkeys(matching)
    return list(found)


def why_not(case: Case, plan: Plan, kinds: Sequence[Kind]) -> str:
    """Why the lab cannot play that case; empty if it can."""
    steps = {step.id: step for step in every_step(plan)}
    for strike in case.strikes:
        step = steps.get(strike.step)
        if strike.kind not in kinds:
            return f"the lab cannot bring about {strike.kind}; it can {', '.join(kinds)}"
        if strike.call:
            return "on real hosts a step is struck as a whole, without @"
        if strike.step.endswith(f"/{HALF_WAY}"):
            if strike.kind in (Kind.FAILS_BEFORE, Kind.BROKEN_OFF):
                continue
            return f"{HALF_WAY} is there to fail half-way: {Kind.FAILS_BEFORE} or {Kind.BROKEN_OFF}"
        if step is None:
            return f"the plan has no step {strike.step}"
        if strike.kind not in _kinds_of(step, kinds):
            return f"{strike.kind} means nothing to {step.do.action}"
    return ""


def every_step(plan: Plan) -> Iterator[Step]:
    """Those of the way there, and those that take them back."""
    for step in plan.steps():
        yield step
        yield from step.undo


def host_of(step: Step, site: Site) -> str:
    """The host that the step is at work on: that of its node, or of the balancer or database that it speaks to."""
    target = step.do.target
    if step.do.action == "traffic.check":
        return site.balancer(target).host
    if step.do.action.startswith("traffic."):
        servers = step.do.params.get("servers")
        first = next(iter(servers)) if isinstance(servers, dict) and servers else site.balancers[0].name
        return site.balancer(first).host
    if step.do.action.startswith("database."):
        return site.database(target).host
    return target if step.do.action == "host.check" else site.node(target).host


def struck_at(strike: Strike, plan: Plan) -> tuple[tuple[str, StepState], ...]:
    """As soon as one of these is recorded the fault is brought about.

    A full disk, and what the application is told to do wrong, have to be there before the step begins: the one when its
    room has been looked at, the other while nothing of the application runs. The last look at all nodes is over in no
    time: what it is to see befalls while the last node enters.
    """
    stage, step = next(
        ((stage, step) for stage in plan.stages for step in stage.steps if step.id == strike.step),
        (None, None),
    )
    unit, _, name = strike.step.rpartition("/")
    if strike.kind is Kind.DIES_RECORDED:
        return ((strike.step, StepState.DONE),)
    if strike.kind is Kind.FAILS_BEFORE and name in ("start", "health", "version"):
        return ((f"{unit}/switch", StepState.RUNNING), (strike.step, StepState.RUNNING))
    if strike.kind is Kind.DISK_FULL and step and stage:
        if step.do.action == "node.install":
            return (
                (f"{host_of(step, plan.site)}/host-check", StepState.DONE),
                (strike.step, StepState.RUNNING),
            )
        before = [it for it in plan.steps() if it.do.action == "node.install"]
        gates = [it for it in stage.steps if it.person]
        earlier = (gates[0].id, StepState.DONE) if gates else (before[0].id, StepState.RUNNING)
        return (earlier, (strike.step, StepState.RUNNING))
    if strike.kind in OF_A_HOST and step and step.do.action == "node.verify":
        last = [it.id for it in plan.steps() if it.do.action == "traffic.enter"][-1:]
        return (*((it, StepState.RUNNING) for it in last), (strike.step, StepState.RUNNING))
    return ((strike.step, StepState.RUNNING),)


def half_way(case: Case) -> Kind | None:
    """How the migration that the rehearsal adds is to fail, if the case is one of it."""
    return next((it.kind for it in case.strikes if it.step.endswith(f"/{HALF_WAY}")), None)


def _stages(plan: Plan) -> Iterator[Stage]:
    """Of the batches the first and the last: those between are like them."""
    batches = [stage for stage in plan.stages if stage.batch]
    between = batches[1:-1]
    return (stage for stage in plan.stages if stage not in between)


def _kinds_of(step: Step, kinds: Sequence[Kind]) -> list[Kind]:
    if step.person:
        return [Kind.REFUSED]
    means = [Kind.DIES_STARTED, Kind.DIES_RECORDED, Kind.HOST_DIES, Kind.NETWORK_CUT, Kind.HANGS]
    if step.do.action in TAKES_ROOM:
        means.append(Kind.DISK_FULL)
    if step.do.action in FAULT_FILES:
        means.append(Kind.FAILS_BEFORE)
    return [kind for kind in means if kind in kinds]


def _of_step(step: Step, stage: Stage, kinds: Sequence[Kind]) -> Iterator[Case]:
    for kind in _kinds_of(step, kinds):
        strike = (Strike(step.id, kind),)
        if kind in OF_THE_CONDUCTOR:
            yield Case(strike)
            continue
        if kind is not Kind.REFUSED:
            yield Case(strike, (Reply.RETRY,))
        if not stage.finalize or step.person:
            yield Case(strike, (Reply.ABORT,))
        if kind is Kind.HOST_DIES and not stage.finalize:
            yield Case(strike, (Reply.ABORT_UNMENDED, Reply.RETRY))


def _half_way(plan: Plan, kinds: Sequence[Kind]) -> Iterator[Case]:
    for change in plan.release.migrations:
        step = f"{change.database}/expand/{HALF_WAY}"
        for kind in (Kind.FAILS_BEFORE, Kind.BROKEN_OFF):
            if kind in kinds:
                yield from (Case((Strike(step, kind),), (reply,)) for reply in (Reply.RETRY, Reply.ABORT))


def _on_the_way_back(plan: Plan, kinds: Sequence[Kind]) -> Iterator[Case]:
    """From the very end, at each kind of step of the way back of the first node and of the schema."""
    gate = next(
        (step.id for stage in plan.stages if stage.finalize for step in stage.steps if step.person), ""
    )
    if not gate:
        return
    seen: set[str] = set()
    for step in every_step(plan):
        if not step.id.startswith(BACK) or step.do.action in seen or "contract" in step.id:
            continue
        seen.add(step.do.action)
        for kind in (Kind.DIES_STARTED, Kind.DIES_RECORDED, Kind.HOST_DIES):
            if kind in _kinds_of(step, kinds):
                replies = (Reply.ABORT,) if kind in OF_THE_CONDUCTOR else (Reply.ABORT, Reply.RETRY)
                yield Case((Strike(gate, Kind.REFUSED), Strike(step.id, kind)), replies)
