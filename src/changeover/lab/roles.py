"""What makes a host of the lab a balancer, a database or a node: the files it finds at its first boot."""

import json
from importlib import resources

from changeover.lab.balancer import haproxy_config
from changeover.lab.database import SETUP_COMMANDS, setup_sql
from changeover.lab.directory import Directory
from changeover.lab.layout import (
    APP_PORT,
    BALANCER_ADMIN_PORT,
    BALANCER_STATS_PORT,
    DatabaseKind,
    Layout,
    Member,
    Role,
)
from changeover.lab.releases import contents
from changeover.lab.seed import Seed

STATE_FILE = "/var/lib/haproxy/server-state"
ADMIN_SOCKET = "/run/haproxy/admin.sock"
DATABASE_NAME = "app"
DATABASE_USER = "app"
LOGINS = ("deploy", "guarded")
Access = dict[str, str | int]
_FILES = resources.files("changeover.lab") / "files"


def seed_for(member: Member, layout: Layout, directory: Directory) -> Seed:
    """Return everything a host needs beyond the image."""
    seed = Seed()
    _identity(seed, member, layout, directory)
    if member.role is Role.DATABASE:
        _database(seed, layout, directory)
    layout.application.furnish(seed, member, layout, directory)
    return seed


def application_config(member: Member, layout: Layout, database: Access, faults: str) -> str:
    """Return the application's configuration for one node."""
    config = {
        "node": member.name,
        "address": member.address,
        "port": APP_PORT,
        "startup_seconds": layout.startup_seconds,
        "stop_seconds": 10,
        "session_idle_seconds": layout.session_idle_seconds,
        "faults": faults,
        "database": database or None,
    }
    return json.dumps(config, indent=2) + "\n"


def database_access(layout: Layout, directory: Directory) -> Access:
    """Return how a node reaches its database, password included; empty when the lab has none."""
    if layout.database is DatabaseKind.NONE:
        return {}
    return {
        "kind": layout.database.value,
        "host": layout.member("db1").address,
        "port": layout.database.port,
        "name": layout.application.database,
        "user": layout.application.database,
        "password": directory.database_password.read_text(),
    }


def _identity(seed: Seed, member: Member, layout: Layout, directory: Directory) -> None:
    host = directory.host(member.name)
    hosts = "".join(f"{other.address} {other.name}\n" for other in layout.members())
    seed.file("/etc/hostname", f"{member.name}\n")
    seed.file("/etc/hosts", f"127.0.0.1 localhost\n10.77.0.1 operator\n{hosts}")
    seed.file("/etc/ssh/ssh_host_ed25519_key", (host / "host_key").read_bytes(), mode=0o600)
    seed.file("/etc/ssh/ssh_host_ed25519_key.pub", (host / "host_key.pub").read_bytes())
    for login in LOGINS:
        seed.directory(f"/home/{login}/.ssh", mode=0o700, owner=login)
        key = directory.key.with_name(f"{directory.key.name}.pub").read_bytes()
        seed.file(f"/home/{login}/.ssh/authorized_keys", key, mode=0o600, owner=login)
    seed.file("/etc/lab/guarded", f"guarded:{directory.sudo_password.read_text()}\n", mode=0o600)
    seed.file("/etc/systemd/system/lab-login.service", once("chpasswd </etc/lab/guarded"))
    seed.enable("lab-login.service")
    seed.enable("ssh.service")
    # Last: its presence says that the seed was unpacked whole.
    seed.file("/etc/machine-id", (host / "machine-id").read_text())


def balancer(seed: Seed, member: Member, layout: Layout) -> None:
    """Make a host the balancer of the nodes."""
    config = haproxy_config(
        layout.apps(),
        socket=ADMIN_SOCKET,
        socket_access="mode 660 group haproxy-admin",
        user="haproxy",
        frontend=f"*:{layout.balancer_port}",
        admin=f"{member.address}:{BALANCER_ADMIN_PORT}",
        stats=f"*:{BALANCER_STATS_PORT}",
        state_file=STATE_FILE if layout.keep_balancer_state else None,
    )
    seed.file("/etc/haproxy/haproxy.cfg", config)
    seed.file(STATE_FILE, "1\n", owner="haproxy")
    if layout.keep_balancer_state:
        seed.file("/usr/local/sbin/haproxy-save-state", (_FILES / "save_state.py").read_bytes(), mode=0o755)
        save = f"/usr/local/sbin/haproxy-save-state {ADMIN_SOCKET} {STATE_FILE}"
        # An empty assignment clears Debian's list, so that the state is saved before the reload and not after.
        hooks = (
            f"[Service]\nExecReload=\nExecReload={save}\n"
            "ExecReload=/usr/sbin/haproxy -Ws -f $CONFIG -c -q $EXTRAOPTS\nExecReload=/bin/kill -USR2 $MAINPID\n"
            f"ExecStop=-{save}\n"
        )
        seed.file("/etc/systemd/system/haproxy.service.d/state.conf", hooks)
    seed.enable("haproxy.service")


def _database(seed: Seed, layout: Layout, directory: Directory) -> None:
    seed.file("/etc/postgresql/15/main/conf.d/lab.conf", "listen_addresses = '*'\nmax_connections = 200\n")
    hba = "local all postgres peer\nlocal all all peer\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all 10.77.0.0/24 scram-sha-256\n"
    seed.file("/etc/postgresql/15/main/pg_hba.conf", hba, mode=0o640, owner="postgres")
    seed.file("/etc/mysql/mariadb.conf.d/90-lab.cnf", "[mysqld]\nbind-address = 0.0.0.0\n")
    seed.directory("/var/lib/changeover", mode=0o700, owner="deploy")
    if layout.database is DatabaseKind.NONE:
        return
    service = {DatabaseKind.POSTGRESQL: "postgresql", DatabaseKind.MARIADB: "mariadb"}[layout.database]
    name, password = layout.application.database, directory.database_password.read_text()
    sql = setup_sql(layout.database, name, name, password, layout.application.schema())
    owner = "postgres" if layout.database is DatabaseKind.POSTGRESQL else "root"
    seed.file("/etc/lab/setup.sql", sql, mode=0o600, owner=owner)
    after = "postgresql@15-main.service" if layout.database is DatabaseKind.POSTGRESQL else "mariadb.service"
    command = f"test -e /etc/lab/setup.done || {{ {SETUP_COMMANDS[layout.database]} && touch /etc/lab/setup.done; }}"
    seed.file("/etc/systemd/system/lab-database.service", once(command, after=after))
    seed.enable(f"{service}.service")
    seed.enable("lab-database.service")


def node(seed: Seed, member: Member, layout: Layout, directory: Directory) -> None:
    """Make a host a node of the notes."""
    seed.directory(f"/opt/app/releases/{layout.release}")
    for path, data in contents(layout.release).items():
        seed.file(f"/opt/app/releases/{layout.release}/{path}", data)
    seed.link("/opt/app/current", f"releases/{layout.release}")
    database = database_access(layout, directory)
    config = application_config(member, layout, database, "/etc/app/faults")
    seed.directory("/etc/app/faults")
    seed.file("/etc/app/config.json", config, mode=0o640, owner="app")
    seed.file("/etc/systemd/system/lab-app.service", (_FILES / "lab-app.service").read_bytes())
    seed.enable("lab-app.service")


def once(command: str, *, after: str = "") -> str:
    """Return a unit that runs a command at each boot."""
    return (
        f"[Unit]\nAfter={after}\nRequires={after}\n\n"
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c '{command}'\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
