"""Snapshots of a MariaDB database: mariadb-dump beside our own reading, and mariadb into another database."""

import asyncio

import msgspec

from changeover.drivers.login import Access, Login
from changeover.drivers.mariadb import commands, contents, programs
from changeover.drivers.mariadb.dialect import LEDGER
from changeover.drivers.mariadb.programs import Program
from changeover.drivers.mariadb.server import MariaServer
from changeover.drivers.sql.connections import Connections
from changeover.drivers.sql.contents import Contents
from changeover.drivers.sql.copies import Copies
from changeover.drivers.sql.ledger import Ledger
from changeover.drivers.sql.options import ToolOptions
from changeover.drivers.sql.session import Session
from changeover.drivers.sql.snapshots import Draft, Manifest
from changeover.errors import DatabaseError
from changeover.ports import Snapshot, restoring

PROGRAMS = "programs.json"
"""Beside the dump: views, triggers, routines and events."""


class MariaCopies(Copies):
    """Dump and reading are two transactions that begin while nothing can be committed."""

    def __init__(
        self, access: Access, connections: Connections, server: MariaServer, options: ToolOptions
    ) -> None:
        super().__init__(access, connections, server, contents, become=options.become)
        self._server: MariaServer = server
        self._ledger = Ledger(LEDGER)
        self._bin = options.bin

    async def _begin(self, session: Session, draft: Draft, group: asyncio.TaskGroup) -> float:
        await contents.refuse_unfit(session)
        login = await self._access.login()
        views = [view for (view,) in await session.execute(programs.VIEWS)]
        dump = commands.dump(login, draft.dump, views=views, tools=self._bin)
        await session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        async with self._server.commits_blocked():
            await session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            ((taken_at,),) = await session.execute("SELECT unix_timestamp(now(6))")
            group.create_task(self._tool("mariadb-dump", dump, _secret(login)))
            await self._tools.run("waiting for mariadb-dump to begin", commands.until_begun(draft.dump))
        return float(taken_at)

    async def _read(self, session: Session, draft: Draft) -> Contents:
        found = await contents.read(session)
        definitions = msgspec.json.encode(await programs.read(session))
        await self._tools.write(f"{draft.directory}/{PROGRAMS}", definitions)
        return found

    async def _load(self, scratch: str, snapshot: Snapshot) -> None:
        login = (await self._access.login()).to(scratch)
        line = commands.restore(login, snapshot.path, tools=self._bin)
        await self._tool("mariadb", line, _secret(login))
        definitions = await self._definitions(snapshot)
        async with self._connections.open(scratch) as session:
            await programs.create(session, definitions, scratch=True)

    async def _exchange(self, manifest: Manifest) -> None:
        """Build and compare the restored database beside the live one, and exchange their tables.

        Others can write until the exchange; what they write is lost, as is everything since the snapshot.

        The restored ledger says that the migrations are gone before the programs are there, so the entry which
        says that the restore is not finished comes in with it, and is struck last.
        """
        definitions = await self._definitions(manifest.snapshot)
        entry = restoring(manifest.snapshot.label)
        async with self._server.scratch("restore") as scratch:
            await self._fill(scratch, manifest)
            async with self._connections.open(scratch) as session:
                without_ledger = await self._ledger.begin(session, entry, manifest.snapshot.sha256)
            await self._server.exchange(scratch, definitions)
            async with self._connections.open() as session:
                if without_ledger:
                    await self._ledger.drop(session)
                else:
                    await self._ledger.strike(session, entry)

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
