"""Reads what is in a MariaDB database, in a form that a restored copy must match."""

from changeover.drivers.mariadb import programs
from changeover.drivers.mariadb.session import quoted
from changeover.drivers.sql.contents import Contents, Table
from changeover.drivers.sql.session import Session
from changeover.errors import DatabaseError

PLAIN = "SET SESSION time_zone = '+00:00', sql_mode = '', max_statement_time = 0, lock_wait_timeout = 30"
"""The settings that a value's text depends on, and one that would cut a long reading short."""

RELATIONS = """
    SELECT table_name, table_type, coalesce(engine, '') FROM information_schema.tables
    WHERE table_schema = database() AND table_type IN ('BASE TABLE', 'SEQUENCE', 'SYSTEM VERSIONED')
    ORDER BY 1
"""

COLUMNS = """
    SELECT column_name, data_type IN ('decimal', 'date', 'datetime', 'timestamp', 'time', 'year', 'float', 'double',
        'tinyint', 'smallint', 'mediumint', 'int', 'bigint')
    FROM information_schema.columns WHERE table_schema = database() AND table_name = %s ORDER BY ordinal_position
"""

OBJECTS = """
    SELECT concat_ws(' ', 'table', table_name, table_type, table_collation)
    FROM information_schema.tables WHERE table_schema = database()
  UNION ALL
    SELECT concat_ws(' ', 'column', table_name, column_name, column_type, is_nullable, extra, collation_name)
    FROM information_schema.columns WHERE table_schema = database()
  UNION ALL
    SELECT concat_ws(' ', 'index', table_name, index_name, if(non_unique, '', 'unique'), seq_in_index, column_name)
    FROM information_schema.statistics WHERE table_schema = database()
  UNION ALL
    SELECT concat_ws(' ', 'constraint', table_name, constraint_name, constraint_type)
    FROM information_schema.table_constraints WHERE table_schema = database()
  UNION ALL
    SELECT concat_ws(' ', 'reference', table_name, constraint_name, referenced_table_name, update_rule, delete_rule)
    FROM information_schema.referential_constraints WHERE constraint_schema = database()
"""


async def prepare(session: Session) -> None:
    """Make the session fit for reading: values have the same text wherever they are read."""
    await session.execute(PLAIN)


async def read(session: Session) -> Contents:
    """Everything in the selected database as the session's transaction sees it; sequences as they are now.

    Left out are events: they are restored, but never tried out in a copy, where they would run.
    """
    relations = await session.execute(RELATIONS)
    tables = {name: await _table(session, name) for name, kind, _ in relations if kind != "SEQUENCE"}
    objects = [line for (line,) in await session.execute(OBJECTS)]
    objects += [program.line for program in await programs.read(session) if program.kind != "EVENT"]
    return Contents(tables, await read_counters(session), tuple(sorted(objects)))


async def read_counters(session: Session) -> dict[str, tuple[int, int]]:
    """Where every sequence is, now: sequences are outside of every transaction."""
    counters = {}
    for name, kind, _ in await session.execute(RELATIONS):
        if kind == "SEQUENCE":
            ((value,),) = await session.execute(f"SELECT next_not_cached_value FROM {quoted(name)}")  # noqa: S608
            counters[name] = (int(value), int(value))
    return counters


async def refuse_unfit(session: Session) -> None:
    """`DatabaseError` if there are tables that no transaction can hold still, or whose history is not dumped."""
    unfit = [
        f"{name} ({'system-versioned' if kind == 'SYSTEM VERSIONED' else engine})"
        for name, kind, engine in await session.execute(RELATIONS)
        if kind != "SEQUENCE" and (engine.lower() != "innodb" or kind == "SYSTEM VERSIONED")
    ]
    if unfit:
        raise DatabaseError(
            f"no consistent snapshot can be taken of {', '.join(unfit)} while others write",
            hint="convert them to InnoDB without system versioning, or close the site and use a backup of your own",
        )


def rows_query(table: str, columns: list[tuple[str, bool]]) -> str:
    """Count and digest of a table. A column is taken as text where that is short and plain, else as its MD5.

    `CONCAT` of long values would give NULL beyond max_allowed_packet, and a row would go unseen.
    """
    texts = ", ".join(
        f"ifnull({quoted(name) if plain else f'md5({quoted(name)})'}, 'null')" for name, plain in columns
    )
    return (
        f"SELECT count(*), ifnull(sum(cast(conv(left(md5(concat_ws(',', {texts})), 16), 16, 10) AS unsigned)), 0) "  # noqa: S608
        f"FROM {quoted(table)}"
    )


async def _table(session: Session, name: str) -> Table:
    columns = [(column, bool(plain)) for column, plain in await session.execute(COLUMNS, (name,))]
    ((rows, digest),) = await session.execute(rows_query(name, columns))
    return Table(int(rows), str(digest))
