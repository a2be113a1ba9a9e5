"""Files of a node that are kept outside of the installation, and put back. The target is the node.

They are kept in `to/NODE`, under their own paths, beside a list of what they were (`changeover.json`) that names the run.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from changeover.actions.base import Context, Params
from changeover.actions.hosts import HostOf
from changeover.errors import StepError
from changeover.model.plan import Operation
from changeover.model.values import Observation, Value, absent, done, unknown
from changeover.model.words import count

Trees = Mapping[str, Mapping[str, str]]
"""Path → what is there, as the host tells it: each entry with its kind, mode, owner and checksum."""

SHOWN = 5
"""How many differences are told."""


class Keeping(Params, frozen=True):
    """Files and directories, and the directory in which they are kept."""

    paths: tuple[str, ...]
    to: str


class LettingGo(Keeping, frozen=True):
    """That; `returned`: only what is back in its place is let go of."""

    returned: bool = False


class _List(Value, frozen=True):
    """Whose copies they are, and what they are; nothing is listed before all are there."""

    run: str
    trees: Mapping[str, Mapping[str, str]] = {}


class _Copies:
    """The copies that an operation speaks of."""

    def __init__(self, operation: Operation, context: Context) -> None:
        params = LettingGo.of(operation)
        self._host = HostOf(operation.target, context)
        self._run = context.run
        self.paths = params.paths
        self.directory = f"{params.to}/{operation.target}"
        self._list = f"{self.directory}/changeover.json"

    def place(self, path: str) -> str:
        """Where the copy of that path is."""
        return f"{self.directory}{path}"

    async def listed(self) -> _List | None:
        """The list, if there is one."""
        content = await self._host.read(self._list)
        try:
            return None if content is None else msgspec.json.decode(content, type=_List)
        except msgspec.DecodeError:
            raise StepError(
                f"{self._list} is not a list of kept files", hint="see whose it is, and move it away"
            ) from None

    async def ours(self) -> Trees:
        """What was kept by this run, none if it was not yet; `StepError` if somebody else's is there."""
        listed = await self.listed()
        if listed is None:
            return {}
        if listed.run != self._run:
            raise StepError(
                f"{self.directory} holds what run {listed.run} kept",
                hint="move it away if it is still needed, else remove it; or name another directory under `upgrade.kept`",
            )
        return listed.trees

    async def claim(self) -> None:
        """See that the directory is ours to write to."""
        there = await self._host.tree(self.directory) or {}
        if await self.listed() is None and any(
            name != "." for name in there
        ):  # a write that failed leaves it empty
            raise StepError(
                f"{self.directory} is there already, and no run has kept anything in it",
                hint="move it away, or name another directory under `upgrade.kept`",
            )
        await self._write(_List(self._run))

    async def keep(self) -> Trees:
        """Copy all of it, and see that the copies are what they were copied from."""
        trees: dict[str, Mapping[str, str]] = {}
        for path in self.paths:
            tree = await self._host.tree(path)
            if tree is None:
                raise StepError(f"there is no {path} on {self._host.name}", hint="correct `upgrade.kept`")
            await self._host.copy(path, self.place(path))
            trees[path] = tree
        wrong = [*await self.changed(trees), *await self.changed(trees, copies=True)]
        if wrong:
            raise StepError(
                f"a copy is not what it was copied from: {_some(wrong)}",
                hint="see who is writing to these files, then retry",
            )
        await self._write(_List(self._run, trees))
        return trees

    async def changed(self, trees: Trees, *, copies: bool = False) -> list[str]:
        """What is not as listed, in its place or among the copies."""
        return [
            difference
            for path, tree in trees.items()
            for place in [self.place(path) if copies else path]
            for difference in differences(place, tree, await self._host.tree(place))
        ]

    async def put_back(self, trees: Trees) -> None:
        """Copy them to where they belong; copies that have changed meanwhile are put nowhere."""
        wrong = await self.changed(trees, copies=True)
        if wrong:
            raise StepError(
                f"what was kept has been changed since: {_some(wrong)}", hint="see who did, and set it right"
            )
        for path, tree in trees.items():
            if differences(path, tree, await self._host.tree(path)):
                await self._host.copy(self.place(path), path)

    async def let_go(self) -> None:
        """Remove the copies, the list last."""
        for path in self.paths:
            await self._host.remove(self.place(path))
        await self._host.remove(self.directory)

    async def _write(self, listed: _List) -> None:
        await self._host.write(self._list, msgspec.json.encode(listed, order="deterministic"))


