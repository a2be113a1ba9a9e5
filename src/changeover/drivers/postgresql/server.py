"""The databases of the server as wholes: scratch databases, closing, and the exchange of two."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import sql

from changeover.drivers.postgresql.connection import Connection, Connections
from changeover.errors import DatabaseError

LONGEST_NAME = 63
"""Bytes; PostgreSQL cuts a longer identifier (NAMEDATALEN)."""

PURPOSES = ("verify", "restore", "old")

CREATE_LIKE = """
    SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L',
                  {scratch}, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype)
        || CASE WHEN spcname <> 'pg_default' THEN format(' TABLESPACE %I', spcname) ELSE '' END
        || CASE WHEN {provider} = 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', {locale}) ELSE '' END
    FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE datname = {name}
"""

RIGHTS_LIKE = """
    SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC, %I', {scratch}, pg_get_userbyid(datdba))
    FROM pg_database WHERE datname = {name}
  UNION ALL
    SELECT format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, {scratch},
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
        CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE datname = {name}
  UNION ALL
    SELECT format('COMMENT ON DATABASE %I IS %L', {scratch}, shobj_description(oid, 'pg_database'))
    FROM pg_database WHERE datname = {name} AND shobj_description(oid, 'pg_database') IS NOT NULL
"""

SETTINGS = """
    SELECT CASE setrole WHEN 0 THEN NULL ELSE pg_get_userbyid(setrole) END,
        split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
    WHERE d.datname = {name}
"""

TERMINATE = """
    SELECT pid, pg_terminate_backend(pid, 5000)
    FROM pg_stat_activity WHERE datname = {name} AND backend_type = 'client backend'
"""


class Server:
    """The server, through its administrative database."""

    def __init__(self, connections: Connections, name: str, admin: str) -> None:
        self._connections = connections
        self._name = name
        self._admin = admin

    @asynccontextmanager
    async def scratch(self, purpose: str) -> AsyncIterator[str]:
        """An empty database like ours, for that purpose; one that a crash has left is dropped first.

        It has our database's owner, encoding, locale, tablespace, rights, settings and comment.
        """
        name = scratch_name(purpose, self._name)
        await self.sweep()
        async with self._connections.open(self._admin) as connection:
            await self._create_like(connection, name)
        try:
            yield name
        finally:
            await self.sweep()

    async def sweep(self) -> None:
        """Drop every scratch database of ours."""
        async with self._connections.open(self._admin) as connection:
            for purpose in PURPOSES:
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                await connection.execute(drop.format(sql.Identifier(scratch_name(purpose, self._name))))

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Nobody is connected to our database, and nobody can connect."""
        await self._open_to_others(False)
        try:
            async with self._connections.open(self._admin) as connection:
                await connection.execute(sql.SQL(TERMINATE).format(name=sql.Literal(self._name)))
            yield
        finally:
            await self._open_to_others(True)

    async def exchange(self, scratch: str) -> None:
        """Give our name to the scratch database, in one transaction; the old one can go."""
        old = sql.Identifier(scratch_name("old", self._name))
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        async with self._connections.open(self._admin) as connection, connection.transaction():
            limit = await connection.execute(
                "SELECT datconnlimit FROM pg_database WHERE datname = %s", (self._name,)
            )
            (count,) = (await limit.fetchone()) or (-1,)
            alter = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}")
            await connection.execute(alter.format(sql.Identifier(scratch), sql.Literal(count)))
            await connection.execute(rename.format(sql.Identifier(self._name), old))
            await connection.execute(rename.format(sql.Identifier(scratch), sql.Identifier(self._name)))

    async def _open_to_others(self, opened: bool) -> None:
        alter = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        async with self._connections.open(self._admin) as connection:
            await connection.execute(alter.format(sql.Identifier(self._name), sql.Literal(opened)))

    async def _create_like(self, connection: Connection, scratch: str) -> None:
        names = {"scratch": sql.Literal(scratch), "name": sql.Literal(self._name)}
        icu = await _icu(connection)
        create = await (await connection.execute(sql.SQL(CREATE_LIKE).format(**names, **icu))).fetchone()
        if create is None:
            raise DatabaseError(
                f"there is no database {self._name!r} on the server",
                hint="check its name; it is never created",
            )
        await connection.execute(create[0])
        for (statement,) in await (await connection.execute(sql.SQL(RIGHTS_LIKE).format(**names))).fetchall():
            await connection.execute(statement)
        settings = await connection.execute(sql.SQL(SETTINGS).format(name=names["name"]))
        for role, setting, value in await settings.fetchall():
            await _set_like(connection, scratch, role, setting, value)


def scratch_name(purpose: str, database: str) -> str:
    """The name of the scratch database for that purpose, never longer than the server allows."""
    name = f"changeover_{purpose}_{database}"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return f"changeover_{purpose}_{hashlib.sha256(database.encode()).hexdigest()[:16]}"


async def _icu(connection: Connection) -> dict[str, sql.Composable]:
    """Where the server keeps a database's locale provider and ICU locale: since 15, renamed in 17."""
    version = connection.info.server_version
    if version < 150000:  # noqa: PLR2004
        return {"provider": sql.Literal("c"), "locale": sql.Literal("")}
    return {
        "provider": sql.SQL("datlocprovider"),
        "locale": sql.SQL("datlocale" if version >= 170000 else "daticulocale"),  # noqa: PLR2004
    }


async def _set_like(connection: Connection, scratch: str, role: str | None, setting: str, value: str) -> None:
    """Copy one setting of the database. FROM CURRENT spares us the quoting of lists such as search_path."""
    who = sql.SQL("ROLE {} IN ").format(sql.Identifier(role)) if role else sql.SQL("")
    alter = sql.SQL("ALTER {}DATABASE {} SET {} FROM CURRENT")
    async with connection.transaction():
        await connection.execute("SELECT set_config(%s, %s, true)", (setting, value))
        await connection.execute(
            alter.format(who, sql.Identifier(scratch), sql.Identifier(*setting.split(".")))
        )
