"""The list of runs, as a document."""

from collections.abc import Sequence

from changeover.engine.journal import RunRecord
from changeover.model.states import RunState
from changeover.model.words import count
from changeover.report.document import Column, Document, Section, Table, Text, Tone, cells
from changeover.report.told import outcome
from changeover.report.words import moment, seconds


def runs_document(records: Sequence[RunRecord]) -> Document:
    """Every run in a line."""
    columns = (
        Column("run", whole=True),
        Column("began", whole=True),
        Column("lasted", right=True, whole=True),
        Column("state"),
        Column("by"),
        Column("reason"),
    )
    return Document(
        title=count(len(records), "run") if records else "no run yet",
        sections=(Section("", (Table(columns, tuple(map(_row, records))),)),) if records else (),
    )


def _row(record: RunRecord) -> tuple[Text, ...]:
    ended = record.ended_at
    # What was skipped stands in its report, not in this list.
    fell_back = record.state is RunState.FELL_BACK
    state = str(record.state) if fell_back else outcome(record.state, finalize_left=False)
    if not ended and not record.conducted:
        state += ", without a conductor"
    return cells(
        record.run,
        moment(record.created_at),
        seconds(ended - record.created_at) if ended else "",
        Text(state, Tone.PLAIN if ended else Tone.STRONG),
        record.actor,
        record.reason,
    )
