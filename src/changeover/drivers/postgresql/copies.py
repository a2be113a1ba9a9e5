"""Snapshots of a PostgreSQL database: taken, proved by restoring, and put back."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from changeover.drivers.contents import Contents, shown
from changeover.drivers.login import Access
from changeover.drivers.postgresql import commands
from changeover.drivers.postgresql.connection import Connection, Connections, conninfo
from changeover.drivers.postgresql.contents import prepare, read, read_counters
from changeover.drivers.postgresql.options import Options
from changeover.drivers.postgresql.server import Server
from changeover.drivers.snapshots import Draft, Manifest, SnapshotStore, Tools
from changeover.errors import DatabaseError
from changeover.ports import Snapshot


class Copies:
    """The copies of one database: files on its host, and databases on its server."""

    def __init__(self, access: Access, connections: Connections, admin: str, options: Options) -> None:
        self._access = access
        self._connections = connections
        self._server = Server(connections, access.config.database, admin)
        self._options = options

    @property
    def _tools(self) -> Tools:
        return Tools(self._access.host, self._options.become)

    @property
    def _store(self) -> SnapshotStore:
        config = self._access.config
        return SnapshotStore(f"{config.snapshot_dir}/{config.name}", self._tools)

    async def find(self, label: str) -> Snapshot | None:
        """The finished snapshot of that label."""
        found = await self._store.find(label)
        return found.snapshot if found else None

    async def take(self, label: str) -> Snapshot:
        """Dump, and read what is dumped, through one exported snapshot while others go on writing."""
        if found := await self._store.find(label):
            return found.snapshot
        await self._store.drop(label)
        draft = await self._store.begin(label)
        try:
            contents, taken_at = await self._dump(draft)
            return await self._store.finish(draft, contents, taken_at)
        except DatabaseError:
            await self._store.drop(label)
            raise

    async def verify(self, label: str) -> Snapshot:
        """Restore into a scratch database, compare, and mark the snapshot."""
        manifest = await self._store.intact(label)
        async with self._server.scratch("verify") as scratch:
            await self._fill(scratch, manifest)
        return await self._store.mark_verified(manifest)

    async def restore(self, label: str) -> None:
        """Close the database to everyone, build the restored one beside it, and exchange the two.

        The exchange is one transaction: whatever happens, the name leads to the old database or to the
        restored one. If the work fails before it, the old one is opened again; if we die before it, the old
        one stays closed, so that nothing is written that the resumed restore would throw away.
        """
        manifest = await self._store.intact(label)
        if not manifest.snapshot.verified:
            raise DatabaseError(f"the snapshot {label!r} is not verified", hint="verify it first")
        await self._connections.close()
        async with self._server.closed(), self._server.scratch("restore") as scratch:
            await self._fill(scratch, manifest)
            # A dump has no statistics; without them the restored database would plan badly at first.
            async with self._connections.open(scratch) as connection:
                await connection.execute("ANALYZE")
            await self._server.exchange(scratch)

    async def drop(self, label: str) -> None:
        """Remove the snapshot, its drafts, and the scratch databases that a crash has left."""
        await self._store.drop(label)
        await self._server.sweep()

    async def _dump(self, draft: Draft) -> tuple[Contents, float]:
        async with self._connections.open() as connection, _held(connection) as (exported, taken_at):
            await prepare(connection)
            before = await read_counters(connection)
            contents = await _both(read(connection), self._pg_dump(exported, draft.dump))
            after = await read_counters(connection)
        counters = {name: (low, after.get(name, (low, low))[1]) for name, (low, _) in before.items()}
        return Contents(contents.tables, counters, contents.objects), taken_at

    async def _pg_dump(self, exported: str, path: str) -> None:
        login = await self._access.login()
        line = commands.dump(
            conninfo(login, self._options.parameters),
            exported,
            path,
            tools=self._options.bin,
            compress=self._options.compress,
        )
        await self._tools.run("pg_dump", line, {"PGPASSWORD": login.password} if login.password else None)

    async def _fill(self, scratch: str, manifest: Manifest) -> None:
        """Restore into that empty database, and compare it with the snapshot."""
        login = (await self._access.login()).to(scratch)
        line = commands.restore(
            conninfo(login, self._options.parameters),
            manifest.snapshot.path,
            tools=self._options.bin,
            jobs=self._options.jobs,
        )
        await self._tools.run("pg_restore", line, {"PGPASSWORD": login.password} if login.password else None)
        async with self._connections.open(scratch) as connection:
            await prepare(connection)
            differences = manifest.contents.differences(await read(connection))
            if differences:
                raise DatabaseError(
                    f"a copy restored from the snapshot {manifest.snapshot.label!r} is not the same: "
                    f"{shown(differences)}",
                    hint="drop the snapshot and take another; the database itself was not changed",
                )


async def _both(reading: Coroutine[Any, Any, Contents], dumping: Coroutine[Any, Any, None]) -> Contents:
    """Do both at once; when one fails the other is ended, and its error is the one that counts."""
    try:
        async with asyncio.TaskGroup() as group:
            contents = group.create_task(reading)
            group.create_task(dumping)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return contents.result()


@asynccontextmanager
async def _held(connection: Connection) -> AsyncIterator[tuple[str, float]]:
    """An exported snapshot and the server's time of it; it can be joined while this is open."""
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor = await connection.execute(
            "SELECT pg_export_snapshot(), extract(epoch FROM transaction_timestamp())::float8"
        )
        (exported, taken_at) = (await cursor.fetchone()) or ("", 0.0)
        yield exported, taken_at
