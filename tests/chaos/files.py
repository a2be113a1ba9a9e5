"""A site made of files: every effect is a file, every beginning a line in a log that outlives the conductor."""

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, cast

from changeover.actions.base import Context, Params
from changeover.model.plan import Operation, Plan, Stage, Step
from changeover.model.values import Observation, absent, done, unknown
from changeover.ports import World
from tests.chaos.harness import Built
from tests.sites import a_release, a_site

NODES = 6
CHAIN = ("drain", "stop", "switch", "start", "health", "enter")
SLOW_SECONDS = 0.3


class RealClock:
    """The time of this machine."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Touch:
    """The effect is a file. With `half` it comes about in two steps, and half of it cannot be told from any.

    What must not happen is written into the log, where the test finds it: an effect that is made twice, and
    one that is begun before what it needs is there.
    """

    kind: ClassVar[str] = "touch"
    params: ClassVar[type[Params]] = Params

    def __init__(self, directory: Path) -> None:
        self._effects = directory / "effects"
        self._effects.mkdir(exist_ok=True)
        self._log = os.open(directory / "effects.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    async def observe(self, operation: Operation, context: Context) -> Observation:
        if effect(self._effects.parent, operation.target).exists():
            return done("the file is there")
        if _half(self._effects.parent, operation.target).exists():
            return unknown("half of the file is there")
        return absent("no file")

    async def perform(self, operation: Operation, context: Context) -> str:
        directory, name = self._effects.parent, operation.target
        self._say("begin", name)
        for before in operation.params["after"]:
            if not effect(directory, before).exists():
                self._say("disorder", name)
        if effect(directory, name).exists():
            self._say("repeated", name)
        await asyncio.sleep(operation.params["seconds"] / 2)
        made = _half(directory, name) if operation.params["half"] else self._effects / f"{os.getpid()}.new"
        made.write_text(name)
        if operation.params["half"]:
            await asyncio.sleep(operation.params["seconds"] / 2)
        made.rename(effect(directory, name))
        self._say("made", name)
        return "wrote the file"

    def _say(self, word: str, name: str) -> None:
        os.write(self._log, f"{word} {name} {os.getpid()}\n".encode())


def effect(directory: Path, step: str) -> Path:
    """The file that is the effect of a step."""
    return directory / "effects" / step.replace("/", "_")


def _half(directory: Path, step: str) -> Path:
    return effect(directory, step).with_suffix(".half")


def mend(directory: Path, step: str) -> None:
    """What a person does about a half-done effect: take it away."""
    _half(directory, step).unlink(missing_ok=True)


def log(directory: Path) -> list[tuple[str, str, int]]:
    """What was written down about effects: word, step, process."""
    lines = (directory / "effects.log").read_text().splitlines()
    return [(word, name, int(pid)) for word, name, pid in (line.split() for line in lines)]


def counts(directory: Path) -> Counter[str]:
    """How often each word is in the log."""
    return Counter(word for word, _, _ in log(directory))


def rolling(directory: Path) -> Built:
    """A rolling upgrade of six nodes in three batches, each effect a few milliseconds."""
    return _built(directory, 0.004)


def slow_rolling(directory: Path) -> Built:
    """The same with effects that take their time, to be met while they are in flight."""
    return _built(directory, SLOW_SECONDS)


def _built(directory: Path, seconds: float) -> Built:
    world = World({}, {}, {}, cast("Any", None), RealClock())
    return Built(_plan(seconds), world, {Touch.kind: Touch(directory)})


def _plan(seconds: float) -> Plan:
    nodes = [f"app{number}" for number in range(1, NODES + 1)]
    stages: list[tuple[str, list[list[tuple[str, dict[str, Any]]]]]] = [
        ("prechecks", [[(f"{node}/check", {})] for node in nodes]),
        ("staging", [[(f"{node}/install", {"limits": ("installs",)})] for node in nodes]),
        ("database", [[("main/snapshot", {}), ("main/verify", {}), ("main/expand", {"half": True})]]),
        *(
            (
                f"batch-{first // 2 + 1}",
                [
                    [(f"{node}/{what}", {"half": what == "switch"}) for what in CHAIN]
                    for node in nodes[first : first + 2]
                ],
            )
            for first in range(0, NODES, 2)
        ),
        ("verification", [[(f"{node}/verify", {})] for node in nodes]),
    ]
    made: list[Stage] = []
    before: list[str] = []
    for name, chains in stages:
        steps = [step for chain in chains for step in _chain(chain, tuple(before), seconds)]
        made.append(Stage(name, name, tuple(steps)))
        before += [step.id for step in steps]
    gate = Step("finalize/approve", Operation("person", "finalize"), "give up the way back", person=True)
    final = _chain([("main/contract", {}), ("main/forget", {})], tuple(before), seconds, needs=gate.id)
    made.append(Stage("finalize", "finalize", (gate, *final), finalize=True))
    return Plan(a_site(), a_release(), tuple(made), limits={"installs": 3, "rotation": 2})


def _chain(
    chain: list[tuple[str, dict[str, Any]]], before: tuple[str, ...], seconds: float, needs: str = ""
) -> list[Step]:
    steps: list[Step] = []
    for name, more in chain:
        after = (*before, *(step.id for step in steps))
        params = {"after": list(after), "half": more.get("half", False), "seconds": seconds}
        need = (steps[-1].id,) if steps else ((needs,) if needs else ())
        limits = more.get("limits", ("rotation",) if name.endswith(("drain", "stop")) else ())
        steps.append(
            Step(
                name,
                Operation(Touch.kind, name, params),
                name,
                needs=need,
                limits=limits,
                unit=name.split("/")[0],
            )
        )
    return steps
