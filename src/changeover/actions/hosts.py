"""The host of a node, with the rights that the site has there."""

from collections.abc import Mapping, Sequence

from changeover.actions.base import Context
from changeover.ports import LogFile


class HostOf:
    """The files on the host of a node. Rights are gained where the site says how."""

    def __init__(self, node: str, context: Context) -> None:
        self.name = context.plan.site.node(node).host
        self._host = context.world.hosts[self.name]
        self._become = context.plan.site.host(self.name).become is not None

    async def read(self, path: str) -> bytes | None:
        """The file's content, or None if there is no such file."""
        return await self._host.read(path, become=self._become)

    async def write(self, path: str, content: bytes) -> None:
        """Replace the file, which keeps its mode; a new one is for its owner alone. Its directories are made."""
        mode = None if await self._host.tree(path, become=self._become) else 0o600
        await self._host.write(path, content, mode=mode, become=self._become, parents=True)

    async def tree(self, path: str) -> Mapping[str, str] | None:
        """What is there, None if nothing is."""
        return await self._host.tree(path, become=self._become)

    async def copy(self, source: str, target: str) -> None:
        """Make the target what the source is."""
        await self._host.copy(source, target, become=self._become)

    async def remove(self, path: str) -> None:
        """Remove it with all that is below."""
        await self._host.remove(path, become=self._become)

    async def beside(self, path: str) -> Sequence[LogFile]:
        """The file, and those beside it whose names begin with its name."""
        return await self._host.beside(path, become=self._become)

    async def read_part(self, path: str, start: int, size: int) -> bytes:
        """At most so many bytes of the file from there on."""
        return await self._host.read_part(path, start, size, become=self._become)
