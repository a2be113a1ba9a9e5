"""How long `until` pauses between two looks."""

from changeover.actions.waiting import LONGEST, SHORTEST, until


class Clock:
    """Writes down every pause; nothing else takes time."""

    def __init__(self) -> None:
        self.time = 0.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds


async def _wait(seconds: float, **options: float) -> Clock:
    """What the clock says of waiting for something that is there after so many seconds."""
    clock = Clock()

    async def look() -> str | None:
        return "there" if clock.time >= seconds else None

    assert await until(look, clock, **options) == "there"
    return clock


async def test_what_is_there_is_seen_without_a_pause() -> None:
    """The first look comes before any pause."""
    assert (await _wait(0)).pauses == []


async def test_pauses_grow_with_the_time_waited() -> None:
    """No pause is shorter than the shortest, longer than the longest, or shorter than the one before."""
    pauses = (await _wait(120)).pauses
    assert pauses[0] == SHORTEST
    assert pauses[-1] == LONGEST
    assert pauses == sorted(pauses)


async def test_what_comes_is_seen_soon_after() -> None:
    """It is late by a twentieth of the time waited at the most."""
    for seconds in (1.0, 5.0, 20.0):
        assert (await _wait(seconds)).time < seconds * 1.05


async def test_the_shortest_pause_can_be_given() -> None:
    """Who looks at something costly says so."""
    assert set((await _wait(3, shortest=1.0)).pauses) == {1.0}
