"""An operator at the lab's site: conducts its upgrade in this process, and lets things happen meanwhile."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from changeover.conductor import Conductor
from changeover.engine.events import Event, StepChanged, Verb
from changeover.engine.fold import RunStatus
from changeover.model.plan import Plan
from changeover.model.states import RunState, StepState
from changeover.ports import AdminState, ServerState
from changeover.spec import load
from changeover.wiring import open_world
from tests.labkit import LabUnderTest


class Operator:
    """Conducts the upgrade of a lab. `limits` and `release` replace parts of the file's `upgrade` section.

    `silence` is how long the database may be silent.
    """

    def __init__(
        self,
        lab: LabUnderTest,
        journal: Path,
        *,
        limits: dict[str, object] | None = None,
        attempts: int = 30,
        silence: float = 30.0,
        **release: object,
    ) -> None:
        spec = load(lab.cluster.directory.path / "changeover.yaml")
        release["migrations"] = tuple(
            msgspec.structs.replace(change, attempts=attempts) for change in spec.release.migrations
        )
        changed = msgspec.structs.replace(
            spec.release, limits=msgspec.structs.replace(spec.release.limits, **(limits or {})), **release
        )
        self.lab = lab
        self.events: list[Event] = []
        site = msgspec.structs.replace(
            spec.site,
            databases=tuple(
                msgspec.structs.replace(it, options={**it.options, "silence": silence})
                for it in spec.site.databases
            ),
        )
        self.conductor = Conductor(msgspec.structs.replace(spec, site=site, release=changed), str(journal))
        self._when: list[tuple[str, StepState, Callable[[], object]]] = []
        AT_WORK.append(self)

    def when(self, step: str, state: StepState, happens: Callable[[], object]) -> None:
        """Let it happen as soon as that step is recorded in that state, once."""
        self._when.append((step, state, happens))

    async def plan(self) -> Plan:
        """Plan the upgrade of the lab as it stands."""
        return await self.conductor.plan()

    async def run(self) -> RunStatus:
        """Plan and run it, until it ends or stops."""
        plan = await self.plan()
        return await self.conductor.run(
            plan, actor="test", reason="test", on_stop="return", observer=self._see
        )

    async def resume(self) -> RunStatus:
        """Take it up again."""
        return await self.conductor.resume(on_stop="return", observer=self._see)

    async def retry(self, step: str) -> RunStatus:
        """Do a step again, and go on."""
        await self.conductor.send(Verb.RETRY, actor="test", step=step)
        return await self.resume()

    async def finalize(self) -> RunStatus:
        """Give up the way back."""
        await self.conductor.send(Verb.APPROVE, actor="test", step="finalize/approve")
        return await self.resume()

    async def pool(self) -> dict[str, ServerState]:
        """What the balancer says of every node."""
        async with open_world(
            self.conductor.spec.site, self.conductor.spec.release, self.conductor._secrets
        ) as world:
            return dict(await world.balancers["public"].servers())

    async def in_rotation(self) -> set[str]:
        """The nodes that the balancer sends new sessions to."""
        return {name for name, server in (await self.pool()).items() if server.in_rotation}

    async def versions(self) -> dict[str, str]:
        """What each node says that it runs; empty for one that says nothing."""
        spec = self.conductor.spec
        async with open_world(spec.site, spec.release, self.conductor._secrets) as world:
            return {node: (await world.application.ask("version", node)).value for node in self.lab.nodes}

    def started(self, step: str) -> int:
        """How often a step was started."""
        return sum(
            isinstance(event, StepChanged) and event.step == step and event.state is StepState.RUNNING
            for event in self.events
        )

    def _see(self, event: Event) -> None:
        self.events.append(event)
        if not isinstance(event, StepChanged):
            return
        for entry in list(self._when):
            step, state, happens = entry
            if (event.step, event.state) == (step, state):
                self._when.remove(entry)
                happens()


AT_WORK: list[Operator] = []
"""Those who have not let go of the site yet."""


def stopped_at(status: RunStatus) -> list[str]:
    """The steps that a stopped run waits for a person at."""
    assert status.state is RunState.STOPPED, (status.state, status.reason)
    return status.steps_in(StepState.FAILED, StepState.IN_DOUBT)


def upgraded(status: RunStatus) -> bool:
    """Whether everything but finalize is done."""
    assert status.state is RunState.WAITING, (status.state, status.reason)
    return status.steps_in(StepState.WAITING) == ["finalize/approve"]


OUT = frozenset({AdminState.DRAIN, AdminState.MAINT})
