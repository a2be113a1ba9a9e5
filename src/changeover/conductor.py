"""The facade: check, plan, run, resume, command. Everything that a terminal or a browser can ask for."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import msgspec

from changeover import foresight
from changeover.actions import ACTIONS
from changeover.actions.validation import validate
from changeover.checks import site as live
from changeover.drivers.secrets import Secrets
from changeover.engine.commands import OF_A_STEP, WITH_A_REASON, check_answer, check_who, nearest_step
from changeover.engine.events import Event, Verb
from changeover.engine.fold import RunStatus
from changeover.engine.guard import Guard
from changeover.engine.journal import CommandRecord, Journal, RunRecord
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.errors import RefusedError, SpecError, StaleError
from changeover.fallback import timing
from changeover.model.duties import assigned
from changeover.model.estimates import measured
from changeover.model.instructions import Instruction
from changeover.model.plan import Facts, Plan, Step
from changeover.model.release import Release
from changeover.model.site import Site
from changeover.model.states import RunState
from changeover.model.values import Verdict
from changeover.ports import World
from changeover.spec import Spec, load
from changeover.strategies import STRATEGIES
from changeover.wiring import open_world

if TYPE_CHECKING:
    from changeover.rehearsal import Rehearsal, Replay

OnStop = Literal["wait", "return"]
Observer = Callable[[Event], None]

ANSWER_POLL = 0.1


class Attached:
    """A journal and the runs in it. It needs no file: one that is broken keeps nobody from their run."""

    def __init__(self, journal: Journal, site: str | None = None) -> None:
        self.journal = journal
        self._site = site
        self._secrets = Secrets()
        self._worlds: list[tuple[Site, Release, World]] = []
        self._open = AsyncExitStack()

    async def resume(
        self, run: str | None = None, *, on_stop: OnStop, observer: Observer | None = None
    ) -> RunStatus:
        """Take over a run whose conductor has gone: the one that holds the site, unless another is named."""
        run = run or await self.active()
        return await self._conduct(run, await self.journal.plan(run), on_stop, observer)

    async def send(
        self,
        verb: Verb,
        *,
        actor: str,
        step: str = "",
        reason: str = "",
        run: str | None = None,
        accept_skipped: bool = False,
        answer: str = "",
        signed: str = "",
    ) -> CommandRecord:
        """Tell the run. Answered at once by its conductor; kept for the next one if it has none now.

        `signed` is who gives an approval or a refusal, if not the `actor`. `RefusedError` for what no conductor could
        obey: a step that the plan has not, a reason that is missing, a gate that is another's to answer.
        """
        run = run or await self.active()
        if verb in WITH_A_REASON and not reason.strip():
            raise RefusedError(f"{verb} needs a reason", hint="give it with --reason")
        if verb in OF_A_STEP:
            found = nearest_step(step, (await self.journal.status(run)).plan.steps())
            if answer:
                check_answer(answer, reason, found)
            check_who(verb, signed or actor, found)
        number = await self.journal.command(
            run,
            verb,
            actor=actor,
            step=step,
            reason=reason,
            accept_skipped=accept_skipped,
            answer=answer,
            signed=signed,
        )
        while not (record := await self.journal.command_outcome(number)).outcome:
            if not (await self.journal.run(run)).conducted:
                break
            await asyncio.sleep(ANSWER_POLL)
        return record

    async def runs(self) -> list[RunRecord]:
        """Every run of the site, the latest first."""
        return await self.journal.runs(self._site)

    async def active(self) -> str:
        """The run that holds the site; `RefusedError` if there is none."""
        active = [record.run for record in await self.runs() if record.ended_at is None]
        if len(active) == 1:
            return active[0]
        if active:
            raise RefusedError(f"several runs are under way: {', '.join(active)}", hint="name one of them")
        raise RefusedError(
            f"no run holds {self._site or 'any site'}", hint="`changeover runs` lists those that ended"
        )

    def redact(self, text: str) -> str:
        """The text without any secret that was looked up so far."""
        return self._secrets.redact(text)

    async def close(self) -> None:
        """Let go of the journal, and of every connection to a site."""
        self._worlds.clear()
        await self._open.aclose()
        await self.journal.close()

    async def _conduct(self, run: str, plan: Plan, on_stop: OnStop, observer: Observer | None) -> RunStatus:
        world = await self._world(plan.site, plan.release)
        runner = Runner(
            self.journal,
            run,
            world,
            ACTIONS,
            guard=Guard(plan, world, run),
            on_stop=on_stop,
            redact=self._secrets.redact,
            observer=observer,
        )
        return await runner.run()

    async def _world(self, site: Site, release: Release) -> World:
        """Every port of the site, opened at first use and kept until `close`."""
        for of_site, of_release, world in self._worlds:
            if (of_site, of_release) == (site, release):
                return world
        world = await self._open.enter_async_context(open_world(site, release, self._secrets))
        self._worlds.append((site, release, world))
        return world


class Conductor(Attached):
    """One site, one journal. Connections to the site are opened at first use and kept until it is closed."""

    def __init__(self, spec: Spec, journal: str = "") -> None:
        super().__init__(Journal.open(journal or spec.journal), spec.site.name)
        self.spec = spec

    @classmethod
    def from_file(cls, path: Path, *, journal: str = "") -> Self:
        """Read the operator's file; `SpecError` with everything that is wrong with it."""
        return cls(load(path), journal)

    async def check(self, *, notify: bool = False) -> list[Verdict]:
        """A verdict on everything that the upgrade relies on; changes nothing. Told to `notify`, it sends a trial message."""
        site, release = self.spec.site, self.spec.release
        return await live.check(site, release, await self._world(site, release), notify=notify)

    async def plan(self) -> Plan:
        """What would be done, made from the file and from what the live site shows now; changes nothing.

        `SpecError` for an upgrade that cannot be planned, or would break an interlock by itself, `RefusedError` where its window cannot be kept, a `PortError` where the site
        cannot be seen.
        """
        site, release = self.spec.site, self.spec.release
        facts = await self._facts(site, release)
        made = assigned(STRATEGIES[release.strategy](site, release, facts), self.spec.places)
        foresight.refuse(made)
        made = measured(made, await self.journal.durations(site.name))
        now = (await self._world(site, release)).clock.now()
        timing.refuse_late(made, timing.best_beginning(made, now))
        return made

    async def plans(self) -> dict[str, Plan | SpecError]:
        """What each strategy would make of the file and the live site, or why it does not fit; changes nothing."""
        site, release = self.spec.site, self.spec.release
        facts = await self._facts(site, release)
        durations = await self.journal.durations(site.name)
        made: dict[str, Plan | SpecError] = {}
        for name, strategy in STRATEGIES.items():
            try:
                plan = strategy(site, msgspec.structs.replace(release, strategy=name), facts)
                foresight.refuse(plan)
                made[name] = measured(plan, durations)
            except SpecError as error:
                made[name] = error
        return made

    @staticmethod
    async def rehearse(
        plan: Plan, *, pairs: int, seed: int, progress: Callable[[int, int, int, int], None]
    ) -> "Rehearsal":
        """Every fault at every step of the plan, on a simulated site; it needs nothing but the plan.

        `progress` hears of portions done, portions in all, cases and findings so far, in a thread of its own.
        """
        from changeover import rehearsal  # it is not for every command to load

        validate(plan)
        left = threading.Event()

        def told(*figures: int) -> None:
            if left.is_set():
                raise KeyboardInterrupt
            progress(*figures)

        try:
            return await asyncio.to_thread(rehearsal.rehearse, plan, pairs=pairs, seed=seed, progress=told)
        finally:
            left.set()

    @staticmethod
    async def replay(plan: Plan, case: str) -> "Replay":
        """One case of a rehearsal again, with everything that happens; `RefusedError` for one that there is not."""
        from changeover import rehearsal

        validate(plan)
        return await asyncio.to_thread(rehearsal.replay, plan, case)

    @staticmethod
    def by_hand(step: Step, plan: Plan) -> tuple[Instruction, ...]:
        """What a person does instead of that step of the plan."""
        from changeover.byhand import by_hand  # it is not for every command to load

        return by_hand(step, plan)

    async def differences(self, plan: Plan) -> list[str]:
        """How the live site differs from the facts that the plan was made from, a sentence each."""
        return _differences(plan.facts, await self._facts(plan.site, plan.release))

    async def run(
        self,
        plan: Plan,
        *,
        actor: str,
        reason: str,
        on_stop: OnStop,
        observer: Observer | None = None,
        just_planned: bool = False,
    ) -> RunStatus:
        """Execute exactly that plan, to its end or until only a person can move it on.

        One that was `just_planned`, with nothing in between, is not held against the site a second time.

        `SpecError` for a step that nobody could perform or that would break an interlock; `StaleError` says what differs on a site that has changed since; `LockedError` who holds it.
        """
        if not just_planned:
            validate(plan)
            foresight.refuse(plan)
        if plan.site.name != self.spec.site.name:
            raise RefusedError(
                f"the plan is for site {plan.site.name!r}, {self.spec.path} describes {self.spec.site.name!r}",
                hint="give the file of that site with --file",
            )
        begins = (await self._world(plan.site, plan.release)).clock.now()
        timing.refuse_early(plan, begins)
        timing.refuse_late(plan, begins)
        await self.journal.refuse_second(plan.site.name)
        differs = [] if just_planned else await self.differences(plan)
        if differs:
            raise StaleError(
                f"the site has changed since the plan was made: {'; '.join(differs)}",
                hint="make a new plan, compare it with `changeover plan --diff`, and run that one",
            )
        run = await self.journal.create_run(plan, actor=actor, reason=reason, owner=Owner.current())
        return await self._conduct(run, plan, on_stop, observer)

    async def forget(self, database: str, migration: str, *, actor: str, reason: str) -> CommandRecord | None:
        """Strike a torn migration from the ledger, once a person has set right what it left; the note in the journal.

        There is none where no run holds the site. `RefusedError` for what is not torn there, and while a conductor
        may be at work on the site: only one whose run has stopped is not.
        """
        if not reason.strip():
            raise RefusedError("forget needs a reason", hint="give it with --reason")
        world = await self._world(self.spec.site, self.spec.release)
        if database not in world.databases:
            raise RefusedError(f"there is no database {database!r}; there are: {_listed(world.databases)}")
        run = next((record for record in await self.runs() if record.ended_at is None), None)
        if run is not None and run.conducted:
            status = await self.journal.status(run.run)
            if status.state is not RunState.STOPPED or status.in_flight:
                raise RefusedError(
                    f"run {run.run} is {status.state} and conducted: the migration may be under way",
                    hint=f"`changeover status {run.run}`; a migration that was torn stops its run",
                )
        torn = [entry.name for entry in await world.databases[database].ledger() if not entry.finished_at]
        if migration not in torn:
            raise RefusedError(
                f"the ledger of {database} has no unfinished {migration!r}; unfinished there: {_listed(torn)}"
            )
        await world.databases[database].forget(migration)
        if run is None:
            return None
        return await self.send(
            Verb.FORGET, actor=actor, step=f"{database}/{migration}", reason=reason, run=run.run
        )

    async def _facts(self, site: Site, release: Release) -> Facts:
        return await live.facts(site, await self._world(site, release))


