"""Database servers with passwords on loopback, as a site has them, and what the database tests do to them."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import psycopg
import pymysql

from changeover.lab import DatabaseKind, Layout, operations
from changeover.lab.cluster import Cluster
from tests.labkit import LabUnderTest
from tests.pg import PostgresServer, running_server

CANARY = "canary-5f0c9e-of-the-database"
"""The password of every user here; it may be seen nowhere."""


CANNOT_CONNECT = 2003


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Postgres:
    """A server with the superuser `postgres`, `app`, who owns things, and `conductor`, who has what we ask for."""

    server: PostgresServer
    port: int

    driver = "postgresql"

    def connect(self, database: str, user: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """A session in autocommit, as an application has one."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=user, password=CANARY, dbname=database, autocommit=True
        )

    def run(self, database: str, *statements: str, user: str = "app") -> list[tuple[Any, ...]]:
        """The rows of the last statement."""
        with self.connect(database, user) as session:
            for statement in statements:
                cursor = session.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []

    def create(self, name: str) -> None:
        """A database owned by `app`."""
        self.run("postgres", f"CREATE DATABASE {name} OWNER app", user="postgres")

    def number(self, session: Any) -> int:
        """The id that the server knows a session by."""
        return int(session.info.backend_pid)

    def databases(self) -> set[str]:
        """The names of all databases."""
        return {name for (name,) in self.run("postgres", "SELECT datname FROM pg_database")}

    def end(self, session: int) -> None:
        """End a session from outside."""
        self.run("postgres", f"SELECT pg_terminate_backend({session}, 5000)", user="postgres")

    @property
    def processes(self) -> list[int]:
        """Every process of the server, its first one first."""
        first = int((self.server.directory / "data" / "postmaster.pid").read_text().split()[0])
        return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]

    def sessions(self, database: str) -> dict[int, str]:
        """What each session of a database is doing, by its id."""
        query = f"SELECT pid, application_name || ': ' || query FROM pg_stat_activity WHERE datname = '{database}'"
        return dict(self.run("postgres", query, user="postgres"))


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that asks for passwords over TCP."""
    with running_server() as server:
        port = free_port()
        (server.directory / "data" / "pg_hba.conf").write_text(
            "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -k {server.directory} -c fsync=off"
        server.control("-l", str(server._log), "-o", options, "-m", "fast", "restart")
        socket_url = f"host={server.directory} port={port} user={server.user} dbname=postgres"
        with psycopg.connect(socket_url, autocommit=True) as session:
            for statement in (
                f"ALTER ROLE postgres PASSWORD '{CANARY}'",
                f"CREATE ROLE app LOGIN PASSWORD '{CANARY}'",
                f"CREATE ROLE conductor LOGIN CREATEDB PASSWORD '{CANARY}'",
                f"CREATE ROLE powerless LOGIN PASSWORD '{CANARY}'",
                "GRANT app, pg_signal_backend, pg_monitor TO conductor",
            ):
                session.execute(statement.encode())
        yield Postgres(server, port)


@dataclass(frozen=True)
class MariaDB:
    """The same on MariaDB, where things belong to nobody."""

    directory: Path
    port: int

    driver = "mariadb"

    def connect(self, database: str = "", user: str = "root") -> "pymysql.Connection[Any]":
        """A session in autocommit, as an application has one."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=CANARY,
            database=database or None,
            autocommit=True,
        )

    def run(self, database: str, *statements: str, user: str = "app") -> list[tuple[Any, ...]]:
        """The rows of the last statement."""
        with self.connect(database, user) as session, session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def create(self, name: str) -> None:
        """A database that `app` may do everything in."""
        self.run(
            "", f"CREATE DATABASE {name}", f"GRANT ALL ON {name}.* TO app@'%'", f"GRANT ALL ON {name}.* TO conductor@'%'",
            "GRANT ALL ON `changeover\\_%`.* TO conductor@'%'", user="root",
        )  # fmt: skip

    def number(self, session: Any) -> int:
        """The id that the server knows a session by."""
        return int(session.thread_id())

    def databases(self) -> set[str]:
        """The names of all databases."""
        return {name for (name,) in self.run("", "SHOW DATABASES", user="root")}

    def end(self, session: int) -> None:
        """End a session from outside."""
        self.run("", f"KILL {session}", user="root")

    @property
    def processes(self) -> list[int]:
        """The server's process."""
        return [int((self.directory / "pid").read_text())]

    def sessions(self, database: str) -> dict[int, str]:
        """What each session of a database is doing, by its id."""
        query = f"SELECT id, concat(user, ': ', coalesce(info, '')) FROM information_schema.processlist WHERE db = '{database}'"
        return dict(self.run("", query, user="root"))


