import pytest

from changeover.errors import SpecError
from changeover.probe.exchange import Client, Reply, Site
from changeover.probe.profile import Bulk, Profile, Reference, Verify, Write
from changeover.probe.records import Found, Outcome
from changeover.probe.variables import secrets
from changeover.probe.verification import Verification, bulk_present, found
from tests.unit.probe.scripted import BEGIN, NOTES, Asked, JumpClock, ScriptedSite, Told

BULK = Bulk.model_validate(
    {"method": "POST", "path": "/notes/exists", "json": {"ids": "{ids}"}, "missing": "missing", "size": 2}
)


async def looked(
    scripted: ScriptedSite, clock: JumpClock, write: Write, ids: list[str], seconds: float
) -> dict[str, Found]:
    """What came of looking for these writes."""
    client = Client(Site(scripted.url, 5), cookies=False)
    looking = Verification(write, client, {}, clock)
    verdicts = {checked.id: checked.found async for checked in looking.run(ids, BEGIN + seconds)}
    await client.close()
    return verdicts


def notes_write(bulk: Bulk | None = None) -> Write:
    """How notes are written, with or without a question for many."""
    assert NOTES.write is not None
    return NOTES.write.model_copy(update={"bulk": bulk})


async def test_a_site_that_recovers_is_asked_again(scripted: ScriptedSite, clock: JumpClock) -> None:
    """An error while looking decides nothing; the next round finds the write."""

    async def broken(_: Asked) -> Told:
        return Told(500)

    scripted.notes = {"a"}
    scripted.faults = {0: broken, 1: broken}
    assert await looked(scripted, clock, notes_write(), ["a"], 60) == {"a": Found.PRESENT}
    assert len(scripted.seen) == 3


async def test_a_missing_write_is_missing_after_every_round(scripted: ScriptedSite, clock: JumpClock) -> None:
    """404 is believed only when it is said each time, for a copy may lag behind."""
    assert await looked(scripted, clock, notes_write(), ["a"], 60) == {"a": Found.MISSING}
    assert len(scripted.seen) == 4


async def test_without_time_nothing_is_verified(scripted: ScriptedSite, clock: JumpClock) -> None:
    """When the time is up the rest is unverified, and nobody is asked."""
    assert await looked(scripted, clock, notes_write(), ["a", "b"], 0) == {
        "a": Found.UNVERIFIED,
        "b": Found.UNVERIFIED,
    }
    assert scripted.seen == []


async def test_many_are_asked_for_at_once(scripted: ScriptedSite, clock: JumpClock) -> None:
    """Five present writes take three questions of at most two ids; the one that is not there is asked for singly."""
    scripted.notes = set("abcde")
    verdicts = await looked(scripted, clock, notes_write(BULK), list("abcde"), 60)
    assert set(verdicts.values()) == {Found.PRESENT}
    assert [asked.path for asked in scripted.seen] == ["/notes/exists"] * 3
    assert await looked(scripted, clock, notes_write(BULK), ["a", "x"], 60) == {
        "a": Found.PRESENT,
        "x": Found.MISSING,
    }


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (Reply(Outcome.OK, 200), Found.PRESENT),
        (Reply(Outcome.CONTENT, 200), Found.MISSING),
        (Reply(Outcome.STATUS, 404), Found.MISSING),
        (Reply(Outcome.STATUS, 401), Found.UNVERIFIED),
        (Reply(Outcome.SERVER, 503), Found.UNVERIFIED),
        (Reply(Outcome.TIMEOUT), Found.UNVERIFIED),
    ],
)
def test_what_an_answer_says_about_a_write(reply: Reply, verdict: Found) -> None:
    """Only the site's own word that it is not there makes a write missing."""
    assert found(Verify(path="/x"), reply) is verdict


@pytest.mark.parametrize(
    ("bulk", "reply", "present"),
    [
        (BULK, Reply(Outcome.OK, 200, body=b'{"missing": ["b"]}'), {"a"}),
        (BULK, Reply(Outcome.OK, 200, body=b'{"missing": "b"}'), set()),
        (BULK, Reply(Outcome.OK, 200, body=b"not json"), set()),
        (BULK, Reply(Outcome.SERVER, 500, body=b'{"missing": []}'), set()),
        (Bulk(path="/all"), Reply(Outcome.OK, 200, body=b'[{"name": "a"}]'), {"a"}),
    ],
)
def test_what_an_answer_says_about_many(bulk: Bulk, reply: Reply, present: set[str]) -> None:
    """Only an answer of the right form shows anything."""
    assert bulk_present(bulk, ["a", "b"], reply) == present


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (Reference(env="NOT_SET"), "secrets.key: the environment has no variable NOT_SET"),
        (Reference(file="/nowhere/at-all"), "secrets.key: file /nowhere/at-all cannot be read"),
        (Reference(env="TWO_LINES"), "secrets.key: contains characters that no header can carry"),
    ],
)
def test_a_secret_that_cannot_be_had(reference: Reference, message: str) -> None:
    """The reference is named, and what is wrong with it; never the value."""
    with pytest.raises(SpecError, match=message) as caught:
        secrets(Profile(secrets={"key": reference}), {"TWO_LINES": "hush\nhush"})
    assert "hush" not in caught.value.message
