"""The lab as the ground of a rehearsal: put back, broken, mended, and looked at past every driver of ours.

All of it blocks; call it by `whole`, from within the lab's network.
"""

import asyncio
import csv
import http.client
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ruamel.yaml import YAML

from changeover.lab import DatabaseKind, Fault, Form, Lab, LabError, Role, Window, enter_network
from changeover.labrehearsal.cases import FAULT_FILES, HALF_WAY, OF_A_HOST, host_of
from changeover.model.plan import Step
from changeover.model.site import Site
from changeover.rehearsal import Kind

P = ParamSpec("P")
T = TypeVar("T")

BEFALLS = {
    Kind.HOST_DIES: Fault.POWER,
    Kind.NETWORK_CUT: Fault.LINK,
    Kind.HANGS: Fault.FREEZE,
    Kind.DISK_FULL: Fault.DISK,
}
OF_EACH_FORM = {
    Form.HOSTS: frozenset(Fault),
    Form.EMBEDDED: frozenset({Fault.POWER, Fault.FREEZE}),
}
OBSTACLE = "in_the_way"
"""A table that is there already, so that creating it fails."""

LEDGER = "changeover_migration"
BOOTED = 30.0
SILENCE = "5s"

TIMEOUTS = {
    "install": "15s",
    "snapshot": "60s",
    "verify_snapshot": "90s",
    "migrate": "60s",
    "stop": "20s",
    "switch": "15s",
    "start": "20s",
    "version": "15s",
    "enter": "30s",
    "restore": "90s",
}
"""Nobody waits for minutes in a rehearsal for what takes the lab's small hosts a second."""

HEALTH_SECONDS = 10


@dataclass(frozen=True)
class Sample:
    """What the balancer said of its servers at that time (seconds since the epoch), in its own words; {}: nothing."""

    at: float
    servers: Mapping[str, str]

    @property
    def up(self) -> int:
        """How many are in rotation."""
        return sum(word.startswith("UP") for word in self.servers.values())


