"""A rehearsal, and the replay of one of its cases, as documents."""

from collections.abc import Iterable, Iterator, Sequence

from changeover.model.words import count
from changeover.rehearsal import MEANING, Cell, Finding, Kind, Line, Question, Rehearsal, Replay, Worst
from changeover.report.document import Column, Document, Figure, Section, Table, Text, Tone, cells
from changeover.report.words import listed, seconds

ASSUMED = (
    "A person who is asked answers after a minute. Mended means that hosts work again and that what half a migration "
    "has left was set right as the hint says; that takes 45 s more. These are in the outages, not in the way back."
)


def rehearsal_document(made: Rehearsal) -> Document:
    """Findings first; then what came of each fault, what a person is asked, and the worst of everything."""
    return Document(
        title=f"{made.site}: rehearsal of {made.from_version} → {made.to_version}",
        subtitle=f"plan {made.plan[:12]}, {count(made.nodes, 'node')}, {count(made.steps, 'step')}; "
        f"{count(made.cases, 'case')}, {made.pairs} of them pairs of faults (seed {made.seed})",
        figures=tuple(_figures(made)),
        sections=tuple(_sections(made)),
    )


def replay_document(made: Replay) -> Document:
    """What happened in that case, moment by moment."""
    body: list[Text | Table] = [_trace(made.trace)]
    if made.asks:
        body.append(Text(f"A person is asked: {made.asks}", Tone.STRONG))
        body.append(Text(f"Answers to go on with: {', '.join(made.replies) or 'none'}"))
    return Document(
        title=made.case,
        subtitle=f"{made.end}; times are from the begin of the run",
        sections=(
            *(Section(f"Finding: {it.rule}", (Text(it.what, Tone.BAD),)) for it in made.findings),
            Section("What happened", tuple(body)),
        ),
    )


def _figures(made: Rehearsal) -> Iterator[Figure]:
    found = len(made.findings)
    cases = sum(it.cases for it in made.findings)
    yield Figure(
        "findings",
        Text(str(found), Tone.BAD if found else Tone.GOOD),
        f"in {count(cases, 'case')}" if found else "every case ended done, where it began, or stopped safely",
    )
    for worst in made.capacity:
        yield Figure(f"in rotation at {worst.what}", Text(f"{worst.value:g}"), f"at the least: {worst.case}")
    for outage in made.outages:
        yield Figure(f"not so: {outage.what}", Text(seconds(outage.value)), f"at the longest: {outage.case}")
    if made.way_back:
        yield Figure(
            "the way back", Text(seconds(made.way_back.value)), f"at the longest: {made.way_back.case}"
        )
    yield Figure("without a fault", Text(seconds(made.took)), "from the begin to the end of finalize")


def _sections(made: Rehearsal) -> Iterator[Section]:
    for number, finding in enumerate(made.findings, start=1):
        yield Section(f"Finding {number}: {finding.rule}", tuple(_finding(finding)))
    yield Section(
        "What came of each fault",
        (
            Text(
                "Cases that ended done · fell back to where it began · stopped safely; findings in brackets."
            ),
            _outcomes(made.table),
        ),
    )
    yield Section("What a person is asked", (_questions(made.questions),))
    yield Section("The worst", (_worst(made),))
    yield Section("How it was rehearsed", tuple(_how(made)))


def _finding(it: Finding) -> Iterator[Text | Table]:
    yield Text(it.what, Tone.BAD)
    yield Text(
        f"{it.case}, after {seconds(it.at)}; {count(it.cases, 'case')} like it. Again: --replay '{it.case}'"
    )
    if it.trace:
        yield _trace(it.trace)


def _trace(lines: Sequence[Line]) -> Table:
    columns = (Column("at", right=True, whole=True), Column("what"))
    return Table(columns, tuple(cells(f"{it.at:.2f} s", _toned(it.text)) for it in lines))


def _toned(text: str) -> Text:
    tones = {
        "FINDING": Tone.BAD,
        "struck:": Tone.DOUBT,
        "a person is asked:": Tone.STRONG,
        "answered:": Tone.STRONG,
    }
    return Text(text, next((tone for begins, tone in tones.items() if text.startswith(begins)), Tone.PLAIN))


def _outcomes(table: Iterable[Cell]) -> Table:
    """A row for each fault and a column for each stage; all batches behind the first are one."""
    sums: dict[tuple[Kind, str], list[int]] = {}
    for cell in table:
        it = sums.setdefault((cell.kind, _group(cell.stage)), [0, 0, 0, 0])
        for place, more in enumerate((cell.done, cell.fell_back, cell.stopped, cell.findings)):
            it[place] += more
    groups = list(dict.fromkeys(group for _, group in sums))
    order = list(dict.fromkeys(_group(cell.stage) for cell in table)) or groups
    kinds = [kind for kind in Kind if any(kind is it for it, _ in sums)]
    columns = (Column("fault", whole=True), *(Column(group, right=True, whole=True) for group in order))
    return Table(
        columns, tuple((Text(kind), *(_cell(sums.get((kind, group))) for group in order)) for kind in kinds)
    )


def _group(stage: str) -> str:
    return "batches" if stage.startswith("batch-") else stage


def _cell(counts: list[int] | None) -> Text:
    if counts is None:
        return Text("", Tone.QUIET)
    done, back, stopped, findings = counts
    said = f"{done}·{back}·{stopped}"
    return Text(f"{said} ({findings})", Tone.BAD) if findings else Text(said)


def _questions(questions: Sequence[Question]) -> Table:
    columns = (
        Column("stage", whole=True),
        Column("not before", right=True, whole=True),
        Column("cases", right=True, whole=True),
        Column("what is asked"),
        Column("answers"),
    )
    return Table(columns, tuple(_question(it) for it in questions))


def _question(it: Question) -> tuple[Text, ...]:
    hint = f" ({it.hint})" if it.hint else ""
    return cells(
        Text(it.stage, Tone.STRONG),
        seconds(it.first),
        str(it.cases),
        f"{it.text}{hint}",
        ", ".join(it.replies),
    )


def _worst(made: Rehearsal) -> Table:
    columns = (Column("what"), Column("at worst", right=True, whole=True), Column("in which case"))
    rows = [cells(f"servers in rotation at {it.what}", f"{it.value:g}", it.case) for it in made.capacity]
    rows += [cells(f"for so long not: {it.what}", seconds(it.value), it.case) for it in made.outages]
    back: Worst | None = made.way_back
    if back:
        rows.append(cells("the way back", seconds(back.value), back.case))
    return Table(columns, tuple(rows))


def _how(made: Rehearsal) -> Iterator[Text | Table]:
    yield Text(
        f"The engine and the actions are the real ones; the site is simulated. {count(made.cases, 'case')} in "
        f"{count(made.plays, 'play')}, each from one question to the next; what was played before is not played again."
    )
    yield Text(f"Clients: {made.clients}; every one of them is counted.")
    yield Text(ASSUMED)
    yield Table(
        (Column("fault", whole=True), Column("what goes wrong")),
        tuple(cells(kind, meaning) for kind, meaning in MEANING.items()),
    )
    if made.alike:
        yield Text(
            f"Of {made.steps} steps {made.rehearsed_steps} were struck: one target of each class stands for the others.",
            Tone.STRONG,
        )
        yield Table(
            (Column("target", whole=True), Column("stands for"), Column("because they have")),
            tuple(
                cells(it.target, listed(list(it.stands_for)) or Text("itself alone", Tone.QUIET), it.why)
                for it in made.alike
            ),
        )
    else:
        yield Text("Every step of every node was struck.")
