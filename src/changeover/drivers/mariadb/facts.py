"""What a MariaDB server says of itself, and the rights of ours that are missing."""

from changeover.drivers.sql.session import Session
from changeover.ports import ServerFacts

ITSELF = """
    SELECT version(), unix_timestamp(now(6)), (SELECT ifnull(sum(data_length + index_length), 0)
        FROM information_schema.tables WHERE table_schema = database())
"""

# The estimate above can be far behind; this takes PROCESS. In file names anything but letters, digits and `_` is
# encoded (`@002d`), and then the estimate has to do.
FILES = """
    SELECT ifnull(sum(file_size), 0) FROM information_schema.innodb_sys_tablespaces
    WHERE name LIKE concat(replace(database(), '_', '\\_'), '/%')
"""

GLOBAL = {
    "RELOAD": "to hold commits still while a snapshot begins",
    "PROCESS": "to tell who holds a lock",
    "CONNECTION ADMIN": "to end the sessions of others before a restore",
    "SET USER": "to restore views, triggers and routines with their definers",
}

IN_DATABASE = frozenset(
    {
        *(
            "SELECT",
            "INSERT",
            "UPDATE",
            "DELETE",
            "CREATE",
            "DROP",
            "ALTER",
            "INDEX",
            "REFERENCES",
            "LOCK TABLES",
        ),
        *("CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EXECUTE", "TRIGGER", "EVENT"),
    }
)

GRANTED = """
    SELECT '*', privilege_type FROM information_schema.user_privileges WHERE grantee = {me}
  UNION ALL
    SELECT table_schema, privilege_type FROM information_schema.schema_privileges WHERE grantee = {me}
  UNION ALL
    SELECT concat(table_schema, '.', table_name), privilege_type FROM information_schema.table_privileges
    WHERE grantee = {me} AND table_schema = 'mysql'
"""

ME = "concat(quote(substring_index(current_user(), '@', 1)), '@', quote(substring_index(current_user(), '@', -1)))"


async def read(session: Session) -> ServerFacts:
    """Version, size, clock, what to grant, and where its files are. Rights that come through a role are not seen."""
    ((version, now, size),) = await session.execute(ITSELF)
    ((me, database),) = await session.execute(f"SELECT {ME}, database()")
    granted: dict[str, set[str]] = {}
    for scope, privilege in await session.execute(GRANTED.format(me=ME)):
        granted.setdefault(scope, set()).add(privilege)
    if "PROCESS" in granted.get("*", set()):
        ((files,),) = await session.execute(FILES)
        size = max(size, files)
    ((directory,),) = await session.execute("SELECT @@global.datadir")
    return ServerFacts(
        f"MariaDB {version}",
        int(size),
        float(now),
        tuple(missing(me, database, granted)),
        directory=directory,
    )


def missing(me: str, database: str, granted: dict[str, set[str]]) -> list[str]:
    """What to grant, given what is granted by scope: `*`, or the pattern of a database's name."""
    everywhere = granted.get("*", set())
    lines = [
        f"{purpose}: GRANT {privilege} ON *.* TO {me}"
        for privilege, purpose in GLOBAL.items()
        if privilege not in everywhere and "SUPER" not in everywhere
    ]
    if "SELECT" not in everywhere | granted.get("mysql", set()) | granted.get("mysql.proc", set()):
        lines.append(f"to read the definitions of others' routines: GRANT SELECT ON mysql.proc TO {me}")
    for pattern, purpose in (
        (_literal(database), "to dump, migrate and restore it"),
        (r"changeover\_%", "to verify snapshots and to restore"),
    ):
        scoped = granted.get(pattern, set()) | (
            granted.get(database, set()) if pattern == _literal(database) else set()
        )
        if IN_DATABASE - scoped - everywhere:
            lines.append(f"{purpose}: GRANT ALL ON `{pattern}`.* TO {me}")
    return lines


def _literal(database: str) -> str:
    return database.replace("_", r"\_").replace("%", r"\%")
