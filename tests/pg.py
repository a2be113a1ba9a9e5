"""A PostgreSQL server of our own for tests: in a temporary directory, on a unix socket, gone afterwards."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

_numbers = itertools.count(1)


@dataclass(frozen=True)
class PostgresServer:
    """A running server; `directory` holds its socket."""

    directory: Path
    programs: Path
    user: str
    _log: Path = field(repr=False)

    def url(self, database: str) -> str:
        """How to reach that database."""
        return f"postgresql://{self.user}@/{database}?host={self.directory}"

    def create(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def schema(self) -> str:
        """The URL of an empty schema: as good as a database for a journal, and made much faster."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE SCHEMA "{name}"'.encode())
        return f"{self.url('postgres')}&options=-csearch_path%3D{name}"

    def control(self, *arguments: str) -> None:
        """`pg_ctl` with these arguments; it waits until they have taken effect."""
        command = [str(self.programs / "pg_ctl"), "-s", "-w", "-D", str(self.directory / "data"), *arguments]
        subprocess.run(_as(self.user, command), check=True, stdout=subprocess.DEVNULL, cwd="/")


def programs() -> Path | None:
    """Where the server's programs are: on the path, or where Debian puts them."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda it: int(it.parent.name))
    return places[-1] if places else None


@contextmanager
def running_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A server for as long as the context lasts. It waits for the disk only if it is to be `durable`."""
    found = programs()
    if found is None:
        raise FileNotFoundError("no pg_ctl: install the package postgresql")
    user = "postgres" if os.geteuid() == 0 else Path("~").expanduser().owner()
    directory = Path(tempfile.mkdtemp(prefix="changeover-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, user)
        initdb = [str(found / "initdb"), "-D", str(directory / "data"), "-U", user, "-A", "trust", "-N"]
        subprocess.run(_as(user, initdb), check=True, stdout=subprocess.DEVNULL, cwd="/")
        server = PostgresServer(directory, found, user, directory / "log")
        options = f"-c listen_addresses='' -k {directory} -c fsync={'on' if durable else 'off'}"
        server.control("-l", str(server._log), "-o", options, "start")
        try:
            yield server
        finally:
            server.control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole session; the test is skipped where PostgreSQL is not installed."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with running_server() as server:
        yield server


def _as(user: str, command: list[str]) -> list[str]:
    return (
        ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command]
        if os.geteuid() == 0
        else command
    )
