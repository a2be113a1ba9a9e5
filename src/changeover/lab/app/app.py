#!/usr/bin/env python3
"""The lab's application: notes in a database, sessions in memory, one process per node.

Standard library and the database's driver only, as Debian packages them. The release it belongs to is in the file
VERSION beside it; what the two releases do differently is `RELEASES` and nothing else.

    GET  /health          200 once started, 503 before and when a fault says so
    GET  /version         {"version", "node"}
    GET  /login           begins a session: {"id", "node"} and a cookie
    GET  /session         {"id", "node", "hits"} of the cookie's session; 401 when this node does not know it
    GET  /logout          ends it
    GET  /sessions        {"sessions"}: how many this node holds
    POST /notes           {"id", "body"}: 201 after the commit, 200 when a note of that id is there already
    GET  /notes/ID        200 or 404
    POST /notes/exists    {"ids"}: {"missing"}: those of them that are not stored

`/login` and `/logout` answer POST as well. SIGTERM ends it with status 0 after the requests in flight, at most
`stop_seconds`. It ends with status 78 (EX_CONFIG), which systemd does not retry, when the schema lacks a column.
"""

import json
import logging
import os
import queue
import random
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

log = logging.getLogger("app")

EX_CONFIG = 78
COOKIE = "APPSESSION"


class Release(NamedTuple):
    """The columns of a note that a release cannot start without, and those it writes."""

    required: tuple[str, ...]
    written: tuple[str, ...]


# v1 goes on reading a contracted schema and fails to write it; v2 needs the expanded one from its first moment.
RELEASES = {
    "v1": Release(required=("id", "body"), written=("id", "body", "folded")),
    "v2": Release(required=("id", "body", "words"), written=("id", "body", "words")),
}


def note_row(columns: Sequence[str], note_id: str, body: str) -> tuple[Any, ...]:
    """Return the values of `columns` for one note."""
    values = {"id": note_id, "body": body, "folded": body.casefold(), "words": len(body.split())}
    return tuple(values[column] for column in columns)


class Faults:
    """Switches that make the application misbehave; files in a directory, read when they matter.

    fail-start            ends with status 1 instead of starting
    fail-health-after     holds N: the health check fails after N seconds of being started
    hang-on-stop          SIGTERM is ignored
    serve-errors          holds a rate from 0 to 1: that share of requests is answered 500
    slow                  holds MS: every request takes that many milliseconds longer
    wrong-version         holds what /version says instead
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def get(self, name: str) -> str | None:
        """Return what the fault's file holds, or None where it is not switched on."""
        try:
            return (self._directory / name).read_text().strip()
        except OSError:
            return None

    def number(self, name: str) -> float | None:
        """Return the number in the fault's file; None where it is off or holds no number."""
        try:
            return float(self.get(name) or "")
        except ValueError:
            return None


class Sessions:
    """Sessions in this process's memory: they end with it, and after `idle` seconds without a request."""

    def __init__(self, idle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle = idle
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, float] = {}
        self._hits: dict[str, int] = {}

    def begin(self) -> str:
        """Begin a session and return its id."""
        session = secrets.token_hex(8)
        with self._lock:
            self._seen[session], self._hits[session] = self._clock(), 0
        return session

    def touch(self, session: str) -> int | None:
        """Count a request of the session; return its hits, or None when there is no such session."""
        with self._lock:
            self._expire()
            if session not in self._seen:
                return None
            self._seen[session] = self._clock()
            self._hits[session] += 1
            return self._hits[session]

    def end(self, session: str) -> None:
        """End the session; one that has ended already stays so."""
        with self._lock:
            self._forget(session)

    def count(self) -> int:
        """Return how many sessions live."""
        with self._lock:
            self._expire()
            return len(self._seen)

    def _expire(self) -> None:
        oldest = self._clock() - self._idle
        for session in [session for session, seen in self._seen.items() if seen < oldest]:
            self._forget(session)

    def _forget(self, session: str) -> None:
        self._seen.pop(session, None)
        self._hits.pop(session, None)


class Notes(Protocol):
    """Where notes are stored."""

    def columns(self) -> set[str]:
        """Return the columns that a note has; none where there is no table yet."""

    def add(self, columns: Sequence[str], row: tuple[Any, ...]) -> bool:
        """Store a note durably; return whether it is new."""

    def get(self, columns: Sequence[str], note_id: str) -> tuple[Any, ...] | None:
        """Return the note's values, or None."""

    def missing(self, ids: list[str]) -> list[str]:
        """Return those of `ids` that are not stored."""


