"""Access gates: what is seen from outside decides, within a moment; and what a check says of them."""

import pytest

from changeover.actions import ACTIONS, Context
from changeover.checks import access
from changeover.checks.site import check
from changeover.errors import StepError
from changeover.model.plan import Operation
from changeover.model.values import Outcome, Presence
from changeover.ports import Gating, Seen
from changeover.simulation import LoopClock, SimulatedSite, run
from changeover.simulation.access import SimulatedAccess
from tests.windowkit import a_gated_site, a_window, a_windowed_release

CLOSE, OPEN = Operation("access.close", "public"), Operation("access.open", "public")
PLAN = a_window()


def a_site(clock: LoopClock) -> SimulatedSite:
    """Two nodes behind the gate."""
    return SimulatedSite(a_gated_site(), "v1", clock, release=PLAN.release)


def _context(site: SimulatedSite) -> Context:
    return Context(site.world, PLAN, "run", "step", 1, site.clock.now(), 60.0)


def sees(monkeypatch: pytest.MonkeyPatch, what: Seen) -> None:
    """Whatever the gate is like, this is what the public gets at one port."""

    async def seen_from(_gate: SimulatedAccess, _outside: str) -> dict[str, Seen]:
        return {"app1:8443": what}

    monkeypatch.setattr(SimulatedAccess, "seen_from", seen_from)


@pytest.mark.parametrize(
    ("operation", "what", "said"),
    [
        (CLOSE, Seen.APPLICATION, "closed on its hosts, but access gate public from lb1: app1:8443: the app"),
        (CLOSE, Seen.REFUSED, "closed on its hosts, but access gate public from lb1: app1:8443: a refusal"),
        (OPEN, Seen.PAGE, "open on its hosts, but access gate public from lb1: app1:8443: the maintenance p"),
        (OPEN, Seen.SILENT, "open on its hosts, but access gate public from lb1: app1:8443: no answer"),
    ],
    ids=["still reached", "no page", "still the page", "silence"],
)
def test_what_its_hosts_say_is_not_enough(
    monkeypatch: pytest.MonkeyPatch, operation: Operation, what: Seen, said: str
) -> None:
    """The step fails with what was seen, and is not observed as done by whoever looks later."""
    sees(monkeypatch, what)

    async def work(clock: LoopClock) -> None:
        context = _context(a_site(clock))
        action = ACTIONS[operation.action]
        with pytest.raises(StepError) as error:
            await action.perform(operation, context)
        assert error.value.message.startswith(said)
        assert (await action.observe(operation, context)).presence is Presence.ABSENT

    run(work)


def test_an_application_that_is_about_to_answer_is_waited_for() -> None:
    """It is open for the public once it does."""

    async def work(clock: LoopClock) -> None:
        site = a_site(clock)
        await ACTIONS[CLOSE.action].perform(CLOSE, _context(site))
        for node in site.nodes.values():
            node.well_at = clock.now() + 5
        await ACTIONS[OPEN.action].perform(OPEN, _context(site))
        assert all(site.well(name) for name in site.nodes)

    run(work)


def test_half_of_a_gate_is_neither_open_nor_closed() -> None:
    """Whichever is wanted is done."""

    async def work(clock: LoopClock) -> None:
        site = a_site(clock)
        site.gates["public"].entrances["app1"].live = True
        context = _context(site)
        for operation in (CLOSE, OPEN):
            action = ACTIONS[operation.action]
            assert (await action.observe(operation, context)).presence is Presence.ABSENT
        seen = await ACTIONS[CLOSE.action].observe(CLOSE, context)
        assert seen.evidence == "app1: closed, and open after the next boot; app2: open"

    run(work)


def test_a_check_of_the_site_asks_its_gates() -> None:
    """Whether they can be used, are open, and are seen so from outside; what cannot be told is not good."""

    async def work(clock: LoopClock) -> None:
        site = a_site(clock)
        described, release = a_gated_site(), a_windowed_release()
        verdicts = [it for it in await check(described, release, site.world) if "gate" in it.subject]
        assert [(it.subject, it.outcome) for it in verdicts] == [
            ("access gate public", Outcome.GOOD),
            ("access gate public", Outcome.GOOD),
            ("access gate public from lb1", Outcome.GOOD),
        ]
        await site.world.access["public"].shut()
        site.kill("lb1")
        verdicts = [it for it in await check(described, release, site.world) if "gate" in it.subject]
        assert [it.outcome for it in verdicts] == [Outcome.GOOD, Outcome.BAD, Outcome.UNKNOWN]
        closed = await access.state(site.world.access["public"], Gating.CLOSED)
        assert closed.good

    run(work)
