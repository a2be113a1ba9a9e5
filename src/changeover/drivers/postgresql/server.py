"""The databases of a PostgreSQL server as wholes: what makes one like ours, closing, and the exchange of two."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

from psycopg import sql

from changeover.drivers.postgresql.session import PostgresSession
from changeover.drivers.sql.errors import ServerError
from changeover.drivers.sql.server import Server, scratch_name
from changeover.drivers.sql.session import Session

NOT_ALLOWED = "42501"
"""insufficient_privilege"""

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


class PostgresServer(Server):
    """A scratch database has our database's owner, encoding, locale, tablespace, rights, settings and comment."""

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Nobody is connected to our database, and nobody can connect."""
        await self._open_to_others(False)
        try:
            async with self._connections.open(self._home) as session:
                await session.execute(_filled(TERMINATE, name=sql.Literal(self._name)))
            yield
        finally:
            await self._open_to_others(True)

    async def exchange(self, scratch: str) -> None:
        """Give our name to the scratch database, in one transaction; the old one can go."""
        old = sql.Identifier(scratch_name("old", self._name))
        ours, restored = sql.Identifier(self._name), sql.Identifier(scratch)
        async with self._connections.open(self._home) as session, session.transaction():
            ((limit,),) = await session.execute(
                "SELECT datconnlimit FROM pg_database WHERE datname = %s", (self._name,)
            )
            await session.execute(
                _filled("ALTER DATABASE {} CONNECTION LIMIT {}", restored, sql.Literal(limit))
            )
            await session.execute(_filled("ALTER DATABASE {} RENAME TO {}", ours, old))
            await session.execute(_filled("ALTER DATABASE {} RENAME TO {}", restored, ours))

    async def _open_to_others(self, opened: bool) -> None:
        alter = "ALTER DATABASE {} ALLOW_CONNECTIONS {}"
        async with self._connections.open(self._home) as session:
            await session.execute(_filled(alter, sql.Identifier(self._name), sql.Literal(opened)))

    async def _drop(self, session: Session, name: str) -> None:
        await session.execute(_filled("DROP DATABASE IF EXISTS {} WITH (FORCE)", sql.Identifier(name)))

    async def _create_like(self, session: Session, name: str) -> None:
        names = {"scratch": sql.Literal(name), "name": sql.Literal(self._name)}
        create = await session.execute(_filled(CREATE_LIKE, **names, **_icu(session)))
        if not create:
            raise self._missing()
        await session.execute(create[0][0])
        for (statement,) in await session.execute(_filled(RIGHTS_LIKE, **names)):
            await session.execute(statement)
        for role, setting, value in await session.execute(_filled(SETTINGS, name=names["name"])):
            await _set_like(session, name, role, setting, value)


def _filled(template: LiteralString, *parts: sql.Composable, **named: sql.Composable) -> str:
    return sql.SQL(template).format(*parts, **named).as_string()


def _icu(session: Session) -> dict[str, sql.Composable]:
    """Where the server keeps a database's locale provider and ICU locale: since 15, renamed in 17."""
    assert isinstance(session, PostgresSession)
    if session.version < 150000:  # noqa: PLR2004
        return {"provider": sql.Literal("c"), "locale": sql.Literal("")}
    return {
        "provider": sql.SQL("datlocprovider"),
        "locale": sql.SQL("datlocale" if session.version >= 170000 else "daticulocale"),  # noqa: PLR2004
    }


async def _set_like(session: Session, scratch: str, role: str | None, setting: str, value: str) -> None:
    """Copy one setting of the database, unless it takes rights that we lack: the facts name those.

    FROM CURRENT spares us the quoting of lists such as search_path.
    """
    who = sql.SQL("ROLE {} IN ").format(sql.Identifier(role)) if role else sql.SQL("")
    name = sql.Identifier(*setting.split("."))
    alter = _filled("ALTER {}DATABASE {} SET {} FROM CURRENT", who, sql.Identifier(scratch), name)
    try:
        async with session.transaction():
            await session.execute("SELECT set_config(%s, %s, true)", (setting, value))
            await session.execute(alter)
    except ServerError as error:
        if error.code != NOT_ALLOWED:
            raise
