"""SQL files are cut where the databases' own clients cut them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.drivers.mariadb import script as mariadb
from changeover.drivers.postgresql import script as postgresql
from changeover.drivers.sql import script
from changeover.drivers.sql.script import Cut
from changeover.errors import DatabaseError

BOTH = pytest.mark.parametrize("cut", [postgresql.cut, mariadb.cut], ids=["postgresql", "mariadb"])


def pieces(cut: Cut, sql: str) -> list[tuple[int, str]]:
    """Line and text of each statement."""
    return [(statement.line, statement.text) for statement in cut(sql)]


@BOTH
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (" ;; \n ; ", []),
        ("-- a;\n/* b; */\n", []),
        ("SELECT 1", [(1, "SELECT 1")]),
        ("SELECT 1;\n\n-- then; this\nSELECT 2 ;", [(1, "SELECT 1"), (4, "SELECT 2")]),
        ("SELECT ';', 'it''s; ok';SELECT 2", [(1, "SELECT ';', 'it''s; ok'"), (1, "SELECT 2")]),
        ('SELECT "a;b" -- c;\n;x', [(1, 'SELECT "a;b"'), (2, "x")]),
        ("a /* ; */ b;", [(1, "a /* ; */ b")]),
        ("SELECT '--'; x", [(1, "SELECT '--'"), (1, "x")]),
        ("SELECT 'never closed; x", [(1, "SELECT 'never closed; x")]),
    ],
)
def test_what_both_have_in_common(cut: Cut, sql: str, expected: list[tuple[int, str]]) -> None:
    """Quotes, comments, empty statements, and the line that each begins on."""
    assert pieces(cut, sql) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("/* a /* b; */ ; */ x;", ["x"]),
        ("SELECT $$a;b$$; y", ["SELECT $$a;b$$", "y"]),
        ("DO $x$ BEGIN a; $$ ; $$ END $x$; y", ["DO $x$ BEGIN a; $$ ; $$ END $x$", "y"]),
        (r"SELECT E'a\';b'; y", [r"SELECT E'a\';b'", "y"]),
        (r"SELECT 'a\'; y", [r"SELECT 'a\'", "y"]),
        ("SELECT a$b$c; y$b$", ["SELECT a$b$c", "y$b$"]),
        ("CREATE RULE r AS ON INSERT TO t DO (a; b); y", ["CREATE RULE r AS ON INSERT TO t DO (a; b)", "y"]),
        (
            "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; y",
            [
                "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END",
                "y",
            ],
        ),
        ("BEGIN; x; END; y", ["BEGIN", "x", "END", "y"]),
    ],
)
def test_what_postgresql_has_of_its_own(sql: str, expected: list[str]) -> None:
    """Nested comments, dollar quotes, escape strings, rules, and functions with a body of statements."""
    assert [text for _, text in pieces(postgresql.cut, sql)] == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("# a;\nx;", [(2, "x")]),
        ("SELECT 5--1; y", [(1, "SELECT 5--1"), (1, "y")]),
        (r"SELECT 'a\'; b', `c;d`; y", [(1, r"SELECT 'a\'; b', `c;d`"), (1, "y")]),
        ("/*!50003 SET x = 1 */; y", [(1, "/*!50003 SET x = 1 */"), (1, "y")]),
        (
            "DELIMITER //\nCREATE PROCEDURE p() BEGIN a; b; END//\n  delimiter ;\nSELECT '//'; y",
            [(2, "CREATE PROCEDURE p() BEGIN a; b; END"), (4, "SELECT '//'"), (4, "y")],
        ),
        ("SELECT 1\ndelimiter $$\nx;y", [(1, "SELECT 1\ndelimiter $$\nx"), (3, "y")]),
    ],
)
def test_what_mariadb_has_of_its_own(sql: str, expected: list[tuple[int, str]]) -> None:
    """Its comments, backslashes, backticks, and DELIMITER on a line of its own between statements."""
    assert pieces(mariadb.cut, sql) == expected


@BOTH
@given(sql=st.text(alphabet="ab;'\"$-/*\\\n #(`) E", max_size=60))
def test_nothing_but_blanks_and_comments_is_lost(cut: Cut, sql: str) -> None:
    """Every statement stands in the file, in order, on the line it says."""
    position = 0
    for statement in cut(sql):
        found = sql.index(statement.text, position)
        assert statement.text.lstrip() == statement.text != ""
        assert sql.count("\n", 0, sql.index(statement.text, position)) + 1 <= statement.line
        position = found + len(statement.text)


def test_a_refused_word_is_named_with_its_line() -> None:
    """COMMIT in a transactional file would part it from the ledger."""
    with pytest.raises(DatabaseError, match="001, line 2: COMMIT is not allowed"):
        script.parse("001", "x;\ncommit;", postgresql.cut, refused=postgresql.TRANSACTION_WORDS)


def test_a_file_without_statements_is_refused() -> None:
    """Whatever comments it has."""
    with pytest.raises(DatabaseError, match="001: there is no statement"):
        script.parse("001", "-- nothing\n", mariadb.cut)
