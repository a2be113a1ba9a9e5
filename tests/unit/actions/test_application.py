"""A flush that is waited for, stalls and is answered; expectations, clean storage, watchdogs and what is stopped."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from changeover.actions import ACTIONS, Context
from changeover.actions.application import SHOWN, shown
from changeover.errors import ApplicationError, StepError
from changeover.model.plan import Facts, Operation
from changeover.model.values import Observation, Presence
from changeover.simulation import SimulatedSite
from changeover.strategies.full_stop import full_stop
from tests.sites import DEPLOYED, a_full_stop, a_messenger

FLUSH = Operation("application.flush", "mail", {"node": "app1"})
FLUSHED = Operation("application.flushed", "mail", {"node": "app1", "stall": 30.0, "poll": 2.0})
STOP = Operation("node.stop", "app1", {})
STOPPED = Operation("node.stopped", "app1", {})
CLEAN = Operation("application.clean", "app1", {})


@pytest.fixture
def site() -> SimulatedSite:
    """A simulated site with deployments and watchdogs."""
    return SimulatedSite(a_messenger(), "v1", release=a_full_stop())


def _context(site: SimulatedSite, tell: Callable[[str], None] = lambda _: None, **more: object) -> Context:
    plan = full_stop(site.site, a_full_stop(), Facts(deployments=DEPLOYED))
    context = Context(site.world, plan, "run", "step", 1, site.clock.now(), 3600.0, tell=tell)
    return replace(context, **more)  # type: ignore[arg-type]


async def _perform(operation: Operation, context: Context) -> str:
    ended = await ACTIONS[operation.action].perform(operation, context)
    return ended.evidence if isinstance(ended, Observation) else ended


async def _presence(operation: Operation, context: Context) -> Presence:
    return (await ACTIONS[operation.action].observe(operation, context)).presence


async def _fails(operation: Operation, context: Context) -> str:
    with pytest.raises(StepError) as failed:
        await _perform(operation, context)
    return failed.value.message


async def test_a_flush_is_waited_for_and_tells_how_fast_it_goes(site: SimulatedSite) -> None:
    """Outstanding records, the rate and what is left of the time, until nothing is left."""
    said: list[str] = []
    await _perform(FLUSH, _context(site))
    site.deployments["mail"].left = {"app1": 200.0, "app2": 100.0, "app3": 0.0}
    assert await _presence(FLUSHED, _context(site)) is Presence.ABSENT
    began = site.clock.now()
    assert await _perform(FLUSHED, _context(site, said.append)) == "mail has nothing outstanding"
    assert said[0] == "mail has 300 outstanding"
    assert said[1] == "mail has 220 outstanding, 40 per s, about 6 s to go"
    assert site.clock.now() - began == 10.0
    assert await _presence(FLUSHED, _context(site)) is Presence.DONE


async def test_a_flush_without_progress_has_stalled_and_shows_the_rows(site: SimulatedSite) -> None:
    """After the time that was set, with the rows themselves; nothing is ignored."""
    site.deployments["mail"].stale = {"17": "mail on app9: 3 records", "18": "mail on app9: 4 records"}
    await _perform(FLUSH, _context(site))
    said = await _fails(FLUSHED, _context(site))
    assert said.splitlines() == [
        "mail has 2 outstanding, and no fewer for 30 s",
        "row 17 mail on app9: 3 records",
        "row 18 mail on app9: 4 records",
    ]
    assert site.deployments["mail"].ignored == []


async def test_a_flush_that_stands_still_says_so_before_it_has_stalled(site: SimulatedSite) -> None:
    """No rate of before makes believe that it is nearly done."""
    said: list[str] = []
    mail = site.deployments["mail"]
    mail.left, mail.stale = {"app1": 100.0, "app2": 0.0, "app3": 0.0}, {"17": "mail on app9: 3 records"}
    await _perform(FLUSH, _context(site))
    await _fails(FLUSHED, _context(site, said.append))
    assert "per s" in said[1]
    assert said[-1] == "mail has 1 outstanding, and no fewer for 28 s"


async def test_what_is_tried_over_and_over_is_no_progress(site: SimulatedSite) -> None:
    """A number that goes up and down has stalled as soon as it has reached no lower one for so long."""
    mail = site.deployments["mail"]
    mail.stale = {"17": "mail on app9", "18": "mail on app9"}
    await _perform(FLUSH, _context(site))

    def tried_again(_: str) -> None:
        if mail.stale.pop("18", None) is None:
            mail.stale["18"] = "mail on app9"

    began = site.clock.now()
    said = await _fails(FLUSHED, _context(site, tried_again))
    assert "and no fewer for 30 s" in said
    assert site.clock.now() - began == 32.0


async def test_exactly_the_rows_that_were_shown_are_ignored(site: SimulatedSite) -> None:
    """One that has come since stays, and stalls the flush again."""
    mail = site.deployments["mail"]
    mail.stale = {"17": "mail on app9: 3 records", "18": "gone meanwhile"}
    await _perform(FLUSH, _context(site))
    failed = await _fails(FLUSHED, _context(site))
    mail.stale = {"17": "mail on app9: 3 records", "19": "mail on app8: 1 record"}
    again = await _fails(FLUSHED, _context(site, answer="ignore", failed=failed))
    assert mail.ignored == ["17"]
    assert again.splitlines()[1:] == ["row 19 mail on app8: 1 record"]
    said = await _perform(FLUSHED, _context(site, answer="ignore", failed=again))
    assert said == "ignored 1 row: 19; mail has nothing outstanding"


async def test_where_no_row_was_shown_nothing_is_ignored(site: SimulatedSite) -> None:
    """The step had failed for another reason: it is done again, and says that nothing was given up."""
    await _perform(FLUSH, _context(site))
    said = await _perform(FLUSHED, _context(site, answer="ignore", failed="the flush of mail is off"))
    assert said == "ignored nothing, as no row had been shown; mail has nothing outstanding"


async def test_only_so_many_rows_are_shown_and_ignored_at_once(site: SimulatedSite) -> None:
    """The rest is counted, and stays."""
    site.deployments["mail"].stale = {str(number): "stale" for number in range(SHOWN + 5)}
    await _perform(FLUSH, _context(site))
    failed = await _fails(FLUSHED, _context(site))
    assert failed.splitlines()[-1] == "and 5 more"
    await _fails(FLUSHED, _context(site, answer="ignore", failed=failed))
    assert len(site.deployments["mail"].stale) == 5


def test_what_cannot_be_an_id_is_never_ignored() -> None:
    """It would reach a statement."""
    with pytest.raises(StepError, match="no id that a row can be ignored by"):
        shown("mail has 1 outstanding\nrow 1);DROP mail")


async def test_a_flush_that_was_switched_off_is_not_waited_for(site: SimulatedSite) -> None:
    """It would never come to its end."""
    assert "the flush of mail is off" in await _fails(FLUSHED, _context(site))


async def test_a_number_that_is_none_is_an_error(site: SimulatedSite) -> None:
    """Nobody takes silence for zero."""
    site.answers["outstanding"] = ""
    assert "does not say how much is outstanding" in await _fails(FLUSHED, _context(site))


async def test_an_expectation_that_is_not_met_fails(site: SimulatedSite) -> None:
    """With what was answered and what was expected."""
    expect = Operation("application.expect", "notes", {"node": "app1", "answers": {"qa_diagnostic": "OFF"}})
    assert await _perform(expect, _context(site)) == "qa_diagnostic is OFF"
    site.answers["qa_diagnostic"] = "ON"
    assert await _fails(expect, _context(site)) == "qa_diagnostic is ON, expected OFF"


async def test_storage_is_clean_until_the_node_runs_again(site: SimulatedSite) -> None:
    """Absent, performed, done; what was not written out is counted as lost."""
    await _perform(STOP, _context(site))
    assert await _presence(CLEAN, _context(site)) is Presence.ABSENT
    await _perform(CLEAN, _context(site))
    assert await _presence(CLEAN, _context(site)) is Presence.DONE
    assert site.deployments["mail"].lost > 0
    await _perform(Operation("node.start", "app1", {}), _context(site))
    assert await _presence(CLEAN, _context(site)) is Presence.ABSENT


async def test_a_watchdog_is_stopped_with_its_node(site: SimulatedSite) -> None:
    """One that a reboot has left there would start it again."""
    await _perform(STOP, _context(site))
    await site.clock.sleep(60)
    assert await _presence(STOPPED, _context(site)) is Presence.DONE


async def test_a_node_that_its_watchdog_would_start_counts_as_not_stopped(site: SimulatedSite) -> None:
    """A person is told; a retry stops both again, and a way back does so by itself."""
    await _perform(STOP, _context(site))
    site.nodes["app1"].watchdog = True
    assert await _presence(STOPPED, _context(site)) is Presence.ABSENT
    assert await _fails(STOPPED, _context(site)) == "its watchdog runs and would start it again"
    for context in (_context(site, attempt=2), _context(site, step="back/app1/stopped")):
        site.nodes["app1"].watchdog = True
        site.start("app1")
        said = await _perform(STOPPED, context)
        assert said.startswith("stopped again (app1 runs (active) and its watchdog runs")
        assert not site.nodes["app1"].running


async def test_a_deployment_that_is_not_there_cannot_be_flushed(site: SimulatedSite) -> None:
    """The plan was made from facts; the site may have changed."""
    with pytest.raises(ApplicationError, match="no deployment fax"):
        await _perform(Operation("application.flush", "fax", {"node": "app1"}), _context(site))
