"""The way back as a document."""

import msgspec

from changeover.model.plan import Facts
from changeover.model.release import Cause, Fallback
from changeover.report import fallback
from changeover.strategies.rolling import rolling
from tests.sites import a_release, a_site
from tests.unit.report.test_plan import rows

PLAN = rolling(a_site(), a_release(), Facts())


def test_the_way_back_from_each_stage_is_told_with_its_length() -> None:
    """From nothing to everything; finalize is no stage to come back from."""
    document = fallback.fallback_document(PLAN)
    ways = rows(document, "From the end of each stage")
    assert ways[0] == "check | undo | 0 | 0.0 s | 0.0 s | nothing to take back"
    assert [way.split(" | ")[0] for way in ways] == [stage.name for stage in PLAN.stages[:-1]]
    steps = [int(way.split(" | ")[2]) for way in ways]
    assert steps == sorted(steps)
    assert any(figure.value.text == "finalize" for figure in document.figures)


def test_when_it_begins_is_told() -> None:
    """By whom, by itself, and until when there is a way back."""
    said = [it.text for it in fallback.fallback_document(PLAN).sections[0].body if hasattr(it, "text")]
    assert said[0] == "It begins with `changeover abort`; a failure stops the run for a person."
    assert said[-1] == "Once finalize has begun there is no way back."
    policy = Fallback(when=frozenset({Cause.FAILURE, Cause.DEADLINE}), deadline=7200)
    plan = msgspec.structs.replace(PLAN, release=msgspec.structs.replace(PLAN.release, fallback=policy))
    said = [it.text for it in fallback.fallback_document(plan).sections[0].body if hasattr(it, "text")]
    assert said[0] == (
        "It begins by itself when a step has failed, or the deadline has passed; and with `changeover abort`."
    )
    assert said[1] == "The run must have been verified 2 h after it began."


def test_what_a_person_would_be_asked_is_told_beforehand() -> None:
    """A schema without a down script is a question, from the moment it is applied on."""
    release = a_release()
    [change] = release.migrations
    bare = tuple(msgspec.structs.replace(it, down="") for it in change.expand)
    plan = rolling(
        a_site(),
        a_release(migrations=(msgspec.structs.replace(change, expand=bare),)),
        Facts(),
    )
    asks = {way.stage: way.asks for way in fallback.outline(plan).ways}
    assert not asks["snapshot"]
    [question] = asks["expand"]
    assert "written to main since the snapshot was taken is lost" in question


def test_the_outline_is_json() -> None:
    """What `plan --fallback --json` prints holds the way back as a plan."""
    said = msgspec.json.decode(msgspec.json.encode(fallback.outline(PLAN)))
    assert said["point_of_no_return"] == "finalize"
    assert said["way_back"]["stages"][0]["name"] == "back-batch-4"
