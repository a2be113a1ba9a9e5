"""Snapshots of a PostgreSQL database: pg_dump through an exported snapshot, pg_restore into another database."""

import asyncio

from changeover.drivers.login import Access
from changeover.drivers.postgresql import commands, contents
from changeover.drivers.postgresql.options import Options
from changeover.drivers.postgresql.server import PostgresServer
from changeover.drivers.postgresql.session import conninfo
from changeover.drivers.sql.connections import Connections
from changeover.drivers.sql.copies import Copies
from changeover.drivers.sql.session import Session
from changeover.drivers.sql.snapshots import Draft, Manifest
from changeover.ports import Snapshot


class PostgresCopies(Copies):
    """The dump joins the snapshot of the session that reads."""

    def __init__(
        self, access: Access, connections: Connections, server: PostgresServer, options: Options
    ) -> None:
        super().__init__(access, connections, server, contents, become=options.become)
        self._server: PostgresServer = server
        self._options = options

    async def _begin(self, session: Session, draft: Draft, group: asyncio.TaskGroup) -> float:
        await session.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        ((exported, taken_at),) = await session.execute(
            "SELECT pg_export_snapshot(), extract(epoch FROM transaction_timestamp())::float8"
        )
        login = await self._access.login()
        line = commands.dump(
            conninfo(login, self._options.parameters),
            exported,
            draft.dump,
            tools=self._options.bin,
            compress=self._options.compress,
        )
        group.create_task(self._tool("pg_dump", line, _secret(login.password)))
        return float(taken_at)

    async def _load(self, scratch: str, snapshot: Snapshot) -> None:
        login = (await self._access.login()).to(scratch)
        line = commands.restore(
            conninfo(login, self._options.parameters),
            snapshot.path,
            tools=self._options.bin,
            jobs=self._options.jobs,
        )
        await self._tool("pg_restore", line, _secret(login.password))

    async def _exchange(self, manifest: Manifest) -> None:
        """Close the database to everyone, build the restored one beside it, and exchange the two names.

        The exchange is one transaction: whatever happens, the name leads to the old database or to the
        restored one. If the work fails before it, the old one is opened again; if we die before it, the old
        one stays closed, so that nothing is written that the resumed restore would throw away.
        """
        async with self._server.closed(), self._server.scratch("restore") as scratch:
            await self._fill(scratch, manifest)
            # A dump has no statistics; without them the restored database would plan badly at first.
            async with self._connections.open(scratch) as session:
                await session.execute("ANALYZE")
            await self._server.exchange(scratch)


def _secret(password: str) -> dict[str, str]:
    return {"PGPASSWORD": password} if password else {}
