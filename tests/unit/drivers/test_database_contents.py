"""What makes two databases the same, what the ledger means, and what is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.drivers.login import driver_options
from changeover.drivers.mariadb.contents import rows_query
from changeover.drivers.mariadb.facts import GLOBAL, IN_DATABASE, missing
from changeover.drivers.mariadb.programs import Program, unqualified
from changeover.drivers.postgresql.options import Options
from changeover.drivers.sql import ledger
from changeover.drivers.sql.contents import Contents, Table, shown
from changeover.drivers.sql.server import LONGEST_NAME, scratch_name
from changeover.errors import DatabaseError, SpecError
from changeover.model.release import SqlMigration
from changeover.model.site import DatabaseConfig
from changeover.ports import Applied

TAKEN = Contents({"a": Table(2, "7"), "b": Table(0, "0")}, {"s": (5, 8)}, ("index i", "relation a"))


def changed(**fields: object) -> Contents:
    """The same but for these."""
    whole = {"tables": TAKEN.tables, "counters": {"s": (6, 6)}, "objects": TAKEN.objects, **fields}
    return Contents(**whole)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (changed(), []),
        (changed(counters={"s": (5, 5)}), []),
        (changed(counters={"s": (8, 8)}), []),
        (changed(counters={"s": (9, 9)}), ["sequence s is at 9 instead of 5"]),
        (changed(counters={}), ["sequence s is missing"]),
        (changed(tables={"a": Table(2, "7")}), ["table b is missing"]),
        (changed(tables={"a": Table(3, "7"), "b": Table(0, "0")}), ["table a has 3 rows instead of 2"]),
        (
            changed(tables={"a": Table(2, "8"), "b": Table(0, "0")}),
            ["table a has other rows, as many as it should"],
        ),
        (changed(tables={**TAKEN.tables, "c": Table(0, "0")}), ["table c is not in the snapshot"]),
        (changed(objects=("relation a",)), ["missing: index i"]),
        (changed(objects=("index i", "index j", "relation a")), ["unexpected: index j"]),
    ],
)
def test_differences_are_named(found: Contents, expected: list[str]) -> None:
    """Each kind of difference gives one line; a sequence may be anywhere between its two readings."""
    assert TAKEN.differences(found) == expected


@given(
    st.dictionaries(st.text("abc", min_size=1), st.builds(Table, st.integers(0, 9), st.sampled_from("0123")))
)
def test_the_fingerprint_is_of_the_rows(tables: dict[str, Table]) -> None:
    """The order of tables, sequences and catalogue have no part in it; any table's rows do."""
    contents = Contents(tables, {}, ())
    backwards = Contents(dict(reversed(tables.items())), {"s": (1, 1)}, ("x",))
    assert backwards.fingerprint == contents.fingerprint
    assert Contents({**tables, "new": Table(1, "1")}, {}, ()).fingerprint != contents.fingerprint


def test_an_error_shows_the_first_few_differences() -> None:
    """And says how many more there are."""
    assert shown(["a", "b"]) == "a; b"
    assert shown(list("abcdefg")) == "a; b; c; d; e; and 2 more"


MIGRATION = SqlMigration("001", "x", "c1", down="y")


def test_what_an_entry_means() -> None:
    """None: due. The same: applied. Another text, or unfinished: a person's matter."""
    assert not ledger.applied(MIGRATION, [Applied("000", "c0", 1, 2)])
    assert ledger.applied(MIGRATION, [Applied("001", "c1", 1, 2)])
    with pytest.raises(DatabaseError, match="another text"):
        ledger.applied(MIGRATION, [Applied("001", "c2", 1, 2)])
    with pytest.raises(DatabaseError, match="1970-01-01 00:00:01Z and has not been finished"):
        ledger.applied(MIGRATION, [Applied("001", "c1", 1, 0)])


def test_the_way_back_is_a_file_too() -> None:
    """Its name says which; none is an error that names the other way."""
    assert ledger.downwards(MIGRATION).name == "001 (down)"
    with pytest.raises(DatabaseError) as refused:
        ledger.downwards(SqlMigration("002", "x", "c"))
    assert "snapshot" in refused.value.hint


def test_scratch_names_fit_and_differ() -> None:
    """A long database name is replaced by its digest."""
    names = {
        scratch_name(purpose, database)
        for purpose in ("verify", "old")
        for database in ("app", "x" * 60, "x" * 61)
    }
    assert len(names) == 6
    assert all(len(it) <= LONGEST_NAME for it in names)
    assert "changeover_verify_app" in names


def test_an_unknown_option_is_the_operators_mistake() -> None:
    """It is named, with the database."""
    config = DatabaseConfig("main", "postgresql", "app", "app", "db1", options={"job": 2})
    with pytest.raises(SpecError, match=r"database main: options: .*job"):
        driver_options(config, Options)


def test_mariadb_rows_are_hashed_column_by_column() -> None:
    """Long values by their MD5, and NULL is no value."""
    assert rows_query("t", [("id", True), ("na`me", False)]) == (
        "SELECT count(*), ifnull(sum(cast(conv(left(md5(concat_ws(',', ifnull(`id`, 'null'), "
        "ifnull(md5(`na``me`), 'null'))), 16), 16, 10) AS unsigned)), 0) FROM `t`"
    )


def test_mariadb_rights_that_are_missing() -> None:
    """Nothing for one who has all; a grant per missing right for one who has none."""
    everything = {"*": set(GLOBAL) | set(IN_DATABASE)}
    assert missing("'u'@'%'", "app", everything) == []
    scoped = {
        "*": set(GLOBAL),
        "my\\_app": set(IN_DATABASE),
        "changeover\\_%": set(IN_DATABASE),
        "mysql.proc": {"SELECT"},
    }
    assert missing("'u'@'%'", "my_app", scoped) == []
    lines = missing("'u'@'%'", "my_app", {})
    assert "to tell who holds a lock: GRANT PROCESS ON *.* TO 'u'@'%'" in lines
    assert "to dump, migrate and restore it: GRANT ALL ON `my\\_app`.* TO 'u'@'%'" in lines
    assert len(lines) == len(GLOBAL) + 3


def test_a_view_forgets_the_name_of_its_database() -> None:
    """But not inside of text."""
    assert unqualified("SELECT `app`.`a`.`id`, '`app`.x', 'it''s `app`.' FROM `app`.`a`", "app") == (
        "SELECT `a`.`id`, '`app`.x', 'it''s `app`.' FROM `a`"
    )


def test_a_program_in_a_scratch_database_is_ours() -> None:
    """Its definer may have no rights there."""
    program = Program(
        "VIEW", "v", "CREATE DEFINER=`a``b`@`%` VIEW `v` AS select 1", "", "utf8mb4", "utf8mb4_bin"
    )
    assert program.ours == "CREATE VIEW `v` AS select 1"
