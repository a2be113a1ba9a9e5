"""The `Database` port over PostgreSQL 14 or newer: psycopg for statements, pg_dump and pg_restore for snapshots."""

from collections.abc import Mapping
from functools import partial

from changeover.drivers.login import Access, driver_options
from changeover.drivers.postgresql import facts
from changeover.drivers.postgresql.copies import PostgresCopies
from changeover.drivers.postgresql.dialect import PostgresDialect
from changeover.drivers.postgresql.options import Options
from changeover.drivers.postgresql.server import PostgresServer
from changeover.drivers.postgresql.session import connect
from changeover.drivers.secrets import Secrets
from changeover.drivers.sql.connections import Connections
from changeover.drivers.sql.database import SqlDatabase
from changeover.model.site import DatabaseConfig
from changeover.ports import Host

PORT = 5432
"""Where a server listens unless told otherwise."""


def open_database(config: DatabaseConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> SqlDatabase:
    """The factory behind the entry point `database.postgresql`."""
    chosen = driver_options(config, Options)
    access = Access(config, secrets=secrets, hosts=hosts, port=PORT)
    admin = config.admin_database or "postgres"
    connections = Connections(access, connect(chosen.parameters), chosen.silence)
    server = PostgresServer(connections, config.database, admin)
    return SqlDatabase(
        config.name,
        connections=connections,
        copies=PostgresCopies(access, connections, server, chosen),
        dialect=PostgresDialect(),
        facts=partial(facts.read, admin=admin),
    )
