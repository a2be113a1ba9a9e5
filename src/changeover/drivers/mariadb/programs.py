"""Views, triggers, routines and events: what a table's copy does not carry with it."""

import hashlib
import re

from changeover.drivers.mariadb.session import quoted
from changeover.drivers.sql.errors import ServerError
from changeover.drivers.sql.session import Session
from changeover.errors import DatabaseError
from changeover.model.values import Value

NO_SUCH_TABLE = "1146"
INVALID_VIEW = "1356"

ROUTINES = """
    SELECT routine_type, routine_name FROM information_schema.routines
    WHERE routine_schema = database() AND routine_type IN ('FUNCTION', 'PROCEDURE') ORDER BY 1, 2
"""
VIEWS = "SELECT table_name FROM information_schema.views WHERE table_schema = database() ORDER BY 1"
TRIGGERS = """
    SELECT trigger_name, definer, action_timing, event_manipulation, event_object_table, action_statement,
        sql_mode, character_set_client, collation_connection
    FROM information_schema.triggers WHERE trigger_schema = database()
    ORDER BY event_object_table, action_timing, event_manipulation, action_order
"""
EVENTS = "SELECT event_name FROM information_schema.events WHERE event_schema = database() ORDER BY 1"


DEFINER = re.compile(r"DEFINER=`(?:[^`]|``)*`@`(?:[^`]|``)*` ")


class Program(Value, frozen=True):
    """One of them, as a statement that creates it in whatever database is selected."""

    kind: str
    name: str
    create: str
    sql_mode: str
    character_set: str
    collation: str
    time_zone: str = "SYSTEM"

    @property
    def line(self) -> str:
        """The same for the catalogue that copies are compared by."""
        return f"{self.kind.lower()} {self.name} {hashlib.sha256(self.ours.encode()).hexdigest()[:16]}"

    @property
    def ours(self) -> str:
        """The statement without its definer, who has no rights in a scratch database."""
        return DEFINER.sub("", self.create, count=1)


async def read(session: Session) -> tuple[Program, ...]:
    """All of the selected database, in the order they can be created in."""
    found = []
    ((database,),) = await session.execute("SELECT database()")
    for kind, name in await session.execute(ROUTINES):
        row = (await session.execute(f"SHOW CREATE {kind} {quoted(name)}"))[0]
        if row[2] is None:
            raise DatabaseError(
                f"the definition of {kind} {name} is not shown to us",
                hint="GRANT SELECT ON mysql.proc to this user",
            )
        found.append(Program(kind, name, row[2], row[1], row[3], row[4]))
    for (name,) in await session.execute(VIEWS):
        row = (await session.execute(f"SHOW CREATE VIEW {quoted(name)}"))[0]
        found.append(Program("VIEW", name, unqualified(row[1], database), "", row[2], row[3]))
    for name, definer, timing, event, table, statement, mode, charset, collation in await session.execute(
        TRIGGERS
    ):
        create = (
            f"CREATE DEFINER={_account(definer)} TRIGGER {quoted(name)} {timing} {event} ON {quoted(table)} "
            f"FOR EACH ROW {statement}"
        )
        found.append(Program("TRIGGER", name, create, mode, charset, collation))
    for (name,) in await session.execute(EVENTS):
        row = (await session.execute(f"SHOW CREATE EVENT {quoted(name)}"))[0]
        found.append(Program("EVENT", name, row[3], row[1], row[4], row[5], row[2]))
    return tuple(found)


async def create(session: Session, programs: tuple[Program, ...], *, scratch: bool = False) -> None:
    """Create them in the selected database; a view waits for the views it is made of.

    In a `scratch` database they are ours, and there are no events, which would run.
    """
    waiting = tuple(program for program in programs if not (scratch and program.kind == "EVENT"))
    while waiting:
        later = []
        for program in waiting:
            try:
                await _create(session, program, program.ours if scratch else program.create)
            except ServerError as error:
                if error.code not in (NO_SUCH_TABLE, INVALID_VIEW):
                    raise
                later.append(program)
                refusal = error
        if len(later) == len(waiting):
            raise refusal
        waiting = tuple(later)


async def drop(session: Session, programs: tuple[Program, ...]) -> None:
    """Drop them from the selected database."""
    for program in programs:
        await session.execute(f"DROP {program.kind} IF EXISTS {quoted(program.name)}")


async def _create(session: Session, program: Program, statement: str) -> None:
    await session.execute(
        "SET SESSION character_set_client = %s, collation_connection = %s",
        (program.character_set, program.collation),
    )
    await session.execute("SET SESSION sql_mode = %s, time_zone = %s", (program.sql_mode, program.time_zone))
    await session.execute(statement)


def unqualified(statement: str, database: str) -> str:
    """The statement without the database's name before others, text in quotes aside.

    The server prints a view's columns now with it (`app`.`a`.`id`), now without.
    """
    pattern = r"('(?:[^'\\]|\\.|'')*')|" + re.escape(f"{quoted(database)}.")
    return re.sub(pattern, lambda match: match[1] or "", statement)


def _account(definer: str) -> str:
    user, _, host = definer.rpartition("@")
    return f"{quoted(user)}@{quoted(host)}" if user else quoted(definer)
