"""Setting a key of a properties file leaves every other byte as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.actions.properties import value_of, with_value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a=1\nddl=false\nb=2\n", b"a=1\nddl=true\nb=2\n"),
        (b"  ddl :\tfalse\r\n# ddl=x\r\n", b"  ddl :\ttrue\r\n# ddl=x\r\n"),
        (b"ddl false", b"ddl true"),
        (b"ddl", b"ddl=true"),
        (b"ddl = fal\\\n   se\nb=2\n", b"ddl = true\nb=2\n"),
        (b"ddl=1\nb=2\nddl=3\n", b"ddl=1\nb=2\nddl=true\n"),
        (b"\xe9=\xff\n! \xc3\xa9\nddl=x\n", b"\xe9=\xff\n! \xc3\xa9\nddl=true\n"),
        (b"", b"ddl=true\n"),
        (b"a=1", b"a=1\nddl=true\n"),
        (b"a=1\r\n", b"a=1\r\nddl=true\r\n"),
        (b"d\\u0064l=x\n", b"d\\u0064l=true\n"),
    ],
)
def test_only_the_value_changes(before: bytes, after: bytes) -> None:
    """Separators, comments, order, line ends and foreign bytes stay; of several entries the last one counts."""
    assert with_value(before, "ddl", "true") == after
    assert value_of(after, "ddl") == "true"
    assert with_value(after, "ddl", "true") == after


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LINES = st.lists(st.tuples(st.sampled_from(["a", "ddl", "x y", "k=k", "ü"]), TEXTS), max_size=5)


@given(LINES, st.sampled_from(["ddl", "x y", "k=k", "new"]), TEXTS)
def test_what_was_set_is_read_back_and_nothing_else_changes(
    lines: list[tuple[str, str]], key: str, value: str
) -> None:
    """Whatever the values hold; every other key keeps its own."""
    content = b""
    for name, text in lines:
        content = with_value(content, name, text)
    changed = with_value(content, key, value)
    assert value_of(changed, key) == value
    for name in {name for name, _ in lines} - {key}:
        assert value_of(changed, name) == value_of(content, name)


def test_a_key_that_is_not_there_has_no_value() -> None:
    """A comment is none, and neither is a longer key."""
    assert value_of(b"# ddl=1\nddl.x=2\n", "ddl") is None