def _differences(planned: Facts, seen: Facts) -> list[str]:
    """In the terms of the site: which node, which server, which database."""
    said: list[str] = []
    for node in sorted(planned.versions.keys() | seen.versions.keys()):
        said += _differ(f"{node} runs", planned.versions.get(node), seen.versions.get(node))
    for pool in sorted(planned.pools.keys() | seen.pools.keys()):
        before, now = planned.pools.get(pool, {}), seen.pools.get(pool, {})
        for server in sorted(before.keys() | now.keys()):
            said += _differ(f"{server} in {pool} is", before.get(server), now.get(server))
    for database in sorted(planned.schemas.keys() | seen.schemas.keys()):
        before_ledger, ledger = planned.schemas.get(database, ()), seen.schemas.get(database, ())
        said += [
            f"{database}: migration {name} has been applied since"
            for name in ledger
            if name not in before_ledger
        ]
        said += [
            f"{database}: migration {name} is no longer applied"
            for name in before_ledger
            if name not in ledger
        ]
    for name in sorted(planned.deployments.keys() | seen.deployments.keys()):
        said += _differ(
            f"the deployment {name} is", planned.deployments.get(name), seen.deployments.get(name)
        )
    for database in sorted(planned.servers.keys() | seen.servers.keys()):
        said += _differ(
            f"the server of {database} is", planned.servers.get(database), seen.servers.get(database)
        )
    return said


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _differ(what: str, planned: str | None, seen: str | None) -> list[str]:
    return (
        [] if planned == seen else [f"{what} {seen or 'unknown'}, the plan says {planned or 'nothing of it'}"]
    )
