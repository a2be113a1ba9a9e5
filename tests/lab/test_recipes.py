"""What the lab's builders produce, without running any of it."""

import tarfile
from pathlib import Path

import pytest

from changeover.lab import DatabaseKind, Layout, Role
from changeover.lab.balancer import haproxy_config
from changeover.lab.database import setup_sql
from changeover.lab.image import build_command, digest
from changeover.lab.releases import base_schema, contents, write_tar
from changeover.lab.reset import scripts
from changeover.lab.seed import Seed
from changeover.lab.world import hardware_address


def config(state_file: str | None) -> str:
    """Return HAProxy's configuration for one node."""
    return haproxy_config(
        Layout(nodes=1).apps(),
        socket="/run/haproxy/admin.sock",
        socket_access="mode 660 group haproxy-admin",
        user="haproxy",
        frontend="*:80",
        admin="10.77.0.11:9999",
        stats="*:8404",
        state_file=state_file,
    )


def test_the_balancer_gives_each_node_its_cookie() -> None:
    """A server has its node's name, address and cookie."""
    assert "    server app1 10.77.0.21:8000 cookie app1\n" in config(None)


def test_the_balancer_keeps_its_states_only_when_told() -> None:
    """Without a state file nothing in the configuration loads one."""
    assert "server-state" not in config(None)
    kept = config("/var/lib/haproxy/server-state")
    assert "    server-state-file /var/lib/haproxy/server-state\n" in kept
    assert "    load-server-state-from-file global\n" in kept


def test_the_image_is_built_by_one_command() -> None:
    """The tool gets suite and target last, and the hook quoted."""
    command = build_command(Path("/c/image.partial"), Path("/c/a hook"))
    assert command[0] == "mmdebstrap"
    assert command[-2:] == ["bookworm", "/c/image.partial"]
    assert "--customize-hook=sh '/c/a hook' \"$1\"" in command


def test_the_image_is_fetched_as_the_machine_fetches() -> None:
    """Proxies of the machine's apt are handed on."""
    proxy = 'Acquire::http::Proxy "http://proxy:3128";'
    assert f"--aptopt={proxy}" in build_command(Path("/c/i"), Path("/c/h"), [proxy])


def test_the_image_is_named_by_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another list of packages is another image."""
    before = digest()
    monkeypatch.setattr("changeover.lab.image.PACKAGES", ("systemd",))
    assert digest() != before


def test_a_hardware_address_follows_the_address() -> None:
    """A host keeps its MAC address over power cuts: neighbours would go on sending to the old one."""
    assert hardware_address(Layout().member("db1")) == "02:00:0a:4d:00:0c"


def test_only_v2_has_migrations() -> None:
    """v2 brings the way from v1's schema, in two steps; v1 brings the schema."""
    assert sorted(contents("v1")) == ["VERSION", "app.py", "schema.sql"]
    assert sorted(contents("v2")) == [
        "VERSION",
        "app.py",
        "migrations/contract/001_drop_notes_folded.sql",
        "migrations/expand/001_notes_words.down.sql",
        "migrations/expand/001_notes_words.sql",
    ]


def test_a_release_is_built_the_same_twice(tmp_path: Path) -> None:
    """The archive depends on the sources alone."""
    first = write_tar("v2", tmp_path).read_bytes()
    assert write_tar("v2", tmp_path).read_bytes() == first


def test_a_seed_names_its_owners(tmp_path: Path) -> None:
    """Files carry the names of the host's users, and secrets their modes."""
    seed = Seed()
    seed.file("/etc/app/config.json", "{}", mode=0o640, owner="app")
    seed.write(tmp_path / "seed.tar")
    with tarfile.open(tmp_path / "seed.tar") as tar:
        (entry,) = tar.getmembers()
    assert (entry.name, entry.uname, entry.mode) == ("etc/app/config.json", "app", 0o640)


def test_a_seed_enables_its_own_units_and_the_images(tmp_path: Path) -> None:
    """A unit of the seed is linked from /etc, one of the image from /lib."""
    seed = Seed()
    seed.file("/etc/systemd/system/ours.service", "[Service]\n")
    seed.enable("ours.service")
    seed.enable("ssh.service")
    seed.write(tmp_path / "seed.tar")
    with tarfile.open(tmp_path / "seed.tar") as tar:
        links = [member.linkname for member in tar.getmembers() if member.issym()]
    assert links == ["/etc/systemd/system/ours.service", "/lib/systemd/system/ssh.service"]


@pytest.mark.parametrize("kind", [DatabaseKind.POSTGRESQL, DatabaseKind.MARIADB])
def test_the_setup_makes_user_database_and_schema(kind: DatabaseKind) -> None:
    """Either database gets the same schema."""
    sql = setup_sql(kind, "app", "app", "secret", base_schema())
    assert "CREATE DATABASE app" in sql
    assert "'secret'" in sql
    assert "CREATE TABLE IF NOT EXISTS notes" in sql


@pytest.mark.parametrize("kind", list(DatabaseKind))
def test_a_reset_stops_the_nodes_first_and_starts_them_last(kind: DatabaseKind) -> None:
    """No node writes while the database is emptied."""
    order = [set(step) for step in scripts(kind)]
    assert order == [{Role.APP}, {Role.DATABASE, Role.BALANCER}, {Role.APP}]


@pytest.mark.parametrize("kind", [DatabaseKind.POSTGRESQL, DatabaseKind.MARIADB])
def test_a_reset_leaves_no_snapshot_of_a_database_that_is_gone(kind: DatabaseKind) -> None:
    """Else the next upgrade would find those of an earlier one, on a disk that is not as new."""
    [database] = [step[Role.DATABASE] for step in scripts(kind) if Role.DATABASE in step]
    assert "rm -rf /var/lib/changeover/snapshots\n" in database
