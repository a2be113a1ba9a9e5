"""What differs between two plans, and what the checks found, as documents."""

from collections.abc import Iterable, Sequence

import msgspec

from changeover.model.diff import Difference, Kind, Subject
from changeover.model.values import Json, Outcome, Verdict
from changeover.model.words import count
from changeover.report.document import Column, Document, Section, Table, Text, Tone, cells

_TITLES = {
    Subject.SITE: "The site",
    Subject.RELEASE: "The release",
    Subject.FACTS: "What was seen of the live site",
    Subject.PLAN: "The plan as a whole",
    Subject.STAGE: "Stages",
    Subject.STEP: "Steps",
}
_MARKS = {Kind.ADDED: ("+", Tone.GOOD), Kind.REMOVED: ("-", Tone.BAD), Kind.CHANGED: ("~", Tone.DOUBT)}
_LONGEST = 72

_VERDICTS = {Outcome.GOOD: Tone.GOOD, Outcome.BAD: Tone.BAD, Outcome.UNKNOWN: Tone.DOUBT}


def diff_document(found: Sequence[Difference], *, before: str, after: str) -> Document:
    """The differences, by what they are in."""
    sections = (
        Section(title, (_table([each for each in found if each.subject is subject]),))
        for subject, title in _TITLES.items()
        if any(each.subject is subject for each in found)
    )
    how_many = count(len(found), "difference") if found else "no difference"
    return Document(title=f"{how_many} between {before} and {after}", sections=tuple(sections))


def _table(found: Iterable[Difference]) -> Table:
    columns = (Column("", whole=True), Column("what", whole=True), Column("before"), Column("after"))
    return Table(columns, tuple(_row(each) for each in found))


def _row(each: Difference) -> tuple[Text, ...]:
    mark, tone = _MARKS[each.kind]
    what = ": ".join(filter(None, (each.name, each.field)))
    return cells(
        Text(mark, tone),
        what,
        "" if each.kind is Kind.ADDED else _short(each.before),
        "" if each.kind is Kind.REMOVED else _short(each.after),
    )


def _short(value: Json) -> str:
    """A value in a few words: of a step or a stage what it is about, of the rest its beginning."""
    if isinstance(value, dict):
        value = value.get("summary") or value.get("title") or value
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _by_cause(verdicts: Iterable[Verdict]) -> list[tuple[Verdict, list[str]]]:
    """Each verdict with the subjects of later ones that only repeat its evidence: what cannot be seen for one cause."""
    causes: list[tuple[Verdict, list[str]]] = []
    for verdict in verdicts:
        for cause, behind in causes:
            unseen = Outcome.UNKNOWN in (cause.outcome, verdict.outcome)
            if unseen and not (cause.good or verdict.good) and _repeats(verdict, cause):
                behind.append(verdict.subject)
                break
        else:
            causes.append((verdict, []))
    return causes


def _repeats(verdict: Verdict, cause: Verdict) -> bool:
    """Whoever hands an error on says before it what was asked."""
    return bool(cause.evidence) and verdict.evidence.endswith(cause.evidence)


def check_document(site: str, verdicts: Sequence[Verdict]) -> Document:
    """Every verdict with its evidence, those that are not good with what to do; the same trouble once."""
    wrong = [verdict for verdict in verdicts if not verdict.good]
    columns = (Column("", whole=True), Column("what", whole=True), Column("evidence"))
    rows = tuple(
        cells(
            Text(verdict.outcome, _VERDICTS[verdict.outcome]),
            verdict.subject,
            verdict.evidence
            + (f" (hint: {verdict.hint})" if verdict.hint and not verdict.good else "")
            + (f"; because of it not looked at: {', '.join(behind)}" if behind else ""),
        )
        for verdict, behind in _by_cause(verdicts)
    )
    summary = f"{len(wrong)} of {count(len(verdicts), 'check')} not good" if wrong else "all good"
    return Document(title=f"{site}: {summary}", sections=(Section("", (Table(columns, rows),)),))
