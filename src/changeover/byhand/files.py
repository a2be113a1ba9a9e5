"""Kept files, properties and logs by hand. The target is the node on whose host they are."""

import shlex
from collections.abc import Mapping

from changeover.byhand.base import ByHand
from changeover.model.instructions import Instruction
from changeover.model.plan import Plan, Step

MARKS = "/root/marks"


def _at(step: Step, plan: Plan) -> str:
    return f"{plan.site.node(step.do.target).host}, as root"


def _copies(step: Step) -> list[tuple[str, str]]:
    """Each path with where its copy is."""
    to = f"{step.do.params['to']}/{step.do.target}"
    return [(path, f"{to}{path}") for path in step.do.params["paths"]]


def _copied(source: str, target: str) -> str:
    parent = shlex.quote(target.rpartition("/")[0])
    return f"mkdir --parents {parent} && cp --archive --no-target-directory {shlex.quote(source)} {shlex.quote(target)}"


def _same(one: str, other: str) -> str:
    return f"diff --recursive --no-dereference {shlex.quote(one)} {shlex.quote(other)}"


def _keep(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    lines = [line for path, copy in _copies(step) for line in (_copied(path, copy), _same(path, copy))]
    return (Instruction(_at(step, plan), "\n".join(lines), "no difference"),)


def _put_back(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    lines = [line for path, copy in _copies(step) for line in (_copied(copy, path), _same(copy, path))]
    return (Instruction(_at(step, plan), "\n".join(lines), "no difference"),)


def _let_go(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    directory = shlex.quote(f"{step.do.params['to']}/{step.do.target}")
    return (Instruction(_at(step, plan), f"rm --recursive {directory}"),)


def _property(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    file, key, value = (step.do.params[name] for name in ("file", "key", "value"))
    return (
        Instruction(_at(step, plan), f"editor {shlex.quote(file)}\n{key}={value}", "nothing else differs"),
    )


def _mark(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    lines = [f"mkdir --parents {MARKS}"]
    lines += [
        f"stat --format=%s {shlex.quote(path)} > {MARKS}/{_name(path, step)} || echo 0 > {MARKS}/{_name(path, step)}"
        for path in step.do.params["paths"]
    ]
    return (Instruction(_at(step, plan), "\n".join(lines), "how long each log is now"),)


def _check(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    found = []
    for log in step.do.params["logs"]:
        path, pattern = log["path"], "|".join(f"({it})" for it in log["errors"])
        since = f"tail --bytes=+$(($(cat {MARKS}/{_name(path, step)}) + 1)) {shlex.quote(path)}"
        known = "; ".join(f"{it['pattern']} at most {it.get('most', 1)} times" for it in log.get("known", ()))
        expect = f"nothing but: {known}" if known else "nothing"
        found.append(
            Instruction(_at(step, plan), f"{since} | grep --extended-regexp {shlex.quote(pattern)}", expect)
        )
    return tuple(found)


def _name(path: str, step: Step) -> str:
    return shlex.quote(f"{step.do.params['label']}-{path.strip('/').replace('/', '-')}")


def _forget(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    return (Instruction(_at(step, plan), f"rm --recursive --force {MARKS}"),)


BY_HAND: Mapping[str, ByHand] = {
    "files.keep": _keep,
    "files.put-back": _put_back,
    "files.let-go": _let_go,
    "node.property": _property,
    "log.mark": _mark,
    "log.check": _check,
    "log.forget": _forget,
}
