"""Templates: what a value may hold, and where it may stand."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from changeover.drivers.template import check_shell, fill, fill_shell, fill_sql
from changeover.errors import ApplicationError

ATTACKS = [
    "; rm -rf /",
    "$(touch attacked)",
    "`touch attacked`",
    "' ; touch attacked ; '",
    '" ; touch attacked ; "',
    "\n touch attacked \n",
    "\\",
    "*",
    "",
    "it's",
    "ünï 漢",
]


def test_only_placeholders_are_filled() -> None:
    """Other braces and the shell's own variables stay as they are."""
    text = 'x="${name}" {name} {"a": 1} {} {a,b} awk "{ print }"'
    assert fill(text, {"name": "v"}) == 'x="${name}" v {"a": 1} {} {a,b} awk "{ print }"'


def test_a_name_without_a_value_is_an_error_that_lists_those_there_are() -> None:
    """Nothing is filled with an empty string by mistake."""
    with pytest.raises(ApplicationError, match=r"\{relase\} has no value; there are node, release"):
        fill("{relase}", {"release": "2", "node": "a"})


def test_values_in_a_shell_line_are_quoted() -> None:
    """To the exact string."""
    line = fill_shell(
        "install --to={base}/releases {release}", {"base": "/opt/app", "release": "2; rm -rf ~"}
    )
    assert line == "install --to=/opt/app/releases '2; rm -rf ~'"


@pytest.mark.parametrize("value", ATTACKS)
@pytest.mark.parametrize(
    "line",
    [
        "printf '<%s>' {v}",
        "printf '<%s>' \"$(printf %s {v})\"",
        "x={v}; printf '<%s>' \"$x\"",
        "(printf '<'%s'>' {v})",
    ],
)
def test_the_shell_sees_exactly_the_value(tmp_path: Path, line: str, value: str) -> None:
    """One word, whatever is in it; nothing in it is executed."""
    shown = subprocess.run(
        ["/bin/sh", "-c", fill_shell(line, {"v": value})],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = value.rstrip("\n") if "$(" in line else value
    assert shown.stdout == f"<{expected}>"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "echo '{v}'",
        'echo "{v}"',
        'echo "a $(true) {v}"',
        "echo `echo {v}`",
        "true # {v}",
        "cat <<END\n{v}\nEND",
        "echo \\{v}",
        "echo \"it's\" '{v}'",
    ],
)
def test_a_value_where_quoting_would_not_hold_is_refused(line: str) -> None:
    """The operator is told how to write it instead."""
    with pytest.raises(ApplicationError, match=r"\{v\} stands within quotes") as caught:
        check_shell(line)
    assert "end the quotes before {v}" in caught.value.hint


@pytest.mark.parametrize(
    "line",
    [
        "echo 'a'{v}\"b\"",
        'readlink "/proc/$(systemctl show {v})/cwd"',
        "# don't\necho {v}",
        "test -d {v} || (cd {v} && ls)",
        'x="${y#z}" {v}',
        "echo a#'b' {v}",
    ],
)
def test_a_value_where_quoting_holds_is_accepted(line: str) -> None:
    """Quotes and comments elsewhere in the line do no harm."""
    check_shell(line)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    line=st.lists(
        st.sampled_from(["'", '"', "\\", "$(", ")", "(", "#", " ", "\n", "`", "<<", ";", "a", "{v}"]),
        max_size=12,
    ),
    value=st.sampled_from(ATTACKS),
)
def test_no_accepted_line_executes_a_value(tmp_path: Path, line: list[str], value: str) -> None:
    """Whatever mixture of quotes surrounds it: a line is refused, or the value stays a word."""
    try:
        filled = fill_shell("".join(line), {"v": value})
    except ApplicationError:
        return
    subprocess.run(["/bin/sh", "-c", filled], cwd=tmp_path, capture_output=True, timeout=10, check=False)
    assert not list(tmp_path.iterdir()), filled


def test_a_value_within_an_sql_literal_may_hold_quotes() -> None:
    """Doubled, as SQL has it."""
    assert fill_sql("SELECT '{v}'", {"v": "it's"}) == "SELECT 'it''s'"


def test_a_plain_name_may_stand_anywhere_in_a_statement() -> None:
    """A number or an identifier cannot be more than that."""
    assert (
        fill_sql("ALTER DATABASE {d} SET x = {n}", {"d": "main_1", "n": "5"})
        == "ALTER DATABASE main_1 SET x = 5"
    )


@pytest.mark.parametrize("statement", ["SELECT {v}", "SELECT 'a' || {v}", "SELECT '{v}'"])
@pytest.mark.parametrize("value", ["1; DROP TABLE x\\", "a\\' OR 1=1 --", "\\"])
def test_a_value_that_could_be_more_is_refused_in_sql(statement: str, value: str) -> None:
    """Rather than trusting a dialect's escapes."""
    with pytest.raises(ApplicationError, match="cannot be put into a statement safely"):
        fill_sql(statement, {"v": value})
