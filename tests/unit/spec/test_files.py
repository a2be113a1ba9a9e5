"""Includes, packs of one's own, and SQL files that are not as they should be."""

import pytest

from changeover.spec import InvalidSpecError, load
from tests.unit.spec.conftest import SITE, Written


def problems(files: Written) -> list[str]:
    """What is reported."""
    with pytest.raises(InvalidSpecError) as caught:
        load(files.path)
    return [str(problem) for problem in caught.value.problems]


def test_include_adds_sections_and_entries(files: Written) -> None:
    """What is split over files, files in files among them, means the same as in one."""
    whole = load(files.path).digest
    files.write(
        "parts/a.yaml", "include: b.yaml\ndatabases: {main: {postgresql: {host: db1, name: keystone}}}\n"
    )
    user = "user: keystone, password: {env: DB_PASSWORD}"
    files.write("parts/b.yaml", f"databases: {{main: {{postgresql: {{{user}}}}}}}\nbecome: sudo\n")
    text = "".join(
        line
        for line in SITE.splitlines(keepends=True)
        if not line.startswith(("databases", "  main: {post", "become"))
    )
    files.write("site.yaml", f"include: [parts/a.yaml]\n{text}")
    assert load(files.path).digest == whole


def test_include_names_its_own_lines(files: Written) -> None:
    """A mistake in an included file is told with that file and its line."""
    files.write("parts/more.yaml", "\n\nbecome: suod\n")
    files.change("become: sudo\n", "include: parts/more.yaml\n")
    assert problems(files) == [
        "parts/more.yaml:3:9  become: unknown value; did you mean 'sudo'? expected one of sudo, none"
    ]


def test_include_conflicts_are_told(files: Written) -> None:
    """What two files give is a mistake that names both."""
    files.write("more.yaml", "become: none\nssh: {user: other, port: 2222}\n")
    files.change("site: identity", "site: identity\ninclude: more.yaml")
    assert problems(files) == [
        "more.yaml:1:1  become: also given in site.yaml:11",
        "more.yaml:2:7  ssh.user: also given in site.yaml:10",
    ]


def test_includes_in_a_circle(files: Written) -> None:
    """Files that include one another are told, with the chain."""
    files.write("a.yaml", "include: b.yaml\n")
    files.write("b.yaml", "include: a.yaml\n")
    files.change("site: identity", "site: identity\ninclude: a.yaml")
    assert problems(files) == [
        "b.yaml:1:10  include: these files include one another: a.yaml → b.yaml → a.yaml"
    ]


def test_include_twice_is_fine(files: Written) -> None:
    """Two files may include the same third one."""
    files.write("a.yaml", "include: c.yaml\n")
    files.write("b.yaml", "include: [c.yaml]\n")
    files.write("c.yaml", "become: sudo\n")
    files.change("become: sudo\n", "include: [a.yaml, b.yaml]\n")
    assert load(files.path).site.host("db1").become is not None


def test_paths_are_relative_to_the_file_they_are_in(files: Written) -> None:
    """A path in an included file starts from that file."""
    files.write("parts/more.yaml", "ssh: {key: id, jump: bastion}\n")
    files.change(
        "ssh: {user: deploy, key: keys/deploy, jump: bastion, connect_timeout: 5s}\n",
        "include: parts/more.yaml\n",
    )
    assert load(files.path).site.host("db1").ssh.key == str(files.directory / "parts/id")


def test_pack_of_ones_own(files: Written) -> None:
    """A pack by its path is the same kind of file."""
    files.write("packs/own.yaml", "reload: {shell: reload}\nstart: {shell: begin}\n")
    files.change("pack: systemd-release", "pack: packs/own.yaml\n  start: {shell: mine}")
    assert [line.split("  ")[1].split(":")[0] for line in problems(files)] == [
        f"application.{name}"
        for name in ("install", "installed", "switch", "release", "stop", "running", "health", "version")
    ]


def test_pack_mistakes_have_the_packs_places(files: Written) -> None:
    """What is wrong in a pack is told with its file and line."""
    files.write("packs/own.yaml", "start: {systemd: x}\nstpo: {shell: x}\nstop: {shell: x, becme: true}\n")
    files.change("pack: systemd-release", "pack: packs/own.yaml")
    found = problems(files)
    assert found[0] == "packs/own.yaml:2:1  stpo: unknown key; did you mean 'stop'?"
    assert found[1].startswith("packs/own.yaml:3:18  stop.becme: unknown key; did you mean 'become'?")


@pytest.mark.parametrize("text", ["", "- a\n", "just text"])
def test_pack_that_is_no_mapping(files: Written, text: str) -> None:
    """A pack of another form is a problem of the pack's file."""
    files.write("packs/own.yaml", text)
    files.change("pack: systemd-release", "pack: packs/own.yaml")
    assert problems(files) == ["packs/own.yaml:1:1  expected a mapping of capabilities to bindings"]


SQL = {
    "not named by number": (
        "add.sql",
        "SELECT 1;",
        "migrations/contract/add.sql: expected a name such as 001_add_column.sql",
    ),
    "padded differently": ("01_x.sql", "SELECT 1;", "migrations/contract/003_drop.sql comes before 01_x.sql"),
    "numbered twice": (
        "003_x.sql",
        "SELECT 1;",
        "migrations/contract/003_drop.sql and 003_x.sql have the same number",
    ),
    "down without up": (
        "004_x.down.sql",
        "SELECT 1;",
        "migrations/contract/004_x.down.sql takes back a migration that is not there",
    ),
    "empty": ("004_x.sql", "-- later\n", "migrations/contract/004_x.sql holds no statement"),
    "with an unknown directive": (
        "004_x.sql",
        "-- changeover: no-transation\nSELECT 1;",
        "unknown directive; did you mean 'no-transaction'?",
    ),
}


@pytest.mark.parametrize(("name", "text", "problem"), SQL.values(), ids=SQL.keys())
def test_sql_file_is_refused(files: Written, name: str, text: str, problem: str) -> None:
    """A file that would not run as its author thinks is told."""
    files.write(f"migrations/contract/{name}", text)
    found = problems(files)
    assert len(found) == 1
    assert problem in found[0]


def test_sql_file_that_is_not_text(files: Written) -> None:
    """Bytes that are no UTF-8 are told with the file's line."""
    (files.directory / "migrations/contract/003_drop.sql").write_bytes(b"SELECT 1;\nSELECT '\xff';\n")
    assert problems(files) == ["migrations/contract/003_drop.sql:2:9  this is not UTF-8 text"]


def test_directory_without_sql(files: Written) -> None:
    """A directory that holds no migration is a mistake, not a release without one."""
    (files.directory / "migrations/contract/003_drop.sql").unlink()
    assert problems(files) == [
        "site.yaml:35:17  upgrade.migrations.main.contract: there is no NNN_name.sql in migrations/contract"
    ]
