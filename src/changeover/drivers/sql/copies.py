"""Snapshots of a database: taken, proved by restoring, and put back."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from changeover.drivers.login import Access
from changeover.drivers.sql.connections import Connections
from changeover.drivers.sql.contents import Contents, shown
from changeover.drivers.sql.server import Server
from changeover.drivers.sql.session import Session
from changeover.drivers.sql.snapshots import Draft, Manifest, SnapshotStore, Tools
from changeover.errors import DatabaseError
from changeover.ports import Snapshot


class Reader(Protocol):
    """How a dialect reads what is in a database, in a form that a restored copy must match."""

    async def prepare(self, session: Session) -> None:
        """Make the session fit for reading: values have the same text wherever they are read."""
        ...

    async def read(self, session: Session) -> Contents:
        """Everything in the database as the session's transaction sees it; counters as they are now."""
        ...

    async def read_counters(self, session: Session) -> dict[str, tuple[int, int]]:
        """Where every counter is, now."""
        ...


class Copies(ABC):
    """The copies of one database: files on its host, and databases on its server."""

    def __init__(
        self, access: Access, connections: Connections, server: Server, reader: Reader, *, become: bool
    ) -> None:
        self._access = access
        self._connections = connections
        self._server = server
        self._reader = reader
        self._become = become

    async def find(self, label: str) -> Snapshot | None:
        """The finished snapshot of that label."""
        found = await self._store.find(label)
        return found.snapshot if found else None

    async def take(self, label: str) -> Snapshot:
        """Dump, and read what is dumped, as of one moment, while others go on writing."""
        if found := await self._store.find(label):
            return found.snapshot
        await self._store.drop(label)
        draft = await self._store.begin(label)
        try:
            contents, taken_at = await self._dump(draft)
            return await self._store.finish(draft, contents, taken_at)
        except DatabaseError:
            # What stopped the dump may stop this too; a draft counts for nothing, and the next try removes it.
            with suppress(DatabaseError):
                await self._store.drop(label)
            raise

    async def verify(self, label: str) -> Snapshot:
        """Restore into a scratch database, compare, and mark the snapshot."""
        manifest = await self._store.intact(label)
        async with self._server.scratch("verify") as scratch:
            await self._fill(scratch, manifest)
        return await self._store.mark_verified(manifest)

    async def restore(self, label: str) -> None:
        """Put the database back to the snapshot, which must be verified."""
        manifest = await self._store.intact(label)
        if not manifest.snapshot.verified:
            raise DatabaseError(f"the snapshot {label!r} is not verified", hint="verify it first")
        await self._connections.close()
        await self._exchange(manifest)

    async def drop(self, label: str) -> None:
        """Remove the snapshot, its drafts, and the scratch databases that a crash has left."""
        await self._store.drop(label)
        await self._server.sweep()

    @property
    def _tools(self) -> Tools:
        return Tools(self._access.host, self._become)

    @property
    def _store(self) -> SnapshotStore:
        config = self._access.config
        return SnapshotStore(f"{config.snapshot_dir}/{config.name}", self._tools)

    async def _tool(self, what: str, line: str, secrets: Mapping[str, str]) -> None:
        """Run a tool that speaks to the server for as long as that answers."""
        await self._connections.outlive(self._tools.run(what, line, secrets))

    async def _dump(self, draft: Draft) -> tuple[Contents, float]:
        async with self._connections.open() as session:
            await self._reader.prepare(session)
            before = await self._reader.read_counters(session)
            try:
                async with asyncio.TaskGroup() as group:
                    taken_at = await self._begin(session, draft, group)
                    contents = await self._read(session, draft)
            except BaseExceptionGroup as failed:
                # When one fails the other is ended, and its error is the one that counts.
                raise failed.exceptions[0] from None
            after = await self._reader.read_counters(session)
        counters = {name: (low, after.get(name, (low, low))[1]) for name, (low, _) in before.items()}
        return Contents(contents.tables, counters, contents.objects), taken_at

    async def _read(self, session: Session, draft: Draft) -> Contents:  # noqa: ARG002 - for a dialect that keeps more
        return await self._reader.read(session)

    async def _fill(self, scratch: str, manifest: Manifest) -> None:
        """Restore into that empty database, and compare it with the snapshot."""
        await self._load(scratch, manifest.snapshot)
        async with self._connections.open(scratch) as session:
            await self._reader.prepare(session)
            differences = manifest.contents.differences(await self._reader.read(session))
        if differences:
            raise DatabaseError(
                f"a copy restored from the snapshot {manifest.snapshot.label!r} is not the same: {shown(differences)}",
                hint="drop the snapshot and take another; the database itself was not changed",
            )

    @abstractmethod
    async def _begin(self, session: Session, draft: Draft, group: asyncio.TaskGroup) -> float:
        """Have the session and a dump, which goes on in the group, see the same moment; return its time."""

    @abstractmethod
    async def _load(self, scratch: str, snapshot: Snapshot) -> None:
        """Restore the dump into that empty database."""

    @abstractmethod
    async def _exchange(self, manifest: Manifest) -> None:
        """Build the restored database beside ours, and put it into its place."""
