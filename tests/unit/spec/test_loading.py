"""What a file that is right comes to."""

import hashlib

import msgspec
import pytest

from changeover.model.release import Batch, CommandMigration, Gate, SqlMigration
from changeover.model.site import AccessConfig, Become, Http, Shell, Unit
from changeover.model.values import Secret
from changeover.spec import InvalidSpecError, load
from changeover.spec.vocabulary import near_miss
from tests.unit.spec.conftest import SITE, Written


def test_hosts_take_what_is_nearest(files: Written) -> None:
    """A host's own settings win over its group's, and those over everybody's."""
    site = load(files.path).site
    assert [host.name for host in site.hosts] == ["lb1", "db1", "app1", "app2", "app3", "app4", "bastion"]
    app = site.host("app3")
    assert (app.address, app.ssh.user, app.ssh.port, app.ssh.connect_timeout) == (
        "10.77.0.15",
        "deploy",
        2222,
        5.0,
    )
    assert app.ssh.key == str(files.directory / "keys/deploy")
    assert app.become == Become()
    assert site.host("bastion").ssh.user == "gate"


def test_jump_host_does_not_jump_through_itself(files: Written) -> None:
    """A jump host that is given for all is reached directly."""
    site = load(files.path).site
    assert site.host("db1").ssh.jump == "bastion"
    assert site.host("bastion").ssh.jump == ""


def test_nodes_are_hosts_with_a_server_in_each_pool(files: Written) -> None:
    """The servers' names follow the balancer's template."""
    nodes = load(files.path).site.application.nodes
    assert [(node.name, node.host, node.servers) for node in nodes[:2]] == [
        ("app1", "app1", {"public": "srv-app1"}),
        ("app2", "app2", {"public": "srv-app2"}),
    ]


def test_several_nodes_on_one_host(files: Written) -> None:
    """Names, servers and variables run along with a range; what a node says itself wins."""
    nodes = """{
    "blue[1-2]": {host: "app[1-2]", server: "b[1-2]", variables: {port: "50[01-02]"}},
    green: {host: app1, servers: {public: verte}, variables: {port: "6000"}}, plain: app2}"""
    files.change("nodes: app[1-4]", f"nodes: {nodes}")
    found = load(files.path).site.application.nodes
    assert [(node.name, node.host, node.servers["public"], dict(node.variables)) for node in found] == [
        ("blue1", "app1", "b1", {"port": "5001"}),
        ("blue2", "app2", "b2", {"port": "5002"}),
        ("green", "app1", "verte", {"port": "6000"}),
        ("plain", "app2", "srv-plain", {}),
    ]


def test_servers_by_name(files: Written) -> None:
    """A balancer may call each node what it likes; the others keep their names."""
    files.change('servers: "srv-{node}"', "servers: {app1: first}")
    nodes = load(files.path).site.application.nodes
    assert [node.servers["public"] for node in nodes] == ["first", "app2", "app3", "app4"]


def test_nodes_by_group(files: Written) -> None:
    """A group stands for its hosts."""
    files.change("nodes: app[1-4]", "nodes: web")
    assert [node.host for node in load(files.path).site.application.nodes] == ["app1", "app2", "app3", "app4"]


def test_capabilities_are_the_packs_and_the_operators(files: Written) -> None:
    """What the file binds wins over the pack; references to secrets stay references."""
    capabilities = load(files.path).site.application.capabilities
    assert capabilities["start"] == Unit("{unit}")
    assert capabilities["sessions"] == Http("http://{host}:{port}/sessions", json="sessions")
    secret = Secret(env="KEYSTONE_TOKEN")
    assert capabilities["expand"] == Shell("manage expand", become=True, env={"TOKEN": secret})
    assert capabilities["expanded"] == Shell("manage check", expect=(0, 2), answers={"0": "yes", "2": "no"})


def test_long_form_of_a_binding_means_the_same(files: Written) -> None:
    """`{http: {url: …, json: …}}` is `{http: …, json: …}`."""
    short = load(files.path)
    files.change(
        '{http: "http://{host}:{port}/sessions", json: sessions}',
        '{http: {url: "http://{host}:{port}/sessions", json: sessions}}',
    )
    assert load(files.path).digest == short.digest


def test_release_in_numbers(files: Written) -> None:
    """Durations are seconds, sizes bytes, and a version stays the text it is."""
    release = load(files.path).release
    assert (release.from_version, release.to_version) == ("23.0.2", "1.10")
    assert release.batches == (Batch(count=1), Batch(percent=50))
    assert release.gates == (Gate("canary", approve=True, hold=5400.0),)
    assert (release.keep_serving, release.budgets.total) == (2, 1)
    assert (release.limits.drain, release.limits.disk_free, release.limits.timeouts) == (
        0.25,
        2**30,
        {"start": 120.0},
    )


