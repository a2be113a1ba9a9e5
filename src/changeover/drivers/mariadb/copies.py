"""Snapshots of a MariaDB database: taken, proved by restoring, and put back."""

import asyncio

import msgspec

from changeover.drivers.contents import Contents, shown
from changeover.drivers.login import Access, Login
from changeover.drivers.mariadb import commands, programs
from changeover.drivers.mariadb.connection import Connection, Connections
from changeover.drivers.mariadb.contents import prepare, read, read_counters, refuse_unfit
from changeover.drivers.mariadb.options import Options
from changeover.drivers.mariadb.programs import Program
from changeover.drivers.mariadb.server import Server
from changeover.drivers.snapshots import Draft, Manifest, SnapshotStore, Tools
from changeover.errors import DatabaseError
from changeover.ports import Snapshot

PROGRAMS = "programs.json"
"""Beside the dump: views, triggers, routines and events."""


class Copies:
    """The copies of one database: files on its host, and databases on its server."""

    def __init__(self, access: Access, connections: Connections, options: Options) -> None:
        self._access = access
        self._connections = connections
        self._server = Server(connections, access.config.database)
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
        """Dump, and read what is dumped, in two transactions that begin while nothing can be committed."""
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
        """Build the restored database beside the live one, compare it, and exchange their tables.

        Others can write until the exchange; what they write is lost, as is everything since the snapshot.
        """
        manifest = await self._store.intact(label)
        if not manifest.snapshot.verified:
            raise DatabaseError(f"the snapshot {label!r} is not verified", hint="verify it first")
        await self._connections.close()
        async with self._server.scratch("restore") as scratch:
            restored = await self._fill(scratch, manifest)
            await self._server.exchange(scratch, restored)

    async def drop(self, label: str) -> None:
        """Remove the snapshot, its drafts, and the scratch databases that a crash has left."""
        await self._store.drop(label)
        await self._server.sweep()

    async def _dump(self, draft: Draft) -> tuple[Contents, float]:
        async with self._connections.open() as connection:
            await prepare(connection)
            await refuse_unfit(connection)
            before = await read_counters(connection)
            try:
                async with asyncio.TaskGroup() as group:
                    taken_at = await self._begin_together(connection, draft, group)
                    contents = await read(connection)
                    definitions = await programs.read(connection)
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None
            after = await read_counters(connection)
        await self._tools.write(f"{draft.directory}/{PROGRAMS}", msgspec.json.encode(definitions))
        counters = {name: (low, after.get(name, (low, low))[1]) for name, (low, _) in before.items()}
        return Contents(contents.tables, counters, contents.objects), taken_at

    async def _begin_together(self, connection: Connection, draft: Draft, group: asyncio.TaskGroup) -> float:
        """Begin our transaction and that of the dump, which goes on in the group, with no commit in between."""
        login = await self._access.login()
        views = [view for (view,) in await connection.execute(programs.VIEWS)]
        dump = commands.dump(login, draft.dump, views=views, tools=self._options.bin)
        await connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        async with self._server.commits_blocked():
            await connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            ((taken_at,),) = await connection.execute("SELECT unix_timestamp(now(6))")
            group.create_task(self._tools.run("mariadb-dump", dump, _secret(login)))
            await self._tools.run("waiting for mariadb-dump to begin", commands.until_begun(draft.dump))
        return float(taken_at)

    async def _fill(self, scratch: str, manifest: Manifest) -> tuple[Program, ...]:
        """Restore into that empty database, compare it with the snapshot, and return the snapshot's programs."""
        snapshot = manifest.snapshot
        login = (await self._access.login()).to(scratch)
        line = commands.restore(login, snapshot.path, tools=self._options.bin)
        await self._tools.run("mariadb", line, _secret(login))
        definitions = await self._definitions(snapshot)
        async with self._connections.open(scratch) as connection:
            await programs.create(connection, definitions, scratch=True)
            await prepare(connection)
            differences = manifest.contents.differences(await read(connection))
        if differences:
            raise DatabaseError(
                f"a copy restored from the snapshot {snapshot.label!r} is not the same: {shown(differences)}",
                hint="drop the snapshot and take another; the database itself was not changed",
            )
        return definitions

    async def _definitions(self, snapshot: Snapshot) -> tuple[Program, ...]:
        path = f"{snapshot.path.removesuffix('/dump')}/{PROGRAMS}"
        try:
            return msgspec.json.decode(await self._tools.read(path) or b"", type=tuple[Program, ...])
        except msgspec.DecodeError as error:
            raise DatabaseError(
                f"the snapshot {snapshot.label!r} is damaged: {PROGRAMS} cannot be read: {error}",
                hint="drop it and take another; never restore from it",
            ) from None


def _secret(login: Login) -> dict[str, str]:
    return {"MYSQL_PWD": login.password} if login.password else {}
