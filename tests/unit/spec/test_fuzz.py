"""Whatever is done to the operator's files, the answer is a spec, or problems that each name a place."""

import copy
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from changeover.spec import InvalidSpecError, Problem, Spec, load, reference
from tests.unit.spec.conftest import SITE, Written

FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DIRECTORY = Path(__file__).parent / "inventories"
INVENTORIES = {name: (DIRECTORY / name).read_text() for name in ("production.ini", "production.yaml")}
WORDS = [
    *"*[{/",
    "app[1-4]",
    "{x}",
    "50%",
    "10m",
    "../..",
    "~nobody/x",
    "${NONE}",
    "",
    "app1",
    "main",
    "x: y",
    "a\0b",
]
SECTIONS = [
    "hosts",
    "groups",
    "ssh",
    "application",
    "balancers",
    "databases",
    "upgrade",
    "include",
    "journal",
    "probe",
]
BYTES = [
    b"",
    b"*",
    b"&a ",
    b"*a",
    b"!x ",
    b"? ",
    b"\t",
    b"[",
    b"{",
    b"]",
    b"'",
    b"=",
    b"<<: ",
    b"[a:children]\nweb\n",
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def check(path: Path) -> None:
    """Load it: nothing but a spec, or problems with places, comes of it."""
    problems: tuple[Problem, ...] = ()
    try:
        assert isinstance(load(path, environ={}), Spec)
    except InvalidSpecError as error:
        problems = error.problems
        assert problems  # either way is fine; this one has to say something
    assert all(problem.file and problem.line >= 1 and problem.column >= 1 for problem in problems)
    assert not any("\n" in str(problem) for problem in problems)


def parse(text: str) -> Any:
    """The document in YAML."""
    return YAML(typ="safe", pure=True).load(text)


def write(files: Written, document: Any) -> None:
    """The document as the main file."""
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(document, stream)
    (files.directory / "site.yaml").write_text(stream.getvalue(), errors="surrogatepass")


def spots(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a document, with each key or index in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [spot for key, inner in items for spot in ((value, key), *spots(inner))]


def mutate(document: Any, data: st.DataObject) -> None:
    """Delete, rename, copy or replace something somewhere."""
    places = spots(document)
    pick = st.integers(0, max(len(places) - 1, 0))
    if not places:
        return
    container, key = places[data.draw(pick)]
    other, there = places[data.draw(pick)]
    match data.draw(st.sampled_from(["delete", "rename", "copy", "replace"])):
        case "delete":
            del container[key]
        case "rename" if isinstance(container, dict):
            names = st.text(max_size=8) | st.sampled_from(
                [str(key)[:-1], str(key) + "s", "ansible", "include"]
            )
            container[data.draw(names)] = container.pop(key)
        case "copy":
            container[key] = copy.deepcopy(other[there])
        case _:
            container[key] = data.draw(values)


def damage(raw: bytes, data: st.DataObject) -> bytes:
    """Change, drop, double and put in bytes; perhaps cut off the end."""
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(start, min(start + 60, len(raw))))
        new = data.draw(st.binary(max_size=4) | st.sampled_from([*BYTES, raw[start:end] * 2]))
        raw = raw[:start] + new + raw[end:]
    return raw[: data.draw(st.just(len(raw)) | st.integers(0, len(raw)))]


@FUZZ
@pytest.mark.parametrize("whole", [parse(SITE), parse(reference())], ids=["site", "reference"])
@given(data=st.data())
def test_mutated_document(files: Written, whole: Any, data: st.DataObject) -> None:
    """Keys and values are deleted, renamed, moved and replaced."""
    document = copy.deepcopy(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        mutate(document, data)
    write(files, document)
    check(files.path)


@FUZZ
@pytest.mark.parametrize("text", [SITE, reference()], ids=["site", "reference"])
@given(data=st.data())
def test_damaged_bytes(files: Written, text: str, data: st.DataObject) -> None:
    """The file is no longer what an editor wrote."""
    (files.directory / "site.yaml").write_bytes(damage(text.encode(), data))
    check(files.path)


@FUZZ
@given(document=values)
def test_random_yaml(files: Written, document: Any) -> None:
    """Any YAML at all."""
    write(files, document)
    check(files.path)


@FUZZ
@given(section=st.sampled_from(SECTIONS), value=values)
def test_random_section(files: Written, section: str, value: Any) -> None:
    """Any YAML in the place of one section."""
    write(files, parse(SITE) | {section: value})
    check(files.path)


@FUZZ
@pytest.mark.parametrize("name", INVENTORIES)
@given(data=st.data())
def test_damaged_inventory(files: Written, name: str, data: st.DataObject) -> None:
    """Inventories are no safer than the spec itself."""
    (files.directory / name).write_bytes(damage(INVENTORIES[name].encode(), data))
    files.write("site.yaml", SITE.replace("  lb1: 10.77.0.11\n", f"  ansible: {name}\n"))
    check(files.path)
