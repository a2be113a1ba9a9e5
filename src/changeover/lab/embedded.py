"""The same site without root or namespaces: plain processes on the loopback, a directory per host."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from changeover.lab import ready, site
from changeover.lab.balancer import haproxy_config
from changeover.lab.database import reset_sql, setup_sql
from changeover.lab.directory import Directory, write_private
from changeover.lab.errors import LabError
from changeover.lab.faults import Fault
from changeover.lab.inside import Window
from changeover.lab.layout import BALANCER_ADMIN_PORT, BALANCER_STATS_PORT, DatabaseKind, Layout, Member, Role
from changeover.lab.programs import Binaries, find_binaries
from changeover.lab.releases import contents
from changeover.lab.roles import application_config, database_access
from changeover.lab.service import Service

_FILES = resources.files("changeover.lab") / "files"
_SOCKET_PATH_LIMIT = 107  # sun_path of unix(7), less the final zero


class Embedded:
    """A lab whose hosts are directories and whose services are processes of ours."""

    def __init__(self, name: str) -> None:
        self.directory = Directory(name)

    @property
    def layout(self) -> Layout:
        """What the lab consists of."""
        return self.directory.layout()

    def up(self, layout: Layout, say: Callable[[str], None]) -> None:
        """Start what is not running and return when every service answers.

        Raises:
            LabError: a program is not to be had, or a service does not answer within a minute.
        """
        if layout.database is DatabaseKind.MARIADB:
            raise LabError("the embedded lab has no MariaDB", hint="--database postgresql")
        binaries = find_binaries(say)
        self.directory.create(layout)
        layout.application.write_releases(self.directory.releases)
        self.directory.write_credentials(database_access(layout, self.directory))
        for member in layout.members():
            self._prepare(member, layout, binaries)
        self._start_all(layout)
        self.wait_ready()

    def down(self) -> None:
        """End every service and delete the lab's directory."""
        services = [Service(path) for path in self.directory.hosts.glob("*")]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Service.end, services))
        self._free_shared_memory()
        self.directory.remove()

    def wait_ready(self, *only: str) -> None:
        """Return when the services of all hosts, or of those named, answer."""
        with self.window() as window:
            ready.wait_ready(self.layout, window, ended=lambda _: None, only=only or None)

    def reset(self) -> None:
        """Put every host back to its first state: release, faults, schema, empty database, pool."""
        layout, binaries = self.layout, find_binaries()
        others = [member for member in layout.members() if member.role is not Role.DATABASE]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda member: Service(self.directory.host(member.name)).end(), others))
        for member in others:
            shutil.rmtree(self.directory.host(member.name))
            self._prepare(member, layout, binaries)
        # Resumed, should it stand still; its files stay, because making them anew takes seconds.
        Service(self.directory.host("db1")).signal(signal.SIGCONT)
        (self.directory.host("db1") / "set-up").unlink(missing_ok=True)
        self._start_all(layout)
        self.wait_ready()

    def window(self) -> Window:
        """Return a view into the lab's network, which is ours."""
        return Window(None)

    def befall(self, name: str, fault: Fault) -> None:
        """Let a fault befall a host: its processes are killed (POWER) or stand still (FREEZE).

        Raises:
            LabError: LINK and DISK, which only hosts of their own have.
        """
        self.layout.member(name)
        if fault not in {Fault.POWER, Fault.FREEZE}:
            raise LabError(f"the embedded lab knows no fault {fault}", hint="power or freeze")
        Service(self.directory.host(name)).signal(signal.SIGKILL if fault is Fault.POWER else signal.SIGSTOP)

    def mend(self, name: str) -> None:
        """Undo whatever befell a host; returns when its service answers."""
        self.revive(name)
        self.wait_ready(name)

    def revive(self, name: str) -> None:
        """The same without waiting for the service."""
        self.layout.member(name)
        service = Service(self.directory.host(name))
        if service.running():
            service.signal(signal.SIGCONT)
        else:
            service.call("start")

    def run_on(self, name: str, script: str) -> str:
        """Run a shell script in a host's directory and return what it printed."""
        self.layout.member(name)
        command = ["sh", "-ec", script]
        done = subprocess.run(
            command, cwd=self.directory.host(name), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"{name}: `{script}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def site(self) -> dict[str, Any]:
        """Return the lab as plain data; `{node}` in a path stands for a node's name."""
        layout, directory = self.layout, self.directory
        data = site.common(layout, directory)
        balancer = layout.member("lb1").address
        node = f"{directory.hosts}/{{node}}"
        data["python"] = sys.executable
        data["balancer"] |= {
            "socket": str(directory.host("lb1") / "admin.sock"),
            "tcp": f"{balancer}:{BALANCER_ADMIN_PORT}",
            "url": f"http://{balancer}:{layout.balancer_port}",
            "stats": f"http://{balancer}:{BALANCER_STATS_PORT}/stats",
            "reload": str(directory.host("lb1") / "service reload"),
        }
        data["application"] |= {
            "service": f"{node}/service",
            "release_directory": f"{node}/releases",
            "current": f"{node}/current",
            "faults": f"{node}/faults",
        }
        if data["database"]:
            data["database"]["tools"] = str(directory.host("db1") / "tools")
        return data

    def enter_command(self, command: list[str]) -> list[str]:
        """Return `command`: the lab's network is ours."""
        return command

    def host_command(self, name: str, command: list[str]) -> list[str]:
        """Return the command that runs `command` in a host's directory; empty means a shell."""
        self.layout.member(name)
        shell = ["sh", "-c", " ".join(command)] if command else [os.environ.get("SHELL", "sh")]
        return ["env", f"--chdir={self.directory.host(name)}", *shell]

    def _free_shared_memory(self) -> None:
        """Remove the System V segment of a PostgreSQL that was killed; line 7 of postmaster.pid has its key and id."""
        with suppress(FileNotFoundError):
            lines = (self.directory.host("db1") / "data" / "postmaster.pid").read_text().splitlines()
            if len(lines) > 6:  # noqa: PLR2004
                subprocess.run(["ipcrm", "--shmem-id", lines[6].split()[1]], capture_output=True, check=False)

    def _start_all(self, layout: Layout) -> None:
        for member in layout.members():
            if member.role is Role.DATABASE and layout.database is DatabaseKind.NONE:
                continue
            Service(self.directory.host(member.name)).call("start")
            if member.role is Role.DATABASE:
                self._set_up_database(member, layout)

    def _prepare(self, member: Member, layout: Layout, binaries: Binaries) -> None:
        host = self.directory.host(member.name)
        if (host / "service").exists():
            return
        host.mkdir(exist_ok=True)
        {Role.BALANCER: self._balancer, Role.DATABASE: self._database, Role.APP: self._node}[member.role](
            member, layout, binaries
        )
        shutil.copyfile(str(_FILES / "service.sh"), host / "service.new")
        (host / "service.new").chmod(0o755)
        (host / "service.new").rename(host / "service")

    def _balancer(self, member: Member, layout: Layout, binaries: Binaries) -> None:
        host = self.directory.host(member.name)
        socket, state = host / "admin.sock", host / "server-state"
        if len(str(socket)) > _SOCKET_PATH_LIMIT:
            raise LabError(f"{socket} is too long for a socket", hint="set XDG_STATE_HOME to a shorter path")
        config = haproxy_config(
            layout.apps(),
            socket=str(socket),
            socket_access="mode 600",
            user=None,
            frontend=f"{member.address}:{layout.balancer_port}",
            admin=f"{member.address}:{BALANCER_ADMIN_PORT}",
            stats=f"{member.address}:{BALANCER_STATS_PORT}",
            state_file=str(state) if layout.keep_balancer_state else None,
        )
        (host / "haproxy.cfg").write_text(config)
        state.write_text("1\n")
        save = [sys.executable, str(_FILES / "save_state.py"), str(socket), str(state)]
        self._service(
            host,
            [str(binaries.haproxy), "-W", "-f", "haproxy.cfg"],
            environment=binaries.environment,
            before_reload=save if layout.keep_balancer_state else ["true"],
        )

    def _database(self, member: Member, layout: Layout, binaries: Binaries) -> None:
        if layout.database is DatabaseKind.NONE:
            self._service(self.directory.host(member.name), ["true"])
            return
        host = self.directory.host(member.name)
        data, password = host / "data", host / "superuser_password"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(mode=0o700)
        write_private(password, self.directory.sudo_password.read_text())
        if os.geteuid() == 0:
            shutil.chown(data, "nobody", "nogroup")
            shutil.chown(password, "nobody")
        initdb = [str(binaries.postgresql / "initdb"), "--pgdata", str(data), "--pwfile", str(password)]
        options = [
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=scram-sha-256",
            "--no-sync",
        ]
        _checked([*as_database_user(), *initdb, *options], binaries.environment)
        settings = {
            "listen_addresses": member.address,
            "port": layout.database.port,
            "unix_socket_directories": "",
            "max_connections": 200,
        }
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        command = [*as_database_user(), str(binaries.postgresql / "postgres"), "-D", str(data)]
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave.
        # PostgreSQL takes a process of that number for itself, a zombie too; our lock knows better.
        before_start = "rm -f data/postmaster.pid"
        self._service(
            host, command, environment=binaries.environment, stop_signal="INT", before_start=before_start
        )
        write_private(host / "psql", str(binaries.postgresql / "psql"))
        self._tools(host / "tools", binaries)

    def _tools(self, directory: Path, binaries: Binaries) -> None:
        """Wrap the tools that take snapshots: unpacked ones need their libraries named."""
        directory.mkdir(exist_ok=True)
        settings = "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in binaries.environment.items()
        )
        for tool in ("pg_dump", "pg_restore"):
            wrapper = directory / tool
            program = shlex.quote(str(binaries.postgresql / tool))
            wrapper.write_text(f'#!/bin/sh\n{settings}exec {program} "$@"\n')
            wrapper.chmod(0o755)

    def _set_up_database(self, member: Member, layout: Layout) -> None:
        host = self.directory.host(member.name)
        done = host / "set-up"
        if done.exists():
            return
        with self.window() as window:
            ready.wait_ready(layout, window, ended=lambda _: None, only=[member.name])
        password = self.directory.database_password.read_text()
        name, schema = layout.application.database, layout.application.schema()
        sql = reset_sql() + setup_sql(layout.database, name, name, password, schema)
        where = ["-h", member.address, "-p", str(layout.database.port), "-U", "postgres", "-d", "postgres"]
        psql = [(host / "psql").read_text(), "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1"]
        secret = {"PGPASSWORD": self.directory.sudo_password.read_text()}
        _checked([*psql, *where], {**find_binaries().environment, **secret}, stdin=sql)
        done.touch()

    def _node(self, member: Member, layout: Layout, binaries: Binaries) -> None:  # noqa: ARG002  # one shape for all
        host = self.directory.host(member.name)
        for path, content in contents(layout.release).items():
            target = host / "releases" / layout.release / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        (host / "current").unlink(missing_ok=True)
        (host / "current").symlink_to(f"releases/{layout.release}")
        (host / "faults").mkdir(exist_ok=True)
        database = database_access(layout, self.directory)
        config = application_config(member, layout, database, str(host / "faults"))
        write_private(host / "config.json", config)
        self._service(host, [sys.executable, "current/app.py", "config.json"])

    @staticmethod
    def _service(
        host: Path,
        command: list[str],
        *,
        environment: dict[str, str] | None = None,
        stop_signal: str = "TERM",
        before_start: str = "true",
        before_reload: list[str] | None = None,
    ) -> None:
        exports = "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in (environment or {}).items()
        )
        (host / "service.env").write_text(
            f"{exports}COMMAND={shlex.quote(shlex.join(command))}\nSTOP_SIGNAL={stop_signal}\nSTOP_SECONDS=15\n"
            f"BEFORE_START={shlex.quote(before_start)}\n"
            f"BEFORE_RELOAD={shlex.quote(shlex.join(before_reload or ['true']))}\n"
        )


def as_database_user() -> list[str]:
    """Return the prefix that makes a command not root, which PostgreSQL refuses to be; empty for everyone else.

    The one capability kept lets it reach its directory below root's home; access(2), by which initdb looks for its
    programs, honours it only with that securebit.
    """
    if os.geteuid():
        return []
    capability = "+dac_read_search"
    identity = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--securebits=+no_setuid_fixup"]
    return ["setpriv", *identity, f"--inh-caps={capability}", f"--ambient-caps={capability}"]


def _checked(command: list[str], environment: dict[str, str], *, stdin: str = "") -> None:
    whole = {**os.environ, **environment}
    done = subprocess.run(
        command, env=whole, input=stdin, capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"`{command[0]} …` ended with {done.returncode}: {said}")
