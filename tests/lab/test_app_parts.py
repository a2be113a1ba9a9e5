"""The parts of the lab's application that need no server."""

from pathlib import Path

import pytest

from changeover.lab.app.app import RELEASES, Faults, MemoryNotes, Sessions, note_row


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_counts_its_requests() -> None:
    """Each request of a session is one hit more."""
    sessions = Sessions(60, Clock())
    session = sessions.begin()
    assert [sessions.touch(session), sessions.touch(session)] == [1, 2]


def test_an_unknown_session_is_none() -> None:
    """A session of another node, or of an earlier process, is not known."""
    assert Sessions(60, Clock()).touch("0123") is None


def test_an_idle_session_ends() -> None:
    """A session without a request for the idle time is gone, and no longer counted."""
    clock = Clock()
    sessions = Sessions(60, clock)
    session = sessions.begin()
    clock.now = 60.5
    assert (sessions.count(), sessions.touch(session)) == (0, None)


def test_a_request_keeps_a_session_alive() -> None:
    """The idle time begins anew with every request."""
    clock = Clock()
    sessions = Sessions(60, clock)
    session = sessions.begin()
    clock.now = 40
    sessions.touch(session)
    clock.now = 80
    assert sessions.touch(session) == 2


def test_an_ended_session_may_be_ended_again() -> None:
    """Logging out twice is harmless."""
    sessions = Sessions(60, Clock())
    session = sessions.begin()
    sessions.end(session)
    sessions.end(session)
    assert sessions.count() == 0


@pytest.mark.parametrize(
    ("content", "number"), [(None, None), ("", None), ("0.25", 0.25), (" 30\n", 30.0), ("soon", None)]
)
def test_a_fault_is_a_file(tmp_path: Path, content: str | None, number: float | None) -> None:
    """A fault's number is what its file holds, and none where there is no file or no number."""
    if content is not None:
        (tmp_path / "slow").write_text(content)
    assert Faults(str(tmp_path)).number("slow") == number


def test_an_empty_fault_is_on() -> None:
    """A fault without a value is switched on by an empty file, not by its absence."""
    assert Faults("/nonexistent").get("fail-start") is None


@pytest.mark.parametrize(
    ("release", "row"),
    [("v1", ("n1", "Two Words", "two words")), ("v2", ("n1", "Two Words", 2))],
)
def test_each_release_writes_its_columns(release: str, row: tuple[object, ...]) -> None:
    """v1 writes the folded body, v2 the number of words."""
    assert note_row(RELEASES[release].written, "n1", "Two Words") == row


def test_the_first_note_of_an_id_stays() -> None:
    """A note sent again is not new and changes nothing."""
    notes = MemoryNotes()
    assert notes.add(("id", "body"), ("n1", "first"))
    assert not notes.add(("id", "body"), ("n1", "second"))
    assert notes.get(("body",), "n1") == ("first",)
