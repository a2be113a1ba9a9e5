"""Cases on real hosts as a document."""

from collections.abc import Iterator, Sequence

from changeover.labrehearsal.cases import HOW
from changeover.labrehearsal.results import OnHosts, Played
from changeover.model.words import count
from changeover.rehearsal import End, Finding, Line, parse
from changeover.report.document import Column, Document, Figure, Section, Table, Text, Tone, cells
from changeover.report.words import seconds

TONES = {End.DONE: Tone.GOOD, End.FELL_BACK: Tone.GOOD, End.STOPPED: Tone.DOUBT, End.FINDING: Tone.BAD}
MARKS = {End.DONE: "✓", End.FELL_BACK: "✓", End.STOPPED: "✓", End.FINDING: "✗"}


def line_of(played: Played) -> Text:
    """A case in a line, as it is told when it has been played."""
    return Text(f"{MARKS[played.end]} {played.case}  {played.end}, {seconds(played.took)}", TONES[played.end])


def document(made: OnHosts) -> Document:
    """Findings first; then each case, what they cost, and what was left out."""
    return Document(
        title=f"{made.site}: rehearsal of {made.from_version} → {made.to_version} on real hosts",
        subtitle=f"lab {made.lab} ({made.form}), {count(made.nodes, 'node')}, plan {made.plan[:12]}; "
        f"{count(len(made.cases), 'case')} in {seconds(made.took)}",
        figures=tuple(_figures(made)),
        sections=tuple(_sections(made)),
    )


def _figures(made: OnHosts) -> Iterator[Figure]:
    found = len(made.findings)
    good = "every case ended done, where it began, or stopped safely"
    yield Figure("findings", Text(str(found), Tone.BAD if found else Tone.GOOD), "" if found else good)
    if not made.cases:
        return
    lost = sum(it.writes_lost for it in made.cases)
    written = sum(it.writes_acknowledged for it in made.cases)
    yield Figure(
        "acknowledged writes lost", Text(str(lost), Tone.BAD if lost else Tone.GOOD), f"of {written}"
    )
    least = min(made.cases, key=lambda it: it.in_rotation)
    yield Figure("in rotation", Text(str(least.in_rotation)), f"at the least: {least.case}")
    gap = max(made.cases, key=lambda it: it.gap)
    yield Figure("nobody was answered", Text(seconds(gap.gap)), f"at the longest: {gap.case}")
    back = max(made.cases, key=lambda it: it.way_back)
    if back.way_back:
        yield Figure("the way back", Text(seconds(back.way_back)), f"at the longest: {back.case}")


def _sections(made: OnHosts) -> Iterator[Section]:
    for number, finding in enumerate(made.findings, start=1):
        yield Section(f"Finding {number}: {finding.rule}", tuple(_finding(finding)))
    for stage in made.stages:
        played = [it for it in made.cases if it.stage == stage]
        if played:
            yield Section(stage, (_cases(played),))
    if made.left_out:
        yield Section("Left out", tuple(_left_out(made)))
    yield Section("How it was rehearsed", tuple(_how(made)))


def _finding(it: Finding) -> Iterator[Text | Table]:
    yield Text(it.what, Tone.BAD)
    yield Text(f"{it.case}. Again: --lab --replay '{it.case}'")
    if it.trace:
        yield trace(it.trace)


def trace(lines: Sequence[Line]) -> Table:
    """What happened in a case, moment by moment."""
    columns = (Column("at", right=True, whole=True), Column("what"))
    return Table(columns, tuple(cells(f"{it.at:.2f} s", it.text) for it in lines))


def _cases(played: Sequence[Played]) -> Table:
    columns = (
        Column("case", whole=True),
        Column("ended", whole=True),
        Column("asked", right=True),
        Column("least in rotation", right=True),
        Column("requests failed", right=True),
        Column("writes lost", right=True, whole=True),
        Column("took", right=True, whole=True),
    )
    return Table(
        columns,
        tuple(
            cells(
                it.case,
                Text(it.end, TONES[it.end]),
                str(it.asked),
                str(it.in_rotation),
                str(it.requests_failed),
                f"{it.writes_lost} of {it.writes_acknowledged}{_given_up(it)}",
                seconds(it.took),
            )
            for it in played
        ),
    )


def _given_up(it: Played) -> str:
    return f", {it.writes_given_up} given up" if it.writes_given_up else ""


def _left_out(made: OnHosts) -> Iterator[Text | Table]:
    total = sum(len(it.cases) for it in made.left_out)
    yield Text(
        f"{count(total, 'case')}: --cases PATTERN plays some of them, --all every one; --json names them."
    )
    rows = []
    for it in made.left_out:
        faults: dict[str, int] = {}
        for case in it.cases:
            kind = str(parse(case).strikes[-1].kind)
            faults[kind] = faults.get(kind, 0) + 1
        said = ", ".join(f"{kind} {number}" for kind, number in faults.items())
        rows.append(cells(it.stage, str(len(it.cases)), said))
    yield Table((Column("stage", whole=True), Column("cases", right=True), Column("faults")), tuple(rows))


def _how(made: OnHosts) -> Iterator[Text | Table]:
    yield Text(
        "Before each case the lab was put back to its first state. The conductor is a process of its own, and is held while "
        "a host is broken; the balancer, the application, the database and the disks were looked at past it. "
        "A person mends what is broken before answering retry or abort. Finalize is approved only where a fault strikes behind it."
    )
    if any(it.writes_given_up for it in made.cases):
        yield Text("Given up: written after the snapshot that a person agreed to restore.")
    struck = {strike.kind for it in made.cases for strike in parse(it.case).strikes}
    yield Table(
        (Column("fault", whole=True), Column("on real hosts")),
        tuple(cells(kind, how) for kind, how in HOW.items() if kind in struck),
    )
    if made.beyond:
        yield Text(f"Only the simulated site can bring about: {', '.join(made.beyond)}.")
