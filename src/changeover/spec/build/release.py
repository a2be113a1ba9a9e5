"""The release: batches, gates, limits and migrations, held against the site they are for."""

from collections.abc import Mapping, Sequence

import msgspec

from changeover.model.release import (
    Ability,
    Batch,
    Budgets,
    Cause,
    Coexistence,
    CommandMigration,
    Expectation,
    Fallback,
    Flush,
    Gate,
    Limits,
    Migrations,
    Release,
    SqlMigration,
)
from changeover.model.site import Site
from changeover.spec.build.files import build_kept, build_logs, build_properties, check_files
from changeover.spec.build.timing import build_duties, build_people, build_window, check_people
from changeover.spec.located import Text
from changeover.spec.migrations import SqlFiles
from changeover.spec.problems import Problems
from changeover.spec.sections import upgrade as written

_BOTH = (
    "install",
    "snapshot",
    "verify_snapshot",
    "migrate",
    "stop",
    "switch",
    "start",
    "health",
    "version",
    "enter",
    "restore",
    "flush",
    "clean",
    "build",
    "test",
    "keep",
    "log",
    "access",
)
TIMEOUTS = (*_BOTH, "pool_check")
FULL_STOP = (
    "install",
    "flush",
    "stop",
    "snapshot",
    "keep",
    "clean",
    "migrate",
    "switch",
    "start",
    "resume",
)
"""The stages of a full stop that a way back may take otherwise than by undoing them."""

ESTIMATES = (*_BOTH, "drain", "sign_off")
_ESCALATIONS = {"ask": "stop", "wait": "wait", "cut": "cut"}


def build_release(
    upgrade: written.Upgrade,
    site: Site | None,
    needed: Mapping[str, Sequence[str]],
    files: SqlFiles,
    problems: Problems,
) -> Release:
    """The model's release. Without a site only what the release says by itself is looked at."""
    if upgrade.from_version == upgrade.to_version:
        problems.add(upgrade.where("to"), "this is the version to upgrade from")
    if upgrade.strategy not in needed:
        problems.unknown(upgrade.strategy.place, "there is no such strategy", upgrade.strategy, needed)
    for name in upgrade.timeouts:
        if name not in TIMEOUTS:
            problems.unknown(name.place, "there is no such timeout", name, TIMEOUTS)
    for name in upgrade.estimates:
        if name not in ESTIMATES:
            problems.unknown(name.place, "there is no such estimate", name, ESTIMATES)
    _refuse_twins(upgrade.gates, problems)
    check_files(upgrade, site, problems)
    _refuse_twice(upgrade.sign_off, problems)
    if upgrade.strategy in needed and upgrade.strategy != "rolling":
        _refuse_what_rolls(upgrade, problems)
    if site:
        _check_expectations(upgrade, site, problems)
        if upgrade.strategy == "rolling":
            _check_floor(upgrade, len(site.application.nodes), problems)
            _check_gates(upgrade, len(site.application.nodes), problems)
        _check_fallback(upgrade, site, problems)
    window, people = build_window(upgrade.window, problems), build_people(upgrade.people)
    check_people([*upgrade.sign_off, *(who for gate in upgrade.gates for who in gate.who)], people, problems)
    limits, budget = upgrade.limits, upgrade.failure_budget
    return Release(
        from_version=str(upgrade.from_version),
        to_version=str(upgrade.to_version),
        strategy=str(upgrade.strategy),
        batches=tuple(upgrade.batches),
        keep_serving=upgrade.keep_serving,
        gates=tuple(
            Gate(
                after=str(gate.after),
                approve=gate.approve,
                hold=gate.hold or gate.wait or 0.0,
                who=tuple(map(str, gate.who)),
            )
            for gate in upgrade.gates
        ),
        budgets=Budgets(batch=budget.batch, total=budget.total, consecutive=budget.consecutive),
        limits=Limits(
            install=limits.install,
            timeouts={str(name): seconds for name, seconds in upgrade.timeouts.items()},
            drain=limits.drain,
            drain_escalation=_ESCALATIONS[limits.drain_escalation],
            quiet=limits.quiet,
            disk_free=limits.disk_free,
            clock_skew=limits.clock_skew,
        ),
        migrations=tuple(
            _migrations(name, section, site, files, problems) for name, section in upgrade.migrations.items()
        ),
        variables={str(name): str(value) for name, value in upgrade.variables.items()},
        coexistence=Coexistence(
            old_on_new=Ability(upgrade.coexistence.old_on_new_schema),
            new_on_old=Ability(upgrade.coexistence.new_on_old_schema),
            together=upgrade.coexistence.together,
        ),
        fallback=Fallback(
            when=frozenset(map(Cause, upgrade.fallback.when)),
            deadline=upgrade.fallback.deadline or 0.0,
            stages={str(name): direction for name, direction in upgrade.fallback.stages.items()},
        ),
        estimates={str(name): seconds for name, seconds in upgrade.estimates.items()},
        expectations=tuple(Expectation(str(ask), str(answer)) for ask, answer in upgrade.expect.items()),
        flush=Flush(stall=upgrade.flush.stall, poll=upgrade.flush.poll),
        kept=build_kept(upgrade),
        properties=build_properties(upgrade),
        logs=build_logs(upgrade),
        sign_off=tuple(map(str, upgrade.sign_off)),
        afterwards=tuple(map(str, upgrade.afterwards)),
        window=window,
        duties=build_duties(upgrade.schedule, window, people, problems, windowed=upgrade.window is not None),
        people=people,
        channel=str(upgrade.channel or ""),
    )


