"""Reads what is in a PostgreSQL database, in a form that a restored copy must match."""

from psycopg import sql

from changeover.drivers.sql.contents import Contents, Table
from changeover.drivers.sql.session import Session

PLAIN = """
    SET search_path = pg_catalog; SET DateStyle = ISO; SET IntervalStyle = postgres; SET TimeZone = UTC;
    SET extra_float_digits = 3; SET bytea_output = hex; SET xmloption = content; SET lc_monetary = 'C';
    SET row_security = off; SET statement_timeout = 0; SET lock_timeout = '30s';
    SET idle_in_transaction_session_timeout = 0
"""
"""The settings that a value's text depends on, and those that would cut a long reading short."""

OURS = """
    n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid
                    AND x.deptype = 'e')
"""

RELATIONS = f"""
    SELECT n.nspname, c.relname, c.oid::regclass::text, c.relkind::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'S') AND c.relpersistence <> 't' AND {OURS}
    ORDER BY 3
"""  # noqa: S608 - put together from constants

ROWS = """
    SELECT count(*), coalesce(sum(('x' || left(md5((t.*)::text), 16))::bit(64)::bigint), 0)::text
    FROM ONLY {} t
"""
"""MD5, because its value does not depend on the server's version or platform, as that of hashtext does."""

LARGE_OBJECTS = """
    SELECT count(*), coalesce(sum(('x' || left(md5(oid || ' ' || md5(lo_get(oid))), 16))::bit(64)::bigint), 0)::text
    FROM pg_largeobject_metadata
"""

COUNTER = """
    SELECT CASE WHEN s.is_called THEN s.last_value::numeric + q.seqincrement ELSE s.last_value END::text
    FROM {} s, pg_sequence q WHERE q.seqrelid = {}::regclass
"""
"""The value that comes next."""

OBJECTS = f"""
    SELECT concat_ws(' ', 'relation', c.oid::regclass, c.relkind, 'owner', pg_get_userbyid(c.relowner), 'rights',
        (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(coalesce(c.relacl,
            acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, c.relowner))) a))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't' AND {OURS}
  UNION ALL
    SELECT concat_ws(' ', 'column', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN 'not null' END, CASE WHEN a.atthasdef THEN 'default' END,
        nullif(a.attidentity, ''), nullif(a.attgenerated, ''))
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND c.relpersistence <> 't' AND {OURS}
  UNION ALL
    SELECT concat_ws(' ', 'index', i.indexrelid::regclass, 'on', c.oid::regclass,
        CASE WHEN i.indisunique THEN 'unique' END,
        (SELECT string_agg(a.attname, ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = i.indexrelid))
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE i.indisvalid AND c.relpersistence <> 't' AND {OURS}
  UNION ALL
    SELECT concat_ws(' ', 'constraint', c.oid::regclass, k.conname, k.contype,
        (SELECT string_agg(a.attname, ',' ORDER BY u.place) FROM unnest(k.conkey) WITH ORDINALITY u (number, place)
            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number),
        CASE WHEN k.confrelid <> 0 THEN k.confrelid::regclass END, CASE WHEN NOT k.convalidated THEN 'not valid' END)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype IN ('p', 'u', 'f', 'c', 'x') AND {OURS}
  UNION ALL
    SELECT concat_ws(' ', 'trigger', c.oid::regclass, t.tgname, t.tgenabled, t.tgfoid::regproc)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND {OURS}
  UNION ALL
    SELECT concat_ws(' ', 'routine', p.oid::regprocedure, md5(p.prosrc), 'owner', pg_get_userbyid(p.proowner))
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
        AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid
                        AND x.deptype = 'e')
  UNION ALL
    SELECT concat_ws(' ', 'enum', e.enumtypid::regtype, string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder))
    FROM pg_enum e GROUP BY e.enumtypid
  UNION ALL
    SELECT concat_ws(' ', 'schema', n.nspname, 'owner', pg_get_userbyid(n.nspowner)) FROM pg_namespace n
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  UNION ALL
    SELECT concat_ws(' ', 'extension', extname) FROM pg_extension
"""  # noqa: S608 - put together from constants
"""One line for each object. Expressions (defaults, checks, views) are left out on purpose: the server prints
some of them another way after they were dumped and restored, as `IN` lists over varchar."""


async def prepare(session: Session) -> None:
    """Make the session fit for reading: values and names have the same text wherever they are read."""
    await session.execute(PLAIN)


async def read(session: Session) -> Contents:
    """Everything in the database as the (prepared) session's transaction sees it; sequences as they are now.

    Left out is what a dump leaves out: foreign and temporary tables, the rows of tables that belong to an
    extension, and those of materialised views, which are computed anew.
    """
    relations = await session.execute(RELATIONS)
    tables = {
        name: await _table(session, sql.SQL(ROWS).format(sql.Identifier(schema, relation)).as_string())
        for schema, relation, name, kind in relations
        if kind == "r"
    }
    large_objects = await _table(session, LARGE_OBJECTS)
    if large_objects.rows:
        tables["large objects"] = large_objects
    objects = await session.execute(OBJECTS)
    return Contents(tables, await read_counters(session), tuple(sorted(line for (line,) in objects)))


async def read_counters(session: Session) -> dict[str, tuple[int, int]]:
    """The next value of every sequence, now: sequences are outside of every transaction."""
    relations = await session.execute(RELATIONS)
    counters = {}
    for schema, relation, name, kind in relations:
        if kind == "S":
            query = sql.SQL(COUNTER).format(sql.Identifier(schema, relation), sql.Literal(name))
            ((value,),) = await session.execute(query.as_string())
            counters[name] = (int(value), int(value))
    return counters


async def _table(session: Session, query: str) -> Table:
    ((rows, digest),) = await session.execute(query)
    return Table(int(rows), digest)
