"""What counts as an answer of a server, and when it is taken for gone."""

import asyncio

import pytest

from changeover.drivers.sql import pulse as module
from changeover.drivers.sql.errors import ServerError
from changeover.drivers.sql.pulse import Pulse
from changeover.errors import DatabaseError

SHORT = 0.06
UNREACHED = ServerError("no answer", silent=True)
REFUSED = ServerError("too many clients")
NO_WAY = DatabaseError("the tunnel is broken")


class Server:
    """Gives these answers in turn, then lets the work end. None: it answers; an ellipsis: nothing comes back.

    Each question takes a quarter of the silence that is allowed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: object) -> None:
        self.work: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.asked = 0
        monkeypatch.setattr(module, "_now", lambda: self.asked * SHORT / 4)
        self._answers = iter(answers)

    async def ask(self) -> None:
        """The next answer."""
        self.asked += 1
        try:
            answer = next(self._answers)
        except StopIteration:
            self.work.set_result(7)
            return
        if answer is ...:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer


@pytest.mark.parametrize("answer", [None, REFUSED], ids=["answered", "refused"])
async def test_work_goes_on_as_long_as_the_server_answers(
    monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    """However long it takes, and however the server puts it."""
    server = Server(monkeypatch, *[answer] * 20)
    assert await Pulse(server.ask, SHORT).outlives(server.work)
    assert server.work.result() == 7
    assert server.asked == 21


@pytest.mark.parametrize("answer", [UNREACHED, NO_WAY, ...], ids=["unreached", "no way", "hangs"])
async def test_a_server_that_does_not_answer_is_taken_for_gone(
    monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    """Not at its first silence, but when it has lasted; the work is left to the caller."""
    server = Server(monkeypatch, *[answer] * 100)
    assert not await Pulse(server.ask, SHORT).outlives(server.work)
    assert server.asked == 4
    assert not server.work.done()


async def test_after_that_one_silence_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleaning up on a server that is gone is not as patient; an answer makes it patient again."""
    server = Server(monkeypatch, *[UNREACHED] * 100)
    pulse = Pulse(server.ask, SHORT)
    assert not await pulse.outlives(server.work)
    before = server.asked
    assert not await pulse.outlives(server.work)
    assert server.asked == before + 1
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    done.set_result(1)
    assert await pulse.outlives(done)
    assert not await pulse.outlives(server.work)
    assert server.asked == before + 1 + 4


async def test_work_that_fails_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is the caller's."""
    server = Server(monkeypatch)
    server.work.set_exception(REFUSED)
    assert await Pulse(server.ask, SHORT).outlives(server.work)
    with pytest.raises(ServerError, match="too many clients"):
        server.work.result()
