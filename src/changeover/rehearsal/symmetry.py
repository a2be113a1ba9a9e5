"""Which targets of a large plan are alike, so that one of each class is enough.

Two nodes are alike when the plan does the same to them, in stages of the same role: a canary is like no other node, nor
are the first batch and the last one like those between them; where nothing rolls, the head is like no other. Of alike nodes of one batch the first stands for the others.
A host is with the node that lives on it. What is done to balancers, databases and people is rehearsed in full.
"""

from collections.abc import Iterator, Mapping

import msgspec

from changeover.model.plan import Plan, Stage, Step
from changeover.model.site import Node
from changeover.rehearsal.results import Alike

LARGE = 8
"""Up to so many nodes every one of them is rehearsed."""


def reduced(plan: Plan, large: int = LARGE) -> tuple[list[str], tuple[Alike, ...]]:
    """The steps to strike, in the plan's order, and who stands for whom; all of them while the plan is not large."""
    nodes = plan.site.application.nodes
    if len(nodes) <= large:
        return [step.id for step in plan.steps()], ()
    roles = dict(_roles(plan))
    owners = {node.host: node.name for node in reversed(nodes)} | {node.name: node.name for node in nodes}
    done_to: dict[str, list[tuple[Stage, Step]]] = {node.name: [] for node in nodes}
    for stage in plan.stages:
        for step in stage.steps:
            if owner := owners.get(_subject(step)):
                done_to[owner].append((stage, step))
    classes: dict[object, list[str]] = {}
    for node in nodes:
        signature = tuple(
            (
                roles[stage.name].removesuffix(f"-{node.name}"),
                _without(step.id, node),
                _without_all(step, node),
            )
            for stage, step in done_to[node.name]
        )
        first = node == plan.site.head and not any(stage.batch for stage in plan.stages)
        classes.setdefault((first, signature), []).append(node.name)
    chosen = {names[0] for names in classes.values()}
    alike = tuple(
        Alike(names[0], tuple(names[1:]), _why(roles, done_to[names[0]])) for names in classes.values()
    )
    steps = [
        step.id for step in plan.steps() if (owner := owners.get(_subject(step))) is None or owner in chosen
    ]
    return steps, alike


def _subject(step: Step) -> str:
    """The node that the step belongs to, else what it is done to."""
    return step.unit or step.do.target


def _roles(plan: Plan) -> Iterator[tuple[str, str]]:
    """Stage → its role: of the batches the canary, the first and the last are each something of their own."""
    batches = [stage.name for stage in plan.stages if stage.batch]
    for stage in plan.stages:
        if not stage.batch or stage.name == "canary":
            yield stage.name, stage.name
            continue
        rest = [name for name in batches if name != "canary"]
        place = rest.index(stage.name)
        role = (
            "the first batch"
            if place == 0
            else "the last batch"
            if place == len(rest) - 1
            else "a batch between"
        )
        yield stage.name, role


def _without(text: str, node: Node) -> str:
    return "/".join("it" if part in (node.name, node.host) else part for part in text.split("/"))


def _without_all(step: Step, node: Node) -> str:
    """What the step is, with the names of its node left out."""
    own = {node.name, node.host, *node.servers.values()}

    def strip(value: object) -> object:
        if isinstance(value, Mapping):
            return {str(name): strip(it) for name, it in value.items()}
        if isinstance(value, list | tuple):
            return [strip(it) for it in value]
        return "it" if isinstance(value, str) and value in own else value

    said = [step.do.action, strip(step.do.params), step.timeout, step.attempts, step.limits, bool(step.undo)]
    return msgspec.json.encode(said, order="deterministic").decode()


def _why(roles: Mapping[str, str], steps: list[tuple[Stage, Step]]) -> str:
    """What the class has in common, in the words of the plan."""
    batch = next((f", in {roles[stage.name]}" for stage, _ in steps if stage.batch), "")
    return f"the same {len(steps)} steps{batch}"
