import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.probe.schedule import Load, SteadyClock


@given(writes=st.integers(1, 100), seconds=st.integers(1, 20))
def test_writes_come_at_their_rate(writes: int, seconds: int) -> None:
    """After the visitors' first turns, the writes of any number of whole seconds are exactly as many as asked for."""
    load = Load(rate=200, write_rate=writes, sessions=1)
    assert sum(load.writes(number) for number in range(200, 200 * (seconds + 1))) == writes * seconds


def test_no_write_before_every_visitor_had_a_turn() -> None:
    """The first requests open the sessions."""
    load = Load(rate=10, write_rate=5, sessions=7)
    assert next(number for number in range(100) if load.writes(number)) == 7


@pytest.mark.parametrize(
    ("load", "problem"),
    [
        (Load(rate=0), "--rate 0: expected more than 0 and at most 2000"),
        (Load(rate=1e9), "--rate 1e+09"),
        (Load(rate=float("nan")), "--rate nan"),
        (Load(rate=10, write_rate=6), "--writes 6: expected from 0 to half of --rate"),
        (Load(sessions=0), "--sessions 0"),
        (Load(session_length=2), "--session-length 2"),
        (Load(timeout=0), "--timeout 0s"),
        (Load(rate=1, seconds=0.1), "--for: expected enough time for one request"),
    ],
)
def test_absurd_loads_are_refused(load: Load, problem: str) -> None:
    """Each absurdity is named with the option, its value and what was expected."""
    assert any(found.startswith(problem) for found in load.problems())


def test_the_default_load_is_sensible() -> None:
    """Nothing is wrong with the defaults."""
    assert Load().problems() == []


async def test_the_clock_never_goes_back() -> None:
    """A moment that was waited for has come, and one that has passed is not waited for."""
    clock = SteadyClock()
    before = clock.now()
    await clock.sleep_until(before + 0.001)
    assert clock.now() >= before + 0.001
    await clock.sleep_until(before)
