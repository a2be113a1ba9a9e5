"""Which strategies fit a file, and why the others do not, as a document."""

from collections.abc import Mapping, Sequence

from changeover.errors import SpecError
from changeover.model.plan import Plan
from changeover.model.values import Value
from changeover.model.words import count
from changeover.report.document import Column, Document, Section, Table, Text, Tone, cells
from changeover.report.estimate import estimate
from changeover.report.words import seconds


class Fitting(Value, frozen=True):
    """What a strategy comes to: how long it `lasts` (seconds), how many nodes serve at the least; or `why` it does not fit.

    `chosen` is the one that the file names. `hint` says what would have to change.
    """

    strategy: str
    chosen: bool
    fits: bool
    lasts: float = 0.0
    in_rotation: int = 0
    stages: tuple[str, ...] = ()
    why: str = ""
    hint: str = ""


def fittings(plans: Mapping[str, Plan | SpecError], chosen: str) -> list[Fitting]:
    """Of each strategy what its plan comes to, or why it makes none."""
    return [_fitting(name, it, chosen=name == chosen) for name, it in plans.items()]


def _fitting(name: str, plan: Plan | SpecError, *, chosen: bool) -> Fitting:
    if isinstance(plan, SpecError):
        return Fitting(name, chosen, fits=False, why=plan.message, hint=plan.hint)
    return Fitting(
        name,
        chosen,
        fits=True,
        lasts=estimate(plan).lasts,
        in_rotation=_least(plan),
        stages=tuple(stage.name for stage in plan.stages),
    )


def strategies_document(site: str, known: Sequence[Fitting]) -> Document:
    """A line for each strategy: what it comes to, or what stands in its way."""
    columns = (
        Column("strategy", whole=True),
        Column("", whole=True),
        Column("about", right=True, whole=True),
        Column("serving at the least", whole=True),
        Column("stages, or why not"),
    )
    fit = sum(it.fits for it in known)
    return Document(
        title=f"{site}: {fit} of {count(len(known), 'strategy', 'strategies')} {'fits' if fit == 1 else 'fit'}",
        sections=(Section("", (Table(columns, tuple(map(_row, known))),)),),
    )


def _row(it: Fitting) -> tuple[Text, ...]:
    name = Text(f"{it.strategy} (chosen)" if it.chosen else it.strategy, Tone.STRONG)
    if not it.fits:
        why = f"{it.why}; {it.hint}" if it.hint else it.why
        return cells(name, Text("no", Tone.BAD), "", "", why)
    serving = count(it.in_rotation, "node") if it.in_rotation else Text("nobody is served", Tone.DOUBT)
    return cells(name, Text("fits", Tone.GOOD), seconds(it.lasts), serving, ", ".join(it.stages))


def _least(plan: Plan) -> int:
    return min((0 if stage.outage else stage.in_rotation for stage in plan.stages), default=0)
