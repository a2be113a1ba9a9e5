"""A site that is upgraded in a window, and a run of it on the simulation with people who answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from changeover.actions import ACTIONS
from changeover.engine.events import Verb
from changeover.engine.fold import RunStatus
from changeover.engine.guard import Guard
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.model.plan import BACK, Facts, Plan
from changeover.model.release import Kept, KnownIssue, LogWatch, Property, Release, Window
from changeover.model.site import AccessConfig, Node, Site, Unit
from changeover.model.states import RunState, StepState
from changeover.rehearsal.starting import start
from changeover.simulation import EPOCH, LoopClock, SimulatedSite
from changeover.strategies.window import window
from tests.sites import a_release, a_site

OWNER = Owner.current()

LOG = "/var/log/app.log"
DDL = "/etc/ddl.properties"
HIBERNATE = KnownIssue("hibernate", most=1, version="v2", step="first-log")


def a_gated_site(*, pools: bool = False, head: str = "app2") -> Site:
    """Two nodes behind a gate on their own hosts; the second is the head. With `pools` on that of their balancer."""
    plain = a_site(2)
    bound = {
        **plain.application.capabilities,
        **dict.fromkeys(("build", "built", "test"), Unit("app.service")),
    }
    nodes = tuple(it if pools else Node(it.name, it.host) for it in plain.application.nodes)
    gate = AccessConfig(
        "public",
        "nftables",
        ("lb1",) if pools else ("app1", "app2"),
        (8443,),
        {"8443": ("10.9.9.9",)},
        page=8081,
        outside=("db1",) if pools else ("lb1",),
    )
    return msgspec.structs.replace(
        plain,
        application=msgspec.structs.replace(plain.application, nodes=nodes, capabilities=bound, head=head),
        balancers=plain.balancers if pools else (),
        access=(gate,),
    )


def a_windowed_release(**changes: Any) -> Release:
    """From v1 to v2, with all that a window knows."""
    return a_release(
        strategy="window",
        window=Window(EPOCH + 600, EPOCH + 4 * 3600),
        sign_off=("lisa", "kirk"),
        kept=(Kept(("/etc/app.properties", "/etc/{node}.key"), "/srv/kept"),),
        properties=(Property(DDL, "auto.ddl", "true", "false"),),
        logs=(LogWatch(LOG, ("ERROR", "SEVERE"), (HIBERNATE,)),),
        **changes,
    )


def a_window(site: Site | None = None, **changes: Any) -> Plan:
    """The plan of that."""
    return window(site or a_gated_site(), a_windowed_release(**changes), Facts())


@dataclass
class Played:
    """A run of a plan on a simulated site."""

    site: SimulatedSite
    before: dict[str, Any]
    status: RunStatus
    asked: list[str] = field(default_factory=list)


async def play(
    clock: LoopClock,
    plan: Plan,
    *,
    until: str = "finalize/approve",
    mess: Callable[[SimulatedSite], object] = lambda _: None,
    then: Sequence[tuple[Verb, str, str]] = ((Verb.ABORT, "", ""),),
) -> Played:
    """Run it; people approve what they are asked, each their own gate, until that one waits or something fails.

    Then what comes `then` is said, (verb, step, answer), and the rest is approved.
    """
    site = start(plan, clock)
    before = site.state()
    journal = MemoryJournal(clock.now)
    run = await journal.create_run(plan, actor="ann", reason="", owner=OWNER)
    mess(site)
    asked: list[str] = []
    said = list(then)
    while True:
        guard = Guard(plan, site.world, run)
        status = await Runner(journal, run, site.world, ACTIONS, guard=guard, owner=OWNER).run()
        at = [step for step in status.plan.steps() if status.steps[step.id].state is StepState.WAITING]
        stuck = status.state is RunState.STOPPED or any(step.id == until for step in at)
        if status.ended or (stuck and not said) or not (stuck or at):
            return Played(site, before, status, asked)
        if stuck:
            verb, step, answer = said.pop(0)
            await journal.command(run, verb, actor="ann", step=step, reason="so it is", answer=answer)
            continue
        asked.append(at[0].id)
        who = at[0].who[0] if at[0].who else "ann"
        await journal.command(run, Verb.APPROVE, actor=who, step=at[0].id)


def ways_back(asked: Sequence[str]) -> list[str]:
    """The gates of the way back that were asked."""
    return [gate for gate in asked if gate.startswith(BACK)]