def sizes(batches: Sequence[Batch], total: int) -> list[int]:
    """How many nodes each batch takes: the declared sizes in turn, the last one repeated until none is left."""
    found: list[int] = []
    while (left := total - sum(found)) > 0:
        found.append(min(left, batches[min(len(found), len(batches) - 1)].of(total)))
    return found


def gated_stages(batches: Sequence[Batch], gated: Sequence[str], total: int) -> list[str]:
    """The stages that a gate can follow: the batches, by the names that rolling gives them, and verify."""
    first = "canary" if "canary" in gated or len(batches) > 1 else "batch-1"
    count = len(sizes(batches, total))
    return [first, *(f"batch-{number}" for number in range(2, count + 1)), "verify"]


def _check_floor(upgrade: written.Upgrade, total: int, problems: Problems) -> None:
    if total == 1 and not upgrade.given("keep_serving"):
        what = "the only node cannot serve while it is upgraded: accept that with `keep_serving: 0`"
        problems.add(upgrade.where("keep_serving"), what)
        return
    if upgrade.keep_serving >= total > 0:
        what = f"with {total} nodes at most {total - 1} can keep serving while one is upgraded"
        problems.add(upgrade.where("keep_serving"), what)
        return
    for number, size in enumerate(sizes(upgrade.batches, total), start=1):
        if total - size < upgrade.keep_serving:
            what = f"batch {number} takes {size} of {total} nodes, and keep_serving is {upgrade.keep_serving}"
            problems.add(upgrade.where("batches"), what)


def _refuse_twins(gates: Sequence[written.Gate], problems: Problems) -> None:
    taken: dict[str, int] = {}
    for gate in gates:
        if gate.after in taken:
            what = f"a gate after {gate.after} is in line {taken[gate.after]} already: one gate can both wait and need approval"
            problems.add(gate.after.place, what)
        taken.setdefault(str(gate.after), gate.after.place.line)


def _check_gates(upgrade: written.Upgrade, total: int, problems: Problems) -> None:
    stages = gated_stages(upgrade.batches, [gate.after for gate in upgrade.gates], total)
    for gate in upgrade.gates:
        if total and gate.after not in stages:
            problems.unknown(gate.after.place, "no such stage can have a gate", gate.after, stages)


def window_stages(site: Site) -> list[str]:
    """The stages of a window that can be taken back."""
    others = (node.name for node in site.application.nodes if node != site.head)
    before = ["prepare", "window", "close", "stop", "backup", "migrate"]
    return [*before, *(f"node-{name}" for name in (site.head.name, *others)), "enter", "open"]