@pytest.mark.parametrize(("written", "meant"), [("ask", "stop"), ("wait", "wait"), ("cut", "cut")])
def test_drain_escalation(files: Written, written: str, meant: str) -> None:
    """Asking a person means stopping the step."""
    files.change("{drain: 250ms,", f"{{drain: 5m, drain_escalation: {written},")
    assert load(files.path).release.limits.drain_escalation == meant


def test_migrations_hold_their_text(files: Written) -> None:
    """SQL is read with the spec, in the order of the files' names; what is down belongs to what is up."""
    (migrations,) = load(files.path).release.migrations
    add, index, command = migrations.expand
    assert isinstance(add, SqlMigration)
    assert isinstance(index, SqlMigration)
    assert (add.name, add.sql, add.down) == (
        "001_add",
        "ALTER TABLE t ADD COLUMN c int;\n",
        "ALTER TABLE t DROP COLUMN c;\n",
    )
    assert add.checksum == hashlib.sha256(add.sql.encode()).hexdigest()
    assert (add.transactional, index.transactional) == (True, False)
    assert command == CommandMigration("expand", run="expand", observe="expanded", node="app1")
    assert [migration.name for migration in migrations.contract] == ["003_drop"]


def test_on_mariadb_no_migration_is_transactional(files: Written) -> None:
    """Its changes of a schema commit one by one, whatever the file says; the text and its checksum stay the same."""
    on_postgresql = load(files.path).release.migrations[0].expand[0]
    files.change("{postgresql: {host: db1", "{mariadb: {host: db1")
    add, index, _ = load(files.path).release.migrations[0].expand
    assert isinstance(add, SqlMigration)
    assert isinstance(index, SqlMigration)
    assert (add.transactional, index.transactional) == (False, False)
    assert msgspec.structs.replace(add, transactional=True) == on_postgresql


def test_where_the_journal_is(files: Written) -> None:
    """A path is relative to the file, a URL is left alone, and there is a place for it without either."""
    assert load(files.path).journal == str(files.directory / "state/journal.db")
    files.change("journal: state/journal.db\n", "")
    assert load(files.path).journal == str(files.directory / ".changeover/journal.db")
    files.change("state/journal.db", "postgresql://me@db/journal")
    assert load(files.path).journal == "postgresql://me@db/journal"


def test_probe_is_handed_on(files: Written) -> None:
    """The section is read as YAML reads it, and not looked into."""
    assert load(files.path).probe == {"read": {"path": "/", "expect": [200]}}


