"""Kept files, properties and logs, held against the site they are on."""

from collections.abc import Iterator

from changeover.model.release import Kept, KnownIssue, LogWatch, Property
from changeover.model.site import Site
from changeover.model.templates import OF_A_NODE, PLACEHOLDER
from changeover.spec.located import Text
from changeover.spec.problems import Problems, nearest
from changeover.spec.sections.files import end_of
from changeover.spec.sections.upgrade import Upgrade

LOG_STEPS = ("first-log", "start-log", "old-log")
"""The steps that read a log: after the first start of the head node, after each other one, on the way back."""


def build_kept(upgrade: Upgrade) -> tuple[Kept, ...]:
    """What is kept of each node."""
    return tuple(Kept(tuple(map(str, it.paths)), str(it.to)) for it in upgrade.kept)


def build_properties(upgrade: Upgrade) -> tuple[Property, ...]:
    """What is set in the files of each node."""
    return tuple(
        Property(file=str(it.file), key=str(it.key), first=str(it.first), then=str(it.then))
        for it in upgrade.properties
    )


def build_logs(upgrade: Upgrade) -> tuple[LogWatch, ...]:
    """What is read of each node."""
    return tuple(
        LogWatch(
            path=str(it.path),
            errors=tuple(map(str, it.errors)),
            known=tuple(
                KnownIssue(
                    pattern=str(known.pattern),
                    most=known.most,
                    version=str(known.version or ""),
                    step=str(known.step or ""),
                    owner=str(known.owner or ""),
                    expires=end_of(known.expires) if known.expires else 0.0,
                )
                for known in it.known
            ),
            context=it.context,
        )
        for it in upgrade.logs
    )


def check_files(upgrade: Upgrade, site: Site | None, problems: Problems) -> None:
    """Nothing is kept within itself or twice, every placeholder has a value, and what is known can come up."""
    every = [path for it in upgrade.kept for path in it.paths]
    for it in upgrade.kept:
        for path in every:
            if f"{it.to}/".startswith(f"{path}/"):
                where = "there" if path in it.paths else f"as line {path.place.line} wants it"
                problems.add(it.to.place, f"it lies within {path}, which is kept {where}")
    _refuse_twins(every, "is kept already", problems)
    _refuse_twins([it.path for it in upgrade.logs], "is read already", problems)
    twins: dict[tuple[str, str], int] = {}
    for prop in upgrade.properties:
        line = twins.setdefault((prop.file, prop.key), prop.key.place.line)
        if line != prop.key.place.line:
            problems.add(prop.key.place, f"this key is set already in line {line}")
    versions = (str(upgrade.from_version), str(upgrade.to_version))
    for known in (known for log in upgrade.logs for known in log.known):
        if known.version is not None and known.version not in versions:
            problems.unknown(
                known.version.place, "this is neither the old nor the new version", known.version, versions
            )
        if known.step is not None and known.step.rpartition("/")[2] not in LOG_STEPS:
            problems.unknown(known.step.place, "no such step reads a log", known.step, LOG_STEPS)
    if site:
        _check_placeholders(upgrade, site, problems)


def _refuse_twins(paths: list[Text], what: str, problems: Problems) -> None:
    taken: dict[str, int] = {}
    for path in paths:
        if path in taken:
            problems.add(path.place, f"{path} {what}, in line {taken[path]}")
        taken.setdefault(str(path), path.place.line)


def _check_placeholders(upgrade: Upgrade, site: Site, problems: Problems) -> None:
    everywhere = {*OF_A_NODE, *site.application.variables, *map(str, upgrade.variables)}
    for text in _paths(upgrade):
        for name in PLACEHOLDER.findall(text):
            lacking = [it.name for it in site.application.nodes if name not in everywhere | set(it.variables)]
            if lacking:
                what = f"{{{name}}} has no value for {lacking[0]}"
                problems.add(text.place, what, nearest=nearest(name, everywhere))


def _paths(upgrade: Upgrade) -> Iterator[Text]:
    for it in upgrade.kept:
        yield from (*it.paths, it.to)
    yield from (it.file for it in upgrade.properties)
    yield from (it.path for it in upgrade.logs)
