"""The lines sent to the database's host, to the letter."""

from changeover.drivers.login import Login
from changeover.drivers.mariadb import commands as mariadb
from changeover.drivers.mariadb.server import rename
from changeover.drivers.postgresql import commands as postgresql
from changeover.drivers.postgresql.session import conninfo
from changeover.drivers.sql import snapshots

LOGIN = Login("10.0.0.5", 5433, "deploy", "my app", "canary")


def test_the_password_is_not_in_a_connection_string() -> None:
    """Nor in the login's own text."""
    text = conninfo(LOGIN, {"sslmode": "require"})
    assert text == (
        "host=10.0.0.5 port=5433 user=deploy dbname='my app' connect_timeout=10 application_name=changeover "
        "sslmode=require"
    )
    assert "canary" not in f"{LOGIN} {LOGIN!r}"


def test_pg_dump() -> None:
    """It joins the exported snapshot, and its file is for its owner only."""
    assert postgresql.dump("host=db dbname='my app'", "0003-1", "/snaps/a b/dump", tools="/opt/pg/bin") == (
        "umask 077 && /opt/pg/bin/pg_dump --no-password --format=custom --compress=1 --lock-wait-timeout=30s "
        "--snapshot=0003-1 '--file=/snaps/a b/dump' '--dbname=host=db dbname='\"'\"'my app'\"'\"''"
    )


def test_pg_restore() -> None:
    """It stops at the first error."""
    assert postgresql.restore("host=db", "/snaps/x/dump", jobs=4) == (
        "pg_restore --no-password --exit-on-error --jobs=4 --dbname=host=db /snaps/x/dump"
    )


def test_mariadb_dump() -> None:
    """In one transaction, without what cannot be restored under another name."""
    assert mariadb.dump(LOGIN, "/snaps/x/dump", views=["v"]) == (
        "umask 077 && mariadb-dump --protocol=tcp --host=10.0.0.5 --port=5433 --user=deploy --single-transaction "
        "--quick --hex-blob --comments --skip-triggers --default-character-set=utf8mb4 --max-allowed-packet=1G "
        "'--ignore-table=my app.v' -- 'my app' > /snaps/x/dump"
    )


def test_waiting_for_mariadb_dump_to_begin() -> None:
    """One command on the host, bounded, not many polls."""
    assert mariadb.until_begun("/s/dump") == (
        "timeout --foreground 30 sh -c 'until grep -qE '\"'\"'^-- ((Table|Sequence) structure for|Dump completed)'\"'\"' "
        "/s/dump 2>/dev/null; do sleep 0.02; done'"
    )


def test_mariadb_restore_through_a_socket() -> None:
    """A unix socket is an address that begins with a slash."""
    assert mariadb.restore(Login("/run/mysqld/mysqld.sock", 3306, "root", "app"), "/s/dump") == (
        "mariadb --socket=/run/mysqld/mysqld.sock --user=root --batch --default-character-set=utf8mb4 "
        "--max-allowed-packet=1G --database=app < /s/dump"
    )


def test_tables_change_places_in_one_statement() -> None:
    """All or none; a backtick in a name stays part of it."""
    assert rename([("t", "app", "old"), ("a`b", "new", "app")]) == (
        "RENAME TABLE `app`.`t` TO `old`.`t`, `new`.`a``b` TO `app`.`a``b`"
    )


def test_the_lines_that_keep_snapshots() -> None:
    """A draft gets a name of its own, reaches the disk, and is renamed into place."""
    assert snapshots.begin_line("/var/s 1/main", "x") == (
        "umask 077 && mkdir -p -- '/var/s 1/main' && mktemp -d -- '/var/s 1/main/x.draft,XXXXXXXX'"
    )
    assert snapshots.measure_line("/s/d") == "sync -- /s/d && stat -c %s -- /s/d && sha256sum < /s/d"
    assert snapshots.finish_line("/s", "/s/x.draft,1", "/s/x") == (
        "sync -- /s/x.draft,1/* && mv -T -- /s/x.draft,1 /s/x && sync -- /s"
    )
    assert snapshots.drop_line("/s/x") == "rm -rf -- /s/x /s/x.draft,*"
