"""What a PostgreSQL server says of itself, and the rights of ours that are missing."""

from psycopg import sql

from changeover.drivers.sql.session import Session
from changeover.ports import ServerFacts

ITSELF = """
    SELECT current_setting('server_version'), pg_database_size(current_database()),
        extract(epoch FROM clock_timestamp())::float8
"""

MISSING = """
    WITH me AS (SELECT oid, rolname, rolsuper, rolcreatedb, rolcreaterole, quote_ident(rolname) AS name FROM pg_roles
                WHERE rolname = current_user),
    ours AS (SELECT c.oid, c.relkind, c.relowner, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
                 AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
    SELECT format('to keep the ledger: GRANT CREATE ON SCHEMA %I TO %s', coalesce(current_schema(), 'public'), name)
    FROM me WHERE to_regclass('changeover_migration') IS NULL
        AND NOT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)
  UNION ALL
    SELECT format('to verify and restore snapshots: ALTER ROLE %s CREATEDB', name) FROM me
    WHERE NOT rolsuper AND NOT rolcreatedb
  UNION ALL
    SELECT format('to restore: GRANT %I TO %s (it owns the database)', pg_get_userbyid(datdba), name)
    FROM me, pg_database WHERE datname = current_database() AND NOT pg_has_role(datdba, 'MEMBER')
  UNION ALL
    SELECT format('to restore: GRANT %I TO %s (it owns %s tables or sequences)', pg_get_userbyid(relowner), name, count(*))
    FROM me, ours WHERE NOT pg_has_role(relowner, 'MEMBER') GROUP BY relowner, name
  UNION ALL
    SELECT format('to dump every table: GRANT pg_read_all_data TO %s (%s in schema %I cannot be read)',
        name, count(*), nspname)
    FROM me, ours
    WHERE NOT CASE relkind WHEN 'S' THEN has_sequence_privilege(ours.oid, 'SELECT') ELSE has_table_privilege(ours.oid, 'SELECT') END
        OR NOT has_schema_privilege(nspname, 'USAGE')
    GROUP BY name, nspname
  UNION ALL
    SELECT format('to end the sessions of others before a restore: GRANT pg_signal_backend TO %s', name) FROM me
    WHERE NOT rolsuper AND NOT pg_has_role('pg_signal_backend', 'USAGE')
  UNION ALL
    SELECT format('to restore the settings that role %I has in the database: ALTER ROLE %s CREATEROLE',
        pg_get_userbyid(setrole), name)
    FROM me, pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
    WHERE datname = current_database() AND setrole NOT IN (0, me.oid) AND NOT rolsuper AND NOT rolcreaterole
  UNION ALL
    SELECT format('to restore: connect to database %s: GRANT CONNECT ON DATABASE %s TO %s', {admin}, {admin}, name)
    FROM me, pg_database WHERE datname = {admin} AND NOT has_database_privilege(datname, 'CONNECT')
"""


# Before 15 nobody but a superuser can be given the right, so there is nothing to ask for.
MISSING_SETTINGS = """
    SELECT DISTINCT format('to restore the setting %s of the database: GRANT SET ON PARAMETER %I TO %I',
        p.name, p.name, current_user)
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c,
        pg_settings p
    WHERE d.datname = current_database() AND p.name = split_part(c, '=', 1)
        AND p.context IN ('superuser', 'superuser-backend') AND NOT has_parameter_privilege(p.name, 'SET')
"""


async def read(session: Session, admin: str) -> ServerFacts:
    """Version, size, clock, what to grant, and where its files are."""
    ((version, size, now),) = await session.execute(ITSELF)
    missing = await session.execute(sql.SQL(MISSING).format(admin=sql.Literal(admin)).as_string())
    ((since_15,),) = await session.execute("SELECT current_setting('server_version_num')::int >= 150000")
    if since_15:
        missing += await session.execute(MISSING_SETTINGS)
    # Left out of the view for those who may not know it.
    directory = await session.execute("SELECT setting FROM pg_settings WHERE name = 'data_directory'")
    return ServerFacts(
        f"PostgreSQL {version}",
        size,
        now,
        tuple(line for (line,) in missing),
        directory=directory[0][0] if directory else "",
    )