class MemoryNotes:
    """Notes without a database: what one node stores the others do not see."""

    def __init__(self) -> None:
        self._notes: dict[str, dict[str, Any]] = {}

    def columns(self) -> set[str]:
        """Whatever a release may want."""
        return {"id", "body", "folded", "words"}

    def add(self, columns: Sequence[str], row: tuple[Any, ...]) -> bool:
        """Store a note; return whether it is new."""
        note = dict(zip(columns, row, strict=True))
        return self._notes.setdefault(note["id"], note) is note

    def get(self, columns: Sequence[str], note_id: str) -> tuple[Any, ...] | None:
        """Return the note's values, or None."""
        note = self._notes.get(note_id)
        return None if note is None else tuple(note[column] for column in columns)

    def missing(self, ids: list[str]) -> list[str]:
        """Return those of `ids` that are not stored."""
        return [note_id for note_id in ids if note_id not in self._notes]


class DatabaseNotes:
    """Notes in PostgreSQL or MariaDB, through connections that are kept and lent to one request at a time."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._settings = {key: config[key] for key in ("host", "port", "user", "password")}
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        if config["kind"] == "postgresql":
            self._driver, self._schema = import_module("psycopg"), "current_schema()"
            self._settings["dbname"] = config["name"]
        else:
            self._driver, self._schema = import_module("pymysql"), "database()"
            self._settings["database"] = config["name"]

    def columns(self) -> set[str]:
        """Return the columns that the table of notes has."""
        rows = self._select(
            # Either database's own word for the schema that names without one are looked up in.
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'notes' AND table_schema = "  # noqa: S608
            + self._schema
        )
        return {name for (name,) in rows}

    def add(self, columns: Sequence[str], row: tuple[Any, ...]) -> bool:
        """Store a note and commit; return whether it is new."""
        marks = ", ".join(["%s"] * len(columns))
        with self._lent() as connection, connection.cursor() as cursor:
            try:
                cursor.execute(f"INSERT INTO notes ({', '.join(columns)}) VALUES ({marks})", row)  # noqa: S608
                connection.commit()
            except self._driver.IntegrityError:
                connection.rollback()
                return False
            return True

    def get(self, columns: Sequence[str], note_id: str) -> tuple[Any, ...] | None:
        """Return the note's values, or None."""
        rows = self._select(f"SELECT {', '.join(columns)} FROM notes WHERE id = %s", (note_id,))  # noqa: S608
        return rows[0] if rows else None

    def missing(self, ids: list[str]) -> list[str]:
        """Return those of `ids` that are not stored."""
        if not ids:
            return []
        marks = ", ".join(["%s"] * len(ids))
        rows = self._select(f"SELECT id FROM notes WHERE id IN ({marks})", tuple(ids))  # noqa: S608
        stored = {note_id for (note_id,) in rows}
        return [note_id for note_id in ids if note_id not in stored]

    def _select(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lent() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows: list[tuple[Any, ...]] = list(cursor.fetchall())
            connection.rollback()
            return rows

    @contextmanager
    def _lent(self) -> Iterator[Any]:
        """Lend a connection; one that saw an error is closed and never lent again."""
        connection = self._connection()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)

    def _connection(self) -> Any:
        """Return a connection that answers: one that idled through a restart of the database is dropped."""
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return self._driver.connect(connect_timeout=3, **self._settings)
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
            except self._driver.Error:
                connection.close()
            else:
                return connection


class Application:
    """What the requests share: configuration, release, sessions, notes, faults."""

    def __init__(self, config: dict[str, Any], version: str) -> None:
        self.node: str = config["node"]
        self.version = version
        self.release = RELEASES[version]
        self.faults = Faults(config["faults"])
        self.sessions = Sessions(config["session_idle_seconds"])
        self.notes: Notes = DatabaseNotes(config["database"]) if config["database"] else MemoryNotes()
        self._started: float | None = None

    def prepare(self, startup_seconds: float) -> None:
        """Become healthy: look at the schema, and take the time that starting takes."""
        begun = time.monotonic()
        lacking = set(self.release.required) - self._columns()
        if lacking:
            log.error(
                "release %s cannot start: the schema has no notes.%s; run the expand migration first",
                self.version,
                ", notes.".join(sorted(lacking)),
            )
            os._exit(EX_CONFIG)
        time.sleep(max(0, begun + startup_seconds - time.monotonic()))
        self._started = time.monotonic()
        log.info("release %s is ready on %s", self.version, self.node)

    def healthy(self) -> bool:
        """Whether this node wants requests."""
        if self._started is None:
            return False
        limit = self.faults.number("fail-health-after")
        return limit is None or time.monotonic() - self._started < limit

    def _columns(self) -> set[str]:
        """Return the columns of the notes, asking until there are some: after a power cut all hosts boot at once."""
        while True:
            try:
                columns = self.notes.columns()
            except Exception as error:  # noqa: BLE001  # of either driver, or of the network
                log.warning("the database does not answer: %s", str(error).strip())
            else:
                if columns:
                    return columns
                log.warning("the database has no table of notes yet")
            time.sleep(0.2)