async def whole(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it in a thread, to its end: who is cancelled meanwhile waits for that, and is cancelled then."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


NOTES = "notes"
"""The application whose faults, clients and state a case knows."""


class Ground:
    """One lab, of notes. `broken` are the hosts that something has befallen, since when (seconds since the epoch)."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.layout = lab.layout
        if self.layout.app != NOTES:
            raise LabError(
                f"lab {self.layout.name} holds {self.layout.app}; cases are played where there are {NOTES}",
                hint="bring up another lab, and name it in CHANGEOVER_LAB",
            )
        self.broken: dict[str, float] = {}
        self._site: dict[str, Any] = lab.site()
        self._nodes = [member.name for member in self.layout.apps()]
        self._balancer = self.layout.member("lb1").address
        self._faults: set[tuple[str, str]] = set()

    @property
    def url(self) -> str:
        """Where the lab's users come in."""
        return str(self._site["balancer"]["url"])

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The faults that can be brought about here."""
        possible = OF_EACH_FORM[self.layout.form]
        ours = [kind for kind, fault in BEFALLS.items() if fault in possible]
        ours += [Kind.DIES_STARTED, Kind.DIES_RECORDED, Kind.FAILS_BEFORE, Kind.BROKEN_OFF, Kind.REFUSED]
        return tuple(kind for kind in Kind if kind in ours)

    @property
    def transactional(self) -> bool:
        """Whether its database takes back a change of the schema together with its transaction."""
        return self.layout.database is DatabaseKind.POSTGRESQL

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and what it starts, is in the lab's network until the end of the block."""
        network = getattr(getattr(self.lab, "world", None), "network", None)
        if network is None:
            yield
            return
        with Path("/proc/thread-self/ns/net").open("rb") as outside:
            enter_network(network())
            try:
                yield
            finally:
                enter_network(Path(f"/proc/self/fd/{outside.fileno()}"))

    def reset(self) -> None:
        """As it was at first: v1, an empty database, every node in rotation, nothing broken."""
        self.lab.reset()
        self.broken.clear()
        self._faults.clear()

    def clear(self, snapshots: str) -> None:
        """No snapshot is left of an earlier case: each has a journal of its own, and may have a run of the same name."""
        self.lab.run_on("db1", f"rm -rf {snapshots}/*")

    def write_file(self, directory: Path, fails: Kind | None) -> Path:
        """The lab's own file in a new directory, with short patience, and a migration more that fails half-way if it is to."""
        here = self.lab.directory.path
        (directory / "probes").mkdir(parents=True)
        shutil.copytree(here / "migrations", directory / "migrations")
        yaml = YAML()
        document = yaml.load((here / "changeover.yaml").read_text())
        upgrade = document["upgrade"]
        upgrade["timeouts"] = TIMEOUTS | {"health": f"{HEALTH_SECONDS + self.layout.startup_seconds:g}s"}
        if "ssh" in document:
            document["ssh"]["connect_timeout"] = SILENCE
        for database in document["databases"].values():
            [settings] = database.values()
            settings.setdefault("options", {})["silence"] = SILENCE
        if fails:
            expand = directory / "migrations" / "expand"
            directive = "-- changeover: no-transaction\n" if fails is Kind.BROKEN_OFF else ""
            statements = "CREATE TABLE half_way (id INTEGER);\n", f"CREATE TABLE {OBSTACLE} (id INTEGER);\n"
            (expand / f"{HALF_WAY}.sql").write_text(directive + "".join(statements))
            (expand / f"{HALF_WAY}.down.sql").write_text(f"DROP TABLE {OBSTACLE};\nDROP TABLE half_way;\n")
            for change in upgrade["migrations"].values():
                change["attempts"] = 2
        path = directory / "changeover.yaml"
        with path.open("w") as file:
            yaml.dump(document, file)
        return path

    # What befalls it

    def strike(self, kind: Kind, step: Step, site: Site) -> str:
        """Let it befall what the step is at work on; says what was done."""
        if kind in OF_A_HOST:
            host = host_of(step, site)
            self.broken.setdefault(host, time.time())
            self.lab.befall(host, BEFALLS[kind])
            return f"{host}: {BEFALLS[kind]}"
        fault, holds = FAULT_FILES[step.do.action]
        self._faults.add((step.do.target, fault))
        self.lab.run_on(
            step.do.target, f"printf %s '{holds}' >{self._path('faults', step.do.target)}/{fault}"
        )
        return f"{step.do.target}: {fault}"

    def put_in_the_way(self) -> None:
        """What lets the second statement of the added migration fail."""
        self._execute(f"CREATE TABLE {OBSTACLE} (id INTEGER)")

    def mend(self) -> None:
        """What a person does: every host is there again, the application's faults are gone, half a migration too."""
        booted = [host for host in self.broken if self.lost_power(host)]
        for host in list(self.broken):
            self.lab.revive(host)
        self._wait_for(self.broken, booted)
        self.broken.clear()
        for node, fault in self._faults:
            self.lab.run_on(node, f"rm -f {self._path('faults', node)}/{fault}")
            if self.layout.form is Form.HOSTS:
                self.lab.run_on(node, "systemctl reset-failed lab-app.service 2>/dev/null || :")
        self._faults.clear()

    def clear_the_way(self) -> None:
        """What a person does about the added migration: the obstacle goes, and what half of it has left."""
        self._execute(f"DROP TABLE IF EXISTS {OBSTACLE}")
        if self._select("SELECT 1 FROM information_schema.tables WHERE table_name = %s", LEDGER):
            torn = "finished_at IS NULL" if self.transactional else "finished_at = 0"
            if self._select(f"SELECT name FROM {LEDGER} WHERE name = %s AND {torn}", HALF_WAY):  # noqa: S608
                self._execute("DROP TABLE IF EXISTS half_way")
                self._execute(f"DELETE FROM {LEDGER} WHERE name = '{HALF_WAY}'")  # noqa: S608

    def lost_power(self, host: str) -> bool:
        """Whether nothing runs there."""
        pid = getattr(getattr(self.lab, "world", None), "host_pid", None)
        return pid is not None and pid(host) is None

    # What it is like

    def look(self, snapshots: str) -> dict[str, object]:
        """Everything that an upgrade changes and its way back must restore; None where nobody answers."""
        servers = self.servers().servers
        state: dict[str, object] = {f"{name} at the balancer": word for name, word in servers.items()}
        with self.lab.window() as window:
            for node in self._nodes:
                state[f"{node} runs"] = self._version(window, node)
        for node in self._nodes:
            script = f"ls {self._path('release_directory', node)}; readlink {self._path('current', node)}"
            said = self._said(node, script)
            state[f"{node} has"] = sorted(said[:-1]) if said else None
            state[f"{node} would start"] = said[-1].rpartition("/")[2] if said else None
        state["schema"] = self._schema()
        state["ledger"] = self.applied()
        state["snapshots"] = self._said(
            "db1", f"find {snapshots} -mindepth 2 -maxdepth 2 2>/dev/null | sort || :"
        )
        return state

    def servers(self) -> Sample:
        """What the balancer says just now."""
        at = time.time()
        with suppress(OSError, http.client.HTTPException), self.lab.window() as window:
            port = int(str(self._site["balancer"]["stats"]).rpartition(":")[2].partition("/")[0])
            status, body = window.get(self._balancer, port, "/stats;csv", timeout=1.0)
            if status == http.client.OK:
                rows = csv.DictReader(io.StringIO(body.removeprefix("# ")))
                return Sample(
                    at, {row["svname"]: row["status"] for row in rows if row["svname"] in self._nodes}
                )
        return Sample(at, {})

    def applied(self) -> list[str] | None:
        """The migrations in the ledger that are finished, those that are not with a mark; None: no answer."""
        with suppress(OSError):
            if not self._select("SELECT 1 FROM information_schema.tables WHERE table_name = %s", LEDGER):
                return []
            rows = self._select(f"SELECT name, finished_at FROM {LEDGER} ORDER BY name")  # noqa: S608
            return [str(name) if finished else f"{name} (half-way)" for name, finished in rows]
        return None

    def starts(self, version: str) -> dict[str, int]:
        """How often each node has come up as that version since its last boot, by what the application logged."""
        said = "journalctl --unit=lab-app.service --output=cat --no-pager"
        if self.layout.form is Form.EMBEDDED:
            said = "cat service.log"
        return {
            node: int(self.lab.run_on(node, f"{said} | grep -c 'release {version} is ready' || :"))
            for node in self._nodes
        }

    def _wait_for(self, hosts: Mapping[str, float], booted: list[str]) -> None:
        """Return when they can be spoken to and, of those that have booted, what starts there answers; or in time."""
        limit = time.monotonic() + BOOTED
        with self.lab.window() as window:
            for host in hosts:
                while time.monotonic() < limit and not self._answers(window, host, service=host in booted):
                    time.sleep(0.1)

    def _answers(self, window: Window, host: str, *, service: bool) -> bool:
        member = self.layout.member(host)
        with suppress(OSError, http.client.HTTPException):
            if self.layout.form is Form.HOSTS and not window.banner(member.address, 22).startswith("SSH-2.0"):
                return False
            if member.role is Role.DATABASE:
                return self.applied() is not None
            if member.role is Role.BALANCER:
                return bool(self.servers().servers)
            if not service:
                return True
            port = int(self._site["application"]["port"])
            return window.get(member.address, port, "/health")[0] == http.client.OK
        return False

    def _version(self, window: Window, node: str) -> str | None:
        with suppress(OSError, http.client.HTTPException):
            address, port = self.layout.member(node).address, int(self._site["application"]["port"])
            return str(json.loads(window.get(address, port, "/version")[1])["version"])
        return None

    def _schema(self) -> list[str] | None:
        """Every column that there is, but for our ledger's and the obstacle's."""
        with suppress(OSError):
            rows = self._select(
                "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns "
                "WHERE table_schema IN ('public', %s) AND table_name NOT IN (%s, %s) "
                "ORDER BY table_name, column_name",
                str(self._site["database"]["name"]),
                LEDGER,
                OBSTACLE,
            )
            return [" ".join(map(str, row)) for row in rows]
        return None

    def _said(self, host: str, script: str) -> list[str] | None:
        if self.lost_power(host):
            return None
        return self.lab.run_on(host, script).split()

    def _path(self, what: str, node: str) -> str:
        return str(self._site["application"][what]).replace("{node}", node)

    def _execute(self, statement: str) -> None:
        self._connected(statement, (), fetch=False)

    def _select(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        return self._connected(statement, values, fetch=True)

    def _connected(self, statement: str, values: tuple[str, ...], *, fetch: bool) -> list[tuple[Any, ...]]:
        """Say it to the database as its application does; `OSError` where it does not answer."""
        access = json.loads(self.lab.directory.credentials.read_text())
        kind, name = access.pop("kind"), access.pop("name")
        if kind == DatabaseKind.POSTGRESQL:
            return _of_postgresql({"dbname": name, **access}, statement, values, fetch=fetch)
        return _of_mariadb({"database": name, **access}, statement, values, fetch=fetch)


def _of_postgresql(
    access: dict[str, Any], statement: str, values: tuple[str, ...], *, fetch: bool
) -> list[tuple[Any, ...]]:
    import psycopg

    try:
        with psycopg.connect(connect_timeout=3, autocommit=True, **access) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if fetch else []
    except psycopg.OperationalError as error:
        raise OSError(str(error)) from error


def _of_mariadb(
    access: dict[str, Any], statement: str, values: tuple[str, ...], *, fetch: bool
) -> list[tuple[Any, ...]]:
    import pymysql

    try:
        with pymysql.connect(connect_timeout=3, autocommit=True, **access) as connection:
            cursor = connection.cursor()
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if fetch else []
    except pymysql.OperationalError as error:
        raise OSError(str(error)) from error
