"""Durations, sizes and ranges as operators write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.spec.quantities import duration, size
from changeover.spec.ranges import expand


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("45", 45),
        ("1.5s", 1.5),
        ("0", 0),
        ("1d", 86400),
        (" 5s ", 5),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    """Units add up; a plain number is seconds."""
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "10 m", "-1s", "1y", "inf", "nan", "1e3", "10m5", "367d", "9" * 5000, "\u0661s"]
)
def test_no_duration(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="expected a duration"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1GiB", 2**30),
        ("500MB", 500_000_000),
        ("64K", 65536),
        ("0.5KiB", 512),
        ("1024", 1024),
        ("2 TiB", 2**41),
        ("7B", 7),
    ],
)
def test_size(text: str, count: int) -> None:
    """Binary and decimal units; a plain number is bytes."""
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "GiB", "1GBi", "-1", "1e3", "999999999999TiB", "inf"])
def test_no_size(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="expected a size"):
        size(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("app1", ["app1"]),
        ("app[1-3]", ["app1", "app2", "app3"]),
        ("app[08-10]", ["app08", "app09", "app10"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("db-[a:c]", ["db-a", "db-b", "db-c"]),
        ("w[1:5:2].x", ["w1.x", "w3.x", "w5.x"]),
        ("[7-7]", ["7"]),
    ],
)
def test_range(text: str, names: list[str]) -> None:
    """Every form of range, several in one name among them."""
    assert expand(text) == names


@pytest.mark.parametrize(
    "text",
    ["a[", "a[]", "a[1]", "a]", "a[2-1]", "a[01-2]", "a[1-2", "a[1-99999]", "a[1-999][1-999]", "a[1:2:0]"],
)
def test_no_range(text: str) -> None:
    """What is no range is refused, not taken as a name."""
    with pytest.raises(ValueError, match=r"range|names"):
        expand(text)


@given(st.integers(0, 500), st.integers(0, 50))
def test_range_counts(first: int, more: int) -> None:
    """A range stands for as many names as it has numbers, each once."""
    names = expand(f"n[{first}-{first + more}]")
    assert len(set(names)) == more + 1