class Answer(NamedTuple):
    """What a request gets."""

    status: int
    content: dict[str, Any]
    cookie: str | None = None


class Handler(BaseHTTPRequestHandler):
    """One request per connection: HTTP/1.0, so that nothing idle is left to cut when the node stops."""

    app: Application

    def do_GET(self) -> None:
        """Answer GET."""
        self._respond()

    def do_POST(self) -> None:
        """Answer POST."""
        self._respond()

    def _respond(self) -> None:
        # The body is read in any case: closing over unread bytes would reset the connection.
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        try:
            answer = self._answer(path, body)
        except (ValueError, KeyError, TypeError) as error:
            answer = Answer(400, {"error": f"bad request: {error}"})
        except Exception as error:
            log.exception("%s %s failed", self.command, path)
            answer = Answer(500, {"error": type(error).__name__})
        self._send(answer)

    def _answer(self, path: str, body: bytes) -> Answer:
        app = self.app
        if path == "/health":
            return Answer(200 if app.healthy() else 503, {"node": app.node})
        time.sleep((app.faults.number("slow") or 0) / 1000)
        if random.random() < (app.faults.number("serve-errors") or 0):  # noqa: S311
            return Answer(500, {"error": "a fault says so"})
        if path.startswith("/notes"):
            return self._notes(path, body)
        pages = {
            "/": self._index,
            "/version": self._version,
            "/login": self._login,
            "/session": self._session,
            "/logout": self._logout,
            "/sessions": self._sessions,
        }
        return pages[path]() if path in pages else Answer(404, {"error": "no such page"})

    def _index(self) -> Answer:
        return Answer(200, {"application": "notes", "version": self.app.version, "node": self.app.node})

    def _version(self) -> Answer:
        version = self.app.faults.get("wrong-version") or self.app.version
        return Answer(200, {"version": version, "node": self.app.node})

    def _login(self) -> Answer:
        session = self.app.sessions.begin()
        return Answer(200, {"id": session, "node": self.app.node}, f"{COOKIE}={session}; Path=/; HttpOnly")

    def _session(self) -> Answer:
        session = self._cookie()
        hits = self.app.sessions.touch(session)
        if hits is None:
            return Answer(401, {"error": "no such session", "node": self.app.node})
        return Answer(200, {"id": session, "node": self.app.node, "hits": hits})

    def _logout(self) -> Answer:
        self.app.sessions.end(self._cookie())
        return Answer(200, {"node": self.app.node}, f"{COOKIE}=; Path=/; Max-Age=0")

    def _sessions(self) -> Answer:
        return Answer(200, {"sessions": self.app.sessions.count(), "node": self.app.node})

    def _notes(self, path: str, body: bytes) -> Answer:
        notes, release = self.app.notes, self.app.release
        if (self.command, path) == ("POST", "/notes"):
            note = json.loads(body)
            row = note_row(release.written, str(note["id"]), str(note["body"]))
            new = notes.add(release.written, row)
            return Answer(201 if new else 200, {"id": str(note["id"]), "node": self.app.node})
        if (self.command, path) == ("POST", "/notes/exists"):
            ids = [str(note_id) for note_id in json.loads(body)["ids"]]
            return Answer(200, {"missing": notes.missing(ids)})
        found = notes.get(release.required, path.removeprefix("/notes/"))
        if found is None:
            return Answer(404, {"error": "no such note"})
        return Answer(200, dict(zip(release.required, found, strict=True)))

    def _cookie(self) -> str:
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        return cookie.value if cookie else ""

    def _send(self, answer: Answer) -> None:
        data = json.dumps(answer.content).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if answer.cookie:
            self.send_header("Set-Cookie", answer.cookie)
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave out the line per request; failures are logged where they happen."""


class Server(ThreadingHTTPServer):
    """A thread per request; closing it waits for them."""

    daemon_threads = False
    request_queue_size = 256


def main(config_file: str) -> int:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    config = json.loads(Path(config_file).read_text())
    version = (Path(__file__).resolve().parent / "VERSION").read_text().strip()
    app = Application(config, version)
    if app.faults.get("fail-start") is not None:
        log.error("a fault says: do not start")
        return 1
    server = Server((config["address"], config["port"]), type("BoundHandler", (Handler,), {"app": app}))

    def stop(*_: object) -> None:
        if app.faults.get("hang-on-stop") is not None:
            log.error("a fault says: do not stop")
            return
        threading.Thread(target=server.shutdown).start()
        # Requests that outlast the limit are cut: the node promised to be gone by then.
        overdue = threading.Timer(config["stop_seconds"], os._exit, (0,))
        overdue.daemon = True
        overdue.start()

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=app.prepare, args=(config["startup_seconds"],), daemon=True).start()
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
