"""Blocks for the application as a whole: its deployments' flush, what it must answer, its storage."""

import msgspec

from changeover.model.plan import Operation, Step
from changeover.model.release import Release
from changeover.model.site import Node, Site
from changeover.strategies.blocks.steps import back, chain, estimate, look, timeout

FLUSH_PATIENCE = 86400.0
"""Seconds that a flush may go on for, as long as it makes progress."""


def flush(deployment: str, site: Site, release: Release) -> tuple[Step, Step]:
    """Switch the flush of the deployment on, and wait until nothing of it is outstanding."""
    on, flushed = _flushing(deployment, site, release)
    return (
        msgspec.structs.replace(on, undo=back(_unflush(deployment, site))),
        msgspec.structs.replace(flushed, undo_note="what was written out stays written"),
    )


def unflush(deployment: str, site: Site, release: Release) -> Step:
    """Switch it off, so that the deployment sends again."""
    return msgspec.structs.replace(
        _unflush(deployment, site), undo=back(*chain(*_flushing(deployment, site, release)))
    )


def _flushing(deployment: str, site: Site, release: Release) -> tuple[Step, Step]:
    node = site.head.name
    on = Step(
        id=f"{deployment}/flush",
        do=Operation("application.flush", deployment, {"node": node}),
        summary=f"switch the flush of {deployment} on: it stops sending, and works off what it has not written out",
        timeout=60,
        attempts=2,
        retry_wait=2,
        estimate=0.1,
    )
    patience = release.flush
    ignores = "ignore" in site.application.capabilities
    flushed = Step(
        id=f"{deployment}/flushed",
        do=Operation(
            "application.flushed", deployment, {"node": node, "stall": patience.stall, "poll": patience.poll}
        ),
        summary=f"wait until nothing of {deployment} is outstanding; stop if it is no less for {patience.stall:g} s",
        needs=(on.id,),
        timeout=timeout(release, "flush", FLUSH_PATIENCE),
        **estimate(release, "flush", 60),
        answers={"ignore": "exactly the rows shown are given up, and what they hold is lost"}
        if ignores
        else {},
    )
    return on, flushed


def _unflush(deployment: str, site: Site) -> Step:
    return Step(
        id=f"{deployment}/unflush",
        do=Operation("application.unflush", deployment, {"node": site.head.name}),
        summary=f"switch the flush of {deployment} off: it sends again",
        timeout=60,
        attempts=2,
        retry_wait=2,
        estimate=0.1,
    )


def expect(site: Site, release: Release, name: str = "expect") -> list[Step]:
    """See that the application answers as it must before anything is stopped; no step where nothing is expected."""
    if not release.expectations:
        return []
    answers = {it.ask: it.answer for it in release.expectations}
    said = ", ".join(f"{ask} is {answer}" for ask, answer in answers.items())
    application = site.application.name
    return [
        look(
            f"{application}/{name}",
            Operation("application.expect", application, {"node": site.head.name, "answers": answers}),
            f"see that {said}",
        )
    ]


def clean(node: Node, release: Release) -> Step:
    """Clean the storage of a node that does not run, and has nothing outstanding."""
    return Step(
        id=f"{node.name}/clean",
        do=Operation("application.clean", node.name),
        summary=f"clean the storage of {node.name}",
        undo_note="what was there had been written out",
        timeout=timeout(release, "clean", 300),
        attempts=2,
        retry_wait=2,
        **estimate(release, "clean", 5),
        unit=node.name,
    )
