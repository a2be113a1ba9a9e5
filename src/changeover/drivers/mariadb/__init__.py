"""The `Database` port over MariaDB 10.6 or newer: PyMySQL for statements, mariadb-dump and mariadb for snapshots."""

from collections.abc import Mapping

from changeover.drivers.login import Access, driver_options
from changeover.drivers.mariadb import facts
from changeover.drivers.mariadb.copies import MariaCopies
from changeover.drivers.mariadb.dialect import MariaDialect
from changeover.drivers.mariadb.server import MariaServer
from changeover.drivers.mariadb.session import connect
from changeover.drivers.secrets import Secrets
from changeover.drivers.sql.connections import Connections
from changeover.drivers.sql.database import SqlDatabase
from changeover.drivers.sql.options import ToolOptions
from changeover.model.site import DatabaseConfig
from changeover.ports import Host

PORT = 3306
"""Where a server listens unless told otherwise."""


def open_database(config: DatabaseConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> SqlDatabase:
    """The factory behind the entry point `database.mariadb`."""
    chosen = driver_options(config, ToolOptions)
    access = Access(config, secrets=secrets, hosts=hosts, port=PORT)
    connections = Connections(access, connect, chosen.silence)
    server = MariaServer(connections, config.database, home=None)
    return SqlDatabase(
        config.name,
        connections=connections,
        copies=MariaCopies(access, connections, server, chosen),
        dialect=MariaDialect(),
        facts=facts.read,
    )
