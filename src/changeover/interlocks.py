"""Rules about the whole site. Each is one pure function over what was observed; a bad verdict stops the run.

They are asked before the effect of every step that touches them, and again after it.
"""

from collections.abc import Mapping

from changeover.model.plan import Operation
from changeover.model.values import Outcome, Value, Verdict
from changeover.model.words import count


class ObservedSite(Value, frozen=True):
    """What was seen just now. `rotation`: balancer → the servers it sends new sessions to.

    `verified`: labels of the snapshots that were verified by restoring them.
    """

    rotation: Mapping[str, frozenset[str]] = {}
    verified: frozenset[str] = frozenset()


STOPS_SERVING = frozenset({"node.stop", "node.switch"})
LEAVES_ROTATION = frozenset({"traffic.drain", "traffic.remove"})
NEEDS_BACKUP = frozenset({"database.migrate", "database.revert", "database.command", "database.restore"})


def capacity_floor(site: ObservedSite, operation: Operation, keep_serving: int) -> Verdict:
    """At least `keep_serving` of our servers stay in rotation in every pool that the operation touches."""
    subject = "capacity floor"
    for balancer, server in operation.params["servers"].items():
        rotation = site.rotation[balancer]
        left = len(rotation - {server})
        if left < keep_serving:
            return Verdict(
                subject,
                Outcome.BAD,
                f"{balancer} would be left with {left} of {count(len(rotation), 'server')} in rotation, the floor is {keep_serving}",
                "bring another node back into rotation, then retry the step",
            )
    return Verdict(subject, Outcome.GOOD, f"at least {keep_serving} stay in rotation")


def nobody_served(site: ObservedSite, operation: Operation) -> Verdict:
    """What a balancer still sends sessions to is not stopped, whatever was skipped or forgotten before."""
    subject = "nothing serving is stopped"
    serving = [name for name, server in operation.params["servers"].items() if server in site.rotation[name]]
    if serving:
        return Verdict(
            subject,
            Outcome.BAD,
            f"{operation.target} is in rotation at {', '.join(serving)}",
            "drain it and take it out first: retry the steps before this one, or do it at the balancer",
        )
    return Verdict(subject, Outcome.GOOD, f"{operation.target} is out of rotation")


def verified_backup(site: ObservedSite, label: str) -> Verdict:
    """No migration without a snapshot of this very run that was verified by restoring it."""
    if label and label not in site.verified:
        return Verdict(
            "verified backup",
            Outcome.BAD,
            f"no verified snapshot {label!r}",
            "retry the steps that take and verify it",
        )
    return Verdict("verified backup", Outcome.GOOD, f"{label} is verified" if label else "none is asked for")
