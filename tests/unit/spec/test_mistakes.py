"""Each mistake in `mistakes.yaml`: one change to a site that loads, and the exact problems it must come to."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from changeover.spec import InvalidSpecError, Spec, load
from tests.unit.spec.conftest import Written

CANARY = "d41d8cd9"
MISTAKES: list[dict[str, Any]] = YAML(typ="safe").load(Path(__file__).with_name("mistakes.yaml"))


def problems(files: Written) -> list[str]:
    """What is reported, without the main file's name in front."""
    with pytest.raises(InvalidSpecError) as caught:
        load(files.path, environ={})
    return [str(problem).removeprefix("site.yaml:") for problem in caught.value.problems]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake["name"])
def test_mistake_is_told_with_its_place(files: Written, mistake: dict[str, Any]) -> None:
    """All of its problems, and nothing else, at their lines and columns; a literal secret is never shown."""
    files.change(mistake["replace"], mistake["with"])
    found = problems(files)
    assert found == mistake["problems"]
    assert CANARY not in "\n".join(found)


def test_every_section_is_looked_at(files: Written) -> None:
    """Mistakes in one section do not hide those in the others."""
    text = files.directory.joinpath("site.yaml").read_text()
    for old, new in (("5s", "soon"), ("json:", "jsn:"), ("backend:", "backand:"), ("to: 1.10", "to: 23.0.2")):
        text = text.replace(old, new)
    files.write("site.yaml", text)
    lines = [line.split()[0] for line in problems(files)]
    assert lines == ["9:71", "16:53", "20:21", "20:66", "25:7"]


def test_error_tells_the_reference(files: Written) -> None:
    """The message holds every problem, and the hint where all keys are explained."""
    files.change("socket:", "sokcet:")
    with pytest.raises(InvalidSpecError) as caught:
        load(files.path)
    problem = caught.value.problems[0]
    assert (problem.file, problem.line, problem.column) == ("site.yaml", 20, 33)
    assert (problem.key, problem.nearest) == ("balancers.public.haproxy.sokcet", "socket")
    assert str(problem) in caught.value.message
    assert "docs/reference.md" in caught.value.hint


HOSTILE = {
    "empty": b"",
    "only a comment": b"# nothing\n",
    "a list": b"- 1\n",
    "text": b"site",
    "not UTF-8": b"site: \xff\n",
    "UTF-16": "site: x".encode("utf-16"),
    "a NUL byte": b"site: x\nhosts: \0\n",
    "a control character": b"site: x\x07\n",
    "deep lists": b"a: " + b"[" * 5000,
    "deep mappings": b"".join(b" " * n + b"a:\n" for n in range(200)),
    "deep quoted keys": b"{a: " * 3000,
    "an alias in itself": b"site: &a [*a]\n",
    "an escape beyond Unicode": b'site: "\\UFFFFFFFF"\n',
    "an unclosed quote": b'site: "x\n',
    "a directive": b"%YAML 9.9.9\n---\nsite: x\n",
    "a merge of text": b"<<: x\nsite: x\n",
    "an unknown tag": b"site: !!python/object:os.system x\n",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_a_problem_with_a_place(files: Written, data: bytes) -> None:
    """Whatever the bytes are, the answer names file and line."""
    files.directory.joinpath("site.yaml").write_bytes(data)
    with pytest.raises(InvalidSpecError) as caught:
        load(files.path)
    assert all(problem.file == "site.yaml" and problem.line >= 1 for problem in caught.value.problems)


def test_aliases_do_not_multiply_without_end(files: Written) -> None:
    """A file of a few lines that stands for billions of values is refused where it grows too large."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    files.write("site.yaml", "\n".join(lines))
    assert problems(files)[-1].endswith("more than 100000 values, aliases counted in full")


def test_directory_is_no_file(files: Written) -> None:
    """A directory in the place of the file is told as such."""
    with pytest.raises(InvalidSpecError, match="cannot read migrations: is a directory"):
        load("migrations")


def test_file_that_is_not_there(files: Written) -> None:
    """A missing file is a problem of the file, in its first line."""
    with pytest.raises(InvalidSpecError, match=r"^none.yaml:1:1  cannot read none.yaml: no such file"):
        load("none.yaml")


def test_huge_file_is_not_read(files: Written) -> None:
    """A file beyond any spec's size is refused before it is parsed."""
    files.write("site.yaml", "# " + "x" * 5_000_000)
    assert problems(files) == ["1:1  site.yaml is larger than 4 MiB"]


def test_the_site_itself_loads(files: Written) -> None:
    """Without a change there is nothing wrong, so every mistake above is the change's."""
    assert isinstance(load(files.path), Spec)
