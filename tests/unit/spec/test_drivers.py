"""Drivers that another package registers are named in the file like ours."""

from pathlib import Path

import pytest

from changeover.drivers.secrets import Secrets
from changeover.spec import load
from changeover.wiring import make_world
from tests.unit.spec.conftest import Written
from tests.unit.spec.test_mistakes import problems

MODULE = """
class Made:
    def __init__(self, config, *, secrets, hosts):
        self.name, self.config = config.name, config

class Gate(Made):
    def __init__(self, config, *, site, secrets, hosts):
        super().__init__(config, secrets=secrets, hosts=hosts)
        self.site = site
"""
ENTRIES = """
[changeover.drivers]
host.acme = acme_drivers:Made
balancer.acme = acme_drivers:Made
database.acme = acme_drivers:Made
access.acme = acme_drivers:Gate
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with a driver for each port."""
    place = tmp_path / "site-packages"
    described = place / "acme_drivers-1.0.dist-info"
    described.mkdir(parents=True)
    (place / "acme_drivers.py").write_text(MODULE)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-drivers\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(place))


BALANCER = (
    """{acme: {host: lb1, pool: identity, servers: "s-{node}", options: {port: 8404, deep: [a, true]}}}"""
)


EDGE = "{acme: {hosts: web, ports: 443, options: {zone: b}}}"


@pytest.mark.usefixtures("acme")
def test_a_balancer_of_another_package_is_made_with_its_options(files: Written) -> None:
    """From the file to the factory; the nodes are its servers."""
    files.add("balancers", "second", BALANCER)
    spec = load(files.path)
    made = make_world(spec.site, spec.release, Secrets()).balancers["second"]
    config = made.config  # type: ignore[attr-defined]
    assert (config.driver, config.pool, config.host) == ("acme", "identity", "lb1")
    assert config.options == {"port": 8404, "deep": ["a", True]}
    assert spec.site.node("app1").servers["second"] == "s-app1"


@pytest.mark.usefixtures("acme")
def test_a_database_and_a_host_of_another_package_are_made_with_their_options(files: Written) -> None:
    """A database has the usual keys and options of its own; so has a host."""
    files.add("databases", "third", "{acme: {host: db1, name: n, user: u, options: {shards: 4}}}")
    files.add("hosts", "far", "{address: 192.0.2.9, driver: acme, options: {zone: b}}")
    spec = load(files.path)
    world = make_world(spec.site, spec.release, Secrets())
    database = world.databases["third"].config  # type: ignore[attr-defined]
    assert (database.driver, database.database, database.options) == ("acme", "n", {"shards": 4})
    assert world.hosts["far"].config.options == {"zone": "b"}  # type: ignore[attr-defined]


@pytest.mark.usefixtures("acme")
def test_an_access_gate_of_another_package_is_made_with_its_options(files: Written) -> None:
    """It has the usual keys, options of its own, and the site that it is before."""
    files.change("upgrade:\n", f"access: {{edge: {EDGE}}}\nupgrade:\n")
    spec = load(files.path)
    made = make_world(spec.site, spec.release, Secrets()).access["edge"]
    config = made.config  # type: ignore[attr-defined]
    assert (config.driver, config.hosts, config.ports) == ("acme", ("app1", "app2", "app3", "app4"), (443,))
    assert config.options == {"zone": "b"}
    assert made.site is spec.site  # type: ignore[attr-defined]


def test_without_the_package_its_driver_is_unknown(files: Written) -> None:
    """The message lists those that are installed."""
    files.add("balancers", "second", BALANCER)
    (found,) = problems(files)
    assert "balancers.second.acme: unknown key; expected haproxy" in found


@pytest.mark.usefixtures("acme")
def test_a_secret_in_options_is_referred_to(files: Written) -> None:
    """However deep it stands, a literal is refused, and not shown."""
    files.add("balancers", "second", "{acme: {pool: p, options: {api: {token: canary}}}}")
    (found,) = problems(files)
    assert "a secret is not written here but referred to" in found
    assert "canary" not in found


def test_our_own_host_drivers_have_no_options(files: Written) -> None:
    """They would be passed over in silence."""
    files.add("hosts", "far", "{address: 192.0.2.9, options: {zone: b}}")
    (found,) = problems(files)
    assert "only a driver of another package has options" in found