def _check_expectations(upgrade: written.Upgrade, site: Site, problems: Problems) -> None:
    bound = site.application.capabilities
    for ask in upgrade.expect:
        if ask not in bound:
            problems.unknown(ask.place, f"{ask} has no binding", ask, bound)


def _refuse_what_rolls(upgrade: written.Upgrade, problems: Problems) -> None:
    for name in ("batches", "gates"):
        if upgrade.given(name):
            problems.add(upgrade.where(name), f"only rolling has {name}; {upgrade.strategy} stops every node")


def _refuse_twice(names: Sequence[Text], problems: Problems) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            problems.add(name.place, f"{name} is named twice")


def _check_fallback(upgrade: written.Upgrade, site: Site, problems: Problems) -> None:
    """The stages are those of the plan, finalize aside, and a deadline is given where it is to begin the way back."""
    if upgrade.strategy == "window":
        stages = window_stages(site)
    elif upgrade.strategy == "full-stop":
        stages = list(FULL_STOP)
    else:
        gated = [gate.after for gate in upgrade.gates]
        total = len(site.application.nodes)
        stages = ["install", "snapshot", "expand", *gated_stages(upgrade.batches, gated, total)]
    for name in upgrade.fallback.stages:
        if name not in stages:
            problems.unknown(name.place, "no such stage can be taken back", name, stages)
    if ("deadline" in upgrade.fallback.when) != (upgrade.fallback.deadline is not None):
        problems.add(
            upgrade.fallback.place, "`deadline: 2h` and `when: [deadline]` are given together or not at all"
        )


def _migrations(
    name: Text, section: written.Migrations, site: Site | None, files: SqlFiles, problems: Problems
) -> Migrations:
    databases = {database.name: database for database in site.databases} if site else {}
    if site and name not in databases:
        problems.unknown(name.place, f"there is no database {name}", name, databases)
    whole = name not in databases or databases[name].transactional
    taken: set[str] = set()
    return Migrations(
        database=str(name),
        expand=_phase(section.expand, site, files, taken, problems, whole=whole),
        contract=_phase(section.contract, site, files, taken, problems, whole=whole),
        lock_timeout=section.lock_timeout,
        attempts=section.attempts,
        retry_wait=section.retry_wait,
    )


def _phase(
    entries: Sequence[Text | written.CommandMigration],
    site: Site | None,
    files: SqlFiles,
    taken: set[str],
    problems: Problems,
    *,
    whole: bool,
) -> tuple[SqlMigration | CommandMigration, ...]:
    """The migrations in their order. `whole`: the database runs a file in one transaction, unless that says not to."""
    found: list[SqlMigration | CommandMigration] = []
    for entry in entries:
        new = _sql(files, entry, whole) if isinstance(entry, Text) else [_command(entry, site, problems)]
        for migration in new:
            if migration.name in taken:
                problems.add(entry.place, f"another migration of this database is named {migration.name}")
            taken.add(migration.name)
        found += new
    return tuple(found)


def _sql(files: SqlFiles, entry: Text, whole: bool) -> list[SqlMigration]:
    return [
        msgspec.structs.replace(migration, transactional=whole and migration.transactional)
        for migration in files.read(entry)
    ]


def _command(entry: written.CommandMigration, site: Site | None, problems: Problems) -> CommandMigration:
    nodes = [node.name for node in site.application.nodes] if site else []
    if site:
        bound = site.application.capabilities
        for capability in (entry.run, entry.observe, entry.undo):
            if capability is not None and capability not in bound:
                problems.unknown(capability.place, f"{capability} has no binding", capability, bound)
        if entry.node is not None and entry.node not in nodes:
            problems.unknown(entry.node.place, f"there is no node {entry.node}", entry.node, nodes)
    return CommandMigration(
        name=str(entry.name or entry.run),
        run=str(entry.run),
        observe=str(entry.observe),
        node=str(entry.node or (site.head.name if site else "")),
        undo=str(entry.undo or ""),
    )
