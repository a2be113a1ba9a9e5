"""What a stretch of time cost, and whether that is known at all."""

import pytest

from changeover.model.plan import Promise
from changeover.report.receipt import Cost, Held, Window, cost
from tests.unit.report.made import BEGAN, a_ledger

WINDOW = Window(BEGAN + 10, BEGAN + 20)


def of(*ledgers: object, promise: Promise | None = None, windows: tuple[Window, ...] = (WINDOW,)) -> Cost:
    """The cost of the window from 10 to 20."""
    return cost(ledgers, windows, promise or Promise())  # type: ignore[arg-type]


def test_without_a_ledger_nothing_is_zero() -> None:
    """Every figure is unknown, and the promise not measured."""
    assert [loss.seen for loss in of().losses] == [None, None, None]
    assert of().unwritten is None
    assert of().held is Held.NOT_MEASURED


def test_writes_that_nobody_has_looked_for_are_not_zero_lost() -> None:
    """The probe is still under way: not one of them was looked for yet."""
    found = of(a_ledger(0, 30, unverified=tuple(range(30))))
    assert (found.writes.seen, found.writes.note) == (None, "10 acknowledged but not looked for afterwards")
    assert found.held is Held.NOT_MEASURED


def test_where_nothing_was_promised_nothing_is_broken() -> None:
    """An outage that was agreed to: what fails in it is counted; a lost write is a breach all the same."""
    nothing = Promise(requests_failed=None, sessions_cut=None)
    found = of(a_ledger(0, 30, failed=(12, 13), cut=(14,)), promise=nothing)
    assert (found.requests.seen, found.sessions.seen, found.held) == (2, 1, Held.KEPT)
    assert of(a_ledger(0, 30, missing=(12,)), promise=nothing).held is Held.BROKEN


def test_a_ledger_of_another_time_measures_nothing() -> None:
    """One that ended before the window says nothing about it."""
    assert of(a_ledger(0, 10)).requests.seen is None


def test_a_promise_is_kept_when_all_was_measured() -> None:
    """The ledger covers the window and shows no loss."""
    kept = of(a_ledger(5, 25))
    assert (kept.held, kept.sent, kept.acknowledged, kept.unwritten) == (Held.KEPT, 10, 10, 0.0)
    assert [loss.note for loss in kept.losses] == ["", "", ""]


@pytest.mark.parametrize(
    ("ledger", "broken"),
    [
        (a_ledger(0, 30, failed=(12, 13)), "requests failed"),
        (a_ledger(0, 30, cut=(15,)), "sessions cut"),
        (a_ledger(0, 30, missing=(19,)), "acknowledged writes lost"),
    ],
)
def test_each_loss_breaks_its_promise(ledger: object, broken: str) -> None:
    """One loss within the window breaks that promise, and so the whole."""
    found = of(ledger)
    assert [loss.what for loss in found.losses if loss.held is Held.BROKEN] == [broken]
    assert found.held is Held.BROKEN


@pytest.mark.parametrize("moment", [9.0, 20.0])
def test_losses_outside_the_window_are_not_its_own(moment: float) -> None:
    """The window ends where the next begins."""
    assert of(a_ledger(0, 30, failed=(moment,), cut=(moment,))).held is Held.KEPT


def test_a_loss_that_was_promised_is_no_breach() -> None:
    """Up to what the plan said."""
    ledger = a_ledger(0, 30, failed=(12, 13))
    assert of(ledger, promise=Promise(requests_failed=2)).held is Held.KEPT
    assert of(ledger, promise=Promise(requests_failed=1)).held is Held.BROKEN


def test_half_a_window_measured_keeps_no_promise() -> None:
    """Zero losses in a part are not zero losses; a loss in the part is a breach all the same."""
    half = of(a_ledger(0, 15))
    assert (half.requests.seen, half.requests.note) == (0, "measured 5.0 of 10.0 s")
    assert half.held is Held.NOT_MEASURED
    assert of(a_ledger(0, 15, failed=(12,))).held is Held.BROKEN


def test_two_ledgers_together_cover_the_window() -> None:
    """Their figures are added up, and an overlap is covered once."""
    both = of(
        a_ledger(0, 16, failed=(11,)), a_ledger(15, 30, failed=(17,)), promise=Promise(requests_failed=2)
    )
    assert (both.requests.seen, both.held) == (2, Held.KEPT)
    assert of(a_ledger(0, 13), a_ledger(17, 30)).requests.note == "measured 6.0 of 10.0 s"


def test_what_a_probe_did_not_do_it_did_not_measure() -> None:
    """Without sessions or writes in its load, it says nothing about those."""
    found = of(a_ledger(0, 30, sessions=0, write_rate=0.0))
    assert [loss.seen for loss in found.losses] == [0, None, None]
    assert (found.unwritten, found.held) == (None, Held.NOT_MEASURED)


def test_a_write_that_nobody_looked_for_is_not_safe() -> None:
    """Acknowledged and not verified: the promise about writes is not measured."""
    found = of(a_ledger(0, 30, unverified=(12, 14)))
    assert (found.writes.seen, found.writes.held) == (0, Held.NOT_MEASURED)
    assert found.writes.note == "2 acknowledged but not looked for afterwards"


def test_several_windows_cost_what_each_costs() -> None:
    """What lies between them does not count."""
    windows = (Window(BEGAN, BEGAN + 5), Window(BEGAN + 15, BEGAN + 20))
    found = of(a_ledger(0, 30, failed=(3, 8, 16)), windows=windows, promise=Promise(requests_failed=2))
    assert (found.requests.seen, found.sent, found.unwritten) == (2, 10, 2.0)
