"""The application's database: how its user, database and first schema are made."""

from importlib import resources

from changeover.lab.layout import DatabaseKind

SETUP_COMMANDS = {
    DatabaseKind.POSTGRESQL: (
        "runuser -u postgres -- psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --file=/etc/lab/setup.sql"
    ),
    DatabaseKind.MARIADB: "mariadb </etc/lab/setup.sql",
}


def reset_sql() -> str:
    """Return what empties a PostgreSQL server, for its superuser's psql."""
    return (resources.files("changeover.lab") / "files" / "reset-postgresql.sql").read_text()


def setup_sql(kind: DatabaseKind, name: str, user: str, password: str, schema: str) -> str:
    """Return the SQL that makes user, database and schema, which is SQL too.

    The user may create databases, as snapshots and scratch copies need, and owns the application's.
    `password` must be free of quotes; those of the lab are URL-safe.
    """
    if kind is DatabaseKind.POSTGRESQL:
        return (
            f"CREATE ROLE {user} LOGIN CREATEDB PASSWORD '{password}';\n"
            f"GRANT pg_signal_backend TO {user};\n"
            f"CREATE DATABASE {name} OWNER {user};\n"
            f"\\connect {name}\n"
            f"SET ROLE {user};\n"
            f"{schema}"
        )
    return (
        f"CREATE DATABASE {name};\n"
        f"CREATE USER '{user}'@'%' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON *.* TO '{user}'@'%';\n"
        f"USE {name};\n"
        f"{schema}"
    )