def test_paths_know_home_and_environment(files: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` and `${NAME}` are filled in."""
    monkeypatch.setenv("HOME", "/home/me")
    files.change("keys/deploy", '"~/${KEYS}/deploy"')
    spec = load(files.path, environ={"KEYS": "safe"})
    assert spec.site.host("db1").ssh.key == "/home/me/safe/deploy"


def test_digest_is_of_the_meaning(files: Written) -> None:
    """Comments and order of sections change nothing; a port does."""
    before = load(files.path).digest
    files.write("site.yaml", f"# a comment\n{SITE}")
    assert load(files.path).digest == before
    files.change("port: 2222", "port: 2223")
    assert load(files.path).digest != before


def test_text_that_looks_like_something_else(files: Written) -> None:
    """`no`, `010` and `1e3` are text where text is wanted, and a switch where a switch is wanted."""
    files.change("port: 5000}", "port: 5000, a: no, b: 010, c: 1e3, d: 0x10}")
    variables = load(files.path).site.application.variables
    assert [variables[name] for name in "abcd"] == ["no", "010", "1e3", "0x10"]


def test_anchors_and_merges(files: Written) -> None:
    """An alias stands for what its anchor names; a merge gives what is not given beside it."""
    files.change(
        "ssh: {user: gate}}",
        "ssh: &gate {user: gate, port: 22}}\n  old: {address: 192.0.2.8, ssh: {<<: *gate, port: 24}}",
    )
    ssh = load(files.path).site.host("old").ssh
    assert (ssh.user, ssh.port) == ("gate", 24)


def test_spec_is_plain_data(files: Written) -> None:
    """Site and release survive JSON, so nothing of the reader is left in them."""
    spec = load(files.path)
    assert msgspec.json.decode(msgspec.json.encode(spec.site), type=type(spec.site)) == spec.site
    assert msgspec.json.decode(msgspec.json.encode(spec.release), type=type(spec.release)) == spec.release


def test_needed_capabilities_are_the_callers(files: Written) -> None:
    """What a strategy needs is handed in."""
    with pytest.raises(
        InvalidSpecError, match=r"application.flush: the strategy rolling needs this capability"
    ):
        load(files.path, needed={"rolling": ("start", "flush")})


def test_services_have_the_drivers_options(files: Written) -> None:
    """What a driver is told is plain data, and only what was written."""
    files.change("socket: /run/haproxy/admin.sock", "address: 127.0.0.1, port: 9999, timeout: 250ms")
    balancer = load(files.path).site.balancer("public")
    assert (balancer.driver, balancer.pool, balancer.host) == ("haproxy", "identity", "lb1")
    assert balancer.options == {"address": "127.0.0.1", "port": 9999, "timeout": 0.25}
    options = "options: {bin: /usr/pgsql/bin, silence: 1m, jobs: 4, parameters: {sslmode: require}}"
    files.change("password: {env: DB_PASSWORD}", f"password: {{file: secrets/db}}, tunnel: true, {options}")
    database = load(files.path).site.database("main")
    assert (database.driver, database.database, database.host) == ("postgresql", "keystone", "db1")
    assert database.options == {
        "bin": "/usr/pgsql/bin",
        "silence": 60.0,
        "jobs": 4,
        "parameters": {"sslmode": "require"},
    }
    assert database.password == Secret(file=str(files.directory / "secrets/db"))
    assert database.tunnel


def test_an_access_gate(files: Written) -> None:
    """Ranges are hosts, one of anything is a list of it, and what is not said is the usual."""
    gates = """
access:
  public:
    nftables:
      hosts: [web, lb1]
      ports: [8080, 8443, 8080]
      allow: {8443: [10.0.0.5, 192.168.1.0/24, "2001:db8::/48"], 9000: 10.0.0.5}
      page: 8081
      established: keep
      outside: db1
  plain: {nftables: {hosts: lb1, ports: 80}}
upgrade:
"""
    files.change("upgrade:\n", gates.lstrip())
    public, plain = load(files.path).site.access
    assert public == AccessConfig(
        name="public",
        driver="nftables",
        hosts=("app1", "app2", "app3", "app4", "lb1"),
        ports=(8080, 8443),
        allow={"8443": ("10.0.0.5", "192.168.1.0/24", "2001:db8::/48"), "9000": ("10.0.0.5",)},
        page=8081,
        established="keep",
        outside=("db1",),
    )
    assert plain == AccessConfig("plain", "nftables", ("lb1",), (80,))


@pytest.mark.parametrize(
    ("more", "address"),
    [("", "10.77.0.12"), (", address: 10.77.0.99", "10.77.0.99"), (", tunnel: true", "")],
    ids=["the host's", "its own", "the host's loopback, which the driver knows"],
)
def test_where_a_database_listens(files: Written, more: str, address: str) -> None:
    """Where its host is, unless the operator says otherwise."""
    files.change("password: {env: DB_PASSWORD}", f"password: {{env: DB_PASSWORD}}{more}")
    assert load(files.path).site.database("main").address == address


def test_a_single_node_is_away_only_if_that_is_said(files: Written) -> None:
    """Without keep_serving the floor is one node, which a site of one node cannot keep: the problem says what to write."""
    one = SITE.replace("  nodes: app[1-4]", "  nodes: app1").replace("[1, 50%]", "1")
    one = one.replace("  keep_serving: 2\n", "")
    files.write("site.yaml", one)
    with pytest.raises(InvalidSpecError, match="accept that with `keep_serving: 0`"):
        load(files.path)
    files.write("site.yaml", one.replace("  batches: 1\n", "  batches: 1\n  keep_serving: 0\n"))
    assert load(files.path).release.keep_serving == 0


def test_capability_of_ones_own(files: Written) -> None:
    """A name that is not near a known one is the operator's own capability."""
    files.change("  sessions: {http", "  warm_up: {shell: warm}\n  sessions: {http")
    assert load(files.path).site.application.capabilities["warm_up"] == Shell("warm")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("helth", True),
        ("helath", True),
        ("healthh", True),
        ("heelth", True),
        ("health", False),
        ("hlt", False),
    ],
)
def test_near_miss(name: str, near: bool) -> None:
    """One letter left out, swapped, added or exchanged is a slip; more is another word."""
    assert near_miss(name, "health") is near