@contextmanager
def running_mariadb() -> Iterator[MariaDB]:
    """A MariaDB server of our own in a temporary directory."""
    directory = Path(tempfile.mkdtemp(prefix="changeover-my-"))
    user = "mysql" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    server = MariaDB(directory, free_port())
    data = directory / "data"
    try:
        shutil.chown(directory, user)
        subprocess.run(
            [
                *(
                    "mariadb-install-db",
                    "--no-defaults",
                    f"--user={user}",
                    f"--datadir={data}",
                    "--skip-test-db",
                ),
                *("--auth-root-authentication-method=normal", "--innodb-log-file-size=8M"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (directory / "init.sql").write_text(
            f"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '{CANARY}';\n"
            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
            f"CREATE USER app@'%' IDENTIFIED BY '{CANARY}';\n"
            f"CREATE USER conductor@'%' IDENTIFIED BY '{CANARY}';\n"
            f"CREATE USER powerless@'%' IDENTIFIED BY '{CANARY}';\n"
            "GRANT RELOAD, PROCESS, CONNECTION ADMIN, SET USER ON *.* TO conductor@'%';\n"
            "GRANT SELECT ON mysql.proc TO conductor@'%';\n"
        )
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *("mariadbd", "--no-defaults", f"--user={user}", f"--datadir={data}", "--skip-log-bin"),
                    *("--bind-address=127.0.0.1", f"--port={server.port}", f"--socket={directory}/socket"),
                    *(
                        "--innodb-buffer-pool-size=64M",
                        "--innodb-log-file-size=8M",
                        "--innodb-flush-log-at-trx-commit=0",
                        "--skip-name-resolve",
                    ),
                    *(
                        f"--init-file={directory}/init.sql",
                        f"--pid-file={directory}/pid",
                        "--event-scheduler=ON",
                    ),
                ],
                stdout=log,
                stderr=log,
            )
        try:
            _until_answering(server, process)
            yield server
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def lab_with(database: DatabaseKind, nodes: int) -> Iterator[LabUnderTest]:
    """A lab of hosts on that database, of a name no other test run has."""
    layout = Layout(
        name=f"test-{database}-{os.getpid()}",
        nodes=nodes,
        database=database,
        startup_seconds=0.3,
        session_idle_seconds=5,
    )
    try:
        cluster = operations.up(layout)
        assert isinstance(cluster, Cluster)
        yield LabUnderTest(cluster)
    finally:
        operations.down(layout.name)


@contextmanager
def frozen(server: Postgres | MariaDB) -> Iterator[None]:
    """While this is open the server does nothing, and its kernel accepts connections in its name."""
    processes = server.processes
    for process in processes:
        os.kill(process, SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            os.kill(process, SIGCONT)


def _until_answering(server: MariaDB, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            server.run("", "SELECT 1", user="root")
        except pymysql.OperationalError as error:
            if error.args[0] != CANNOT_CONNECT:
                raise
            time.sleep(0.05)
        else:
            return
    raise RuntimeError((server.directory / "log").read_text())
