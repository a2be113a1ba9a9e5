"""Blocks that keep the files of a node, put them back, and set properties in them."""

from changeover.model.plan import Operation, Step
from changeover.model.release import Kept, Property, Release
from changeover.model.site import Node, Site
from changeover.model.templates import filled, values_of
from changeover.model.words import count
from changeover.strategies.blocks.steps import back, estimate, timeout

KEPT_BY_ITSELF = "/var/lib/changeover/kept"
"""Where a file is kept whose properties are set, if the operator keeps it nowhere."""


def kept(node: Node, site: Site, release: Release) -> tuple[Kept, ...]:
    """What is kept of the node, each directory once; a file whose properties are set is kept in any case."""
    values = values_of(node, site, release)
    found: dict[str, list[str]] = {}
    for it in release.kept:
        found.setdefault(filled(it.to, values), []).extend(filled(path, values) for path in it.paths)
    named = [path for paths in found.values() for path in paths]
    files = (filled(it.file, values) for it in release.properties)
    alone = [file for file in files if not any(file == it or file.startswith(f"{it}/") for it in named)]
    if alone:
        found.setdefault(KEPT_BY_ITSELF, []).extend(alone)
    return tuple(Kept(tuple(dict.fromkeys(paths)), to) for to, paths in found.items())


def keep(node: Node, site: Site, release: Release) -> tuple[Step, ...]:
    """Copy the files elsewhere. Taken back, the copies are let go of once everything is in its place again."""
    return tuple(
        Step(
            id=f"{node.name}/keep{_number(place)}",
            do=Operation("files.keep", node.name, _params(it)),
            undo=back(_let_go(node, it, place, returned=True)),
            summary=f"copy {_named(it)} of {node.name} to {it.to}/{node.name}, and compare",
            timeout=timeout(release, "keep", 3600),
            attempts=2,
            retry_wait=2,
            **estimate(release, "keep", 1),
            unit=node.name,
        )
        for place, it in enumerate(kept(node, site, release))
    )


def put_back(node: Node, site: Site, release: Release) -> tuple[Step, ...]:
    """Make the files again what they were when they were kept."""
    return tuple(
        Step(
            id=f"{node.name}/put-back{_number(place)}",
            do=Operation("files.put-back", node.name, _params(it)),
            summary=f"put {_named(it)} of {node.name} back from {it.to}/{node.name}, and compare",
            undo_note="they are put back again once the node is switched back",
            timeout=timeout(release, "keep", 3600),
            attempts=2,
            retry_wait=2,
            **estimate(release, "keep", 1),
            unit=node.name,
        )
        for place, it in enumerate(kept(node, site, release))
    )


def let_go(node: Node, site: Site, release: Release) -> tuple[Step, ...]:
    """Remove what was kept."""
    return tuple(
        _let_go(node, it, place, returned=False) for place, it in enumerate(kept(node, site, release))
    )


def _let_go(node: Node, it: Kept, place: int, *, returned: bool) -> Step:
    return Step(
        id=f"{node.name}/let-go{_number(place)}",
        do=Operation("files.let-go", node.name, {**_params(it), "returned": returned}),
        summary=f"let go of what was kept in {it.to}/{node.name}",
        undo_note="it is not needed any more",
        timeout=300,
        attempts=2,
        retry_wait=2,
        estimate=0.5,
        unit=node.name,
    )


def properties(
    node: Node, site: Site, release: Release, *, first: bool, prefix: str = ""
) -> tuple[Step, ...]:
    """Set the properties as they are to be for the first start of a new version, or after it."""
    values = values_of(node, site, release)
    return tuple(
        _property(node, it, values, it.first if first else it.then, f"{prefix}property{_number(place)}")
        for place, it in enumerate(release.properties)
    )


def _property(node: Node, it: Property, values: dict[str, str], value: str, name: str) -> Step:
    file = filled(it.file, values)
    return Step(
        id=f"{node.name}/{name}",
        do=Operation("node.property", node.name, {"file": file, "key": it.key, "value": value}),
        summary=f"set {it.key} to {value} in {file} on {node.name}",
        undo_note="the file is put back as a whole",
        timeout=60,
        attempts=2,
        retry_wait=1,
        estimate=0.5,
        unit=node.name,
    )


def _params(it: Kept) -> dict[str, object]:
    return {"paths": list(it.paths), "to": it.to}


def _named(it: Kept) -> str:
    return it.paths[0] if len(it.paths) == 1 else count(len(it.paths), "path")


def _number(place: int) -> str:
    return f"-{place + 1}" if place else ""