def differences(path: str, was: Mapping[str, str], now: Mapping[str, str] | None) -> list[str]:
    """What differs between two trees, entry by entry: kinds, modes, owners, contents."""
    found = []
    for name in sorted(was.keys() | (now or {}).keys()):
        before, after = was.get(name, "nothing"), (now or {}).get(name, "nothing")
        if before != after:
            found.append(f"{path}{'' if name == '.' else f'/{name}'}: {before}, now {after}")
    return found


def _some(found: list[str]) -> str:
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more


def _told(trees: Trees) -> str:
    return count(sum(len(tree) for tree in trees.values()), "file or directory", "files and directories")


class Keep:
    """Copy the files to a directory of their own, verified by checksum; modes and owners are kept, too."""

    kind: ClassVar[str] = "files.keep"
    params: ClassVar[type[Params]] = Keeping

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when this run has listed its copies, and they are as listed, whatever became of the originals."""
        copies = _Copies(operation, context)
        listed = await copies.listed()
        if listed is None or listed.run != context.run or not listed.trees:
            return absent(f"nothing was kept in {copies.directory}")
        wrong = await copies.changed(listed.trees, copies=True)
        if wrong:
            return unknown(_some(wrong))
        return done(f"{_told(listed.trees)} kept in {copies.directory}")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Copy, compare, and list them; copies that are listed already stay as they are."""
        copies = _Copies(operation, context)
        trees = await copies.ours()
        if not trees:
            await copies.claim()
            trees = await copies.keep()
        return f"{_told(trees)} kept in {copies.directory}"


class PutBack:
    """Make the files what they were when they were kept."""

    kind: ClassVar[str] = "files.put-back"
    params: ClassVar[type[Params]] = Keeping

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when every file is as it was, by its checksum, mode and owner."""
        copies = _Copies(operation, context)
        trees = await copies.ours()
        if not trees:
            return unknown(f"nothing was kept in {copies.directory}")
        wrong = await copies.changed(trees)
        return absent(_some(wrong)) if wrong else done(f"{_told(trees)} as they were kept")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Copy back what differs."""
        copies = _Copies(operation, context)
        trees = await copies.ours()
        if not trees:
            raise StepError(
                f"nothing was kept in {copies.directory}",
                hint="put the files back by hand, and skip the step",
            )
        await copies.put_back(trees)
        return f"put back from {copies.directory}"


class LetGo:
    """Remove what was kept; what this run has not kept stays."""

    kind: ClassVar[str] = "files.let-go"
    params: ClassVar[type[Params]] = LettingGo

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when nothing of this run is kept there."""
        copies = _Copies(operation, context)
        listed = await copies.listed()
        if listed and listed.run == context.run:
            return absent(f"{_told(listed.trees)} kept in {copies.directory}")
        return done(f"this run keeps nothing in {copies.directory}")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Remove the copies; on a way back only when everything is back in its place."""
        copies = _Copies(operation, context)
        listed = await copies.listed()
        if not listed or listed.run != context.run:
            return "nothing to let go of"
        wrong = await copies.changed(listed.trees) if LettingGo.of(operation).returned else []
        if wrong:
            raise StepError(
                f"not everything is back, and this is the only copy: {_some(wrong)}",
                hint="put it back, then retry; skip the step to keep the copy",
            )
        await copies.let_go()
        return f"removed {copies.directory}"
