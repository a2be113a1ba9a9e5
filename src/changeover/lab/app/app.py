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
    POST /notes           {"id", "body"}: 201 after the commit, 200 when the same note is there already
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
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

log = logging.getLogger("app")

EX_CONFIG = 78
COOKIE = "APPSESSION"

# The columns a release cannot start without, and those it writes. v1 goes on reading a contracted schema and fails to
# write it; v2 needs the expanded one from its first moment.
RELEASES = {
    "v1": {"required": ("id", "body"), "written": ("id", "body", "folded")},
    "v2": {"required": ("id", "body", "words"), "written": ("id", "body", "words")},
}


def note_row(columns, note_id, body):
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

    def __init__(self, directory):
        self._directory = Path(directory)

    def get(self, name):
        """Return what the fault's file holds, or None where it is not switched on."""
        try:
            return (self._directory / name).read_text().strip()
        except OSError:
            return None

    def number(self, name):
        """Return the number in the fault's file; None where it is off or holds no number."""
        try:
            return float(self.get(name) or "")
        except ValueError:
            return None


class Sessions:
    """Sessions in this process's memory: they end with it, and after `idle` seconds without a request."""

    def __init__(self, idle, clock=time.monotonic):
        self._idle = idle
        self._clock = clock
        self._lock = threading.Lock()
        self._live = {}

    def begin(self):
        """Begin a session and return its id."""
        session = secrets.token_hex(8)
        with self._lock:
            self._live[session] = [self._clock(), 0]
        return session

    def touch(self, session):
        """Count a request of the session; return its hits, or None when there is no such session."""
        with self._lock:
            self._expire()
            if session not in self._live:
                return None
            entry = self._live[session]
            entry[0] = self._clock()
            entry[1] += 1
            return entry[1]

    def end(self, session):
        """End the session; one that has ended already stays so."""
        with self._lock:
            self._live.pop(session, None)

    def count(self):
        """Return how many sessions live."""
        with self._lock:
            self._expire()
            return len(self._live)

    def _expire(self):
        oldest = self._clock() - self._idle
        for session in [s for s, (seen, _) in self._live.items() if seen < oldest]:
            del self._live[session]


class MemoryNotes:
    """Notes without a database: what one node stores the others do not see."""

    def __init__(self):
        self._notes = {}

    def columns(self):
        """Return the columns of the notes: whatever a release may want."""
        return {"id", "body", "folded", "words"}

    def add(self, columns, row):
        """Store a note; return whether it is new."""
        note = dict(zip(columns, row, strict=True))
        return self._notes.setdefault(note["id"], note) is note

    def get(self, columns, note_id):
        """Return the note's values, or None."""
        note = self._notes.get(note_id)
        return note and tuple(note[column] for column in columns)

    def missing(self, ids):
        """Return those of `ids` that are not stored."""
        return [note_id for note_id in ids if note_id not in self._notes]


class DatabaseNotes:
    """Notes in PostgreSQL or MariaDB through a few connections kept open."""

    def __init__(self, config):
        self._settings = dict(config)
        self._kind = self._settings.pop("kind")
        self._idle = queue.LifoQueue()
        if self._kind == "postgresql":
            import psycopg

            self._driver, self._name = psycopg, "dbname"
        else:
            import pymysql

            self._driver, self._name = pymysql, "database"

    def columns(self):
        """Return the columns that the table of notes has."""
        scope = "current_schema()" if self._kind == "postgresql" else "database()"
        with self._cursor() as cursor:
            cursor.execute(
                "SELECT column_name FROM information_schema.columns"
                f" WHERE table_name = 'notes' AND table_schema = {scope}"
            )
            return {name for (name,) in cursor.fetchall()}

    def add(self, columns, row):
        """Store a note and commit; return whether it is new."""
        names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
        with self._cursor() as cursor:
            try:
                cursor.execute(f"INSERT INTO notes ({names}) VALUES ({marks})", row)
            except self._driver.IntegrityError:
                cursor.connection.rollback()
                return False
            cursor.connection.commit()
            return True

    def get(self, columns, note_id):
        """Return the note's values, or None."""
        with self._cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(columns)} FROM notes WHERE id = %s", (note_id,))
            return cursor.fetchone()

    def missing(self, ids):
        """Return those of `ids` that are not stored."""
        if not ids:
            return []
        marks = ", ".join(["%s"] * len(ids))
        with self._cursor() as cursor:
            cursor.execute(f"SELECT id FROM notes WHERE id IN ({marks})", tuple(ids))
            stored = {note_id for (note_id,) in cursor.fetchall()}
        return [note_id for note_id in ids if note_id not in stored]

    @contextmanager
    def _cursor(self):
        """Lend a connection's cursor; a connection that saw an error is closed, never lent again.

        One that idled through a restart of the database fails once, so it is asked first.
        """
        connection = self._connection()
        try:
            with connection.cursor() as cursor:
                yield cursor
            connection.rollback()
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)

    def _connection(self):
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                settings = dict(self._settings)
                settings[self._name] = settings.pop("name")
                return self._driver.connect(connect_timeout=3, **settings)
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                return connection
            except self._driver.Error:
                connection.close()


class Application:
    """What the requests share: configuration, release, sessions, notes, faults."""

    def __init__(self, config, version):
        self.node = config["node"]
        self.version = version
        self.release = RELEASES[version]
        self.faults = Faults(config["faults"])
        self.sessions = Sessions(config.get("session_idle_seconds", 60))
        self.notes = DatabaseNotes(config["database"]) if config.get("database") else MemoryNotes()
        self.started = None

    def prepare(self, startup_seconds):
        """Become healthy: look at the schema, then take the time that starting takes.

        A database that does not answer yet is asked again, because after a power cut all hosts boot at once.
        """
        begun = time.monotonic()
        lacking = set(self.release["required"]) - self._columns()
        if lacking:
            log.error(
                "release %s cannot start: the schema has no notes.%s; run the expand migration first",
                self.version,
                ", notes.".join(sorted(lacking)),
            )
            os._exit(EX_CONFIG)
        time.sleep(max(0, begun + startup_seconds - time.monotonic()))
        self.started = time.monotonic()
        log.info("release %s is ready on %s", self.version, self.node)

    def _columns(self):
        while True:
            try:
                columns = self.notes.columns()
            except Exception as error:
                log.warning("the database does not answer: %s", str(error).strip())
            else:
                if columns:
                    return columns
                log.warning("the database has no table of notes yet")
            time.sleep(0.2)

    def healthy(self):
        """Whether this node wants requests."""
        if self.started is None:
            return False
        limit = self.faults.number("fail-health-after")
        return limit is None or time.monotonic() - self.started < limit


class Handler(BaseHTTPRequestHandler):
    """One request per connection: HTTP/1.0, so that nothing idle is left to cut when the node stops."""

    app: Application

    def do_GET(self):
        """Answer GET."""
        self._answer()

    def do_POST(self):
        """Answer POST."""
        self._answer()

    def _answer(self):
        # The body is read in any case: closing over unread bytes would reset the connection.
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        try:
            if path == "/health":
                return self._send(200 if self.app.healthy() else 503, {"node": self.app.node})
            if self._misbehaves():
                return self._send(500, {"error": "a fault says so"})
            self._route(path, body)
        except (ValueError, KeyError, TypeError) as error:
            self._send(400, {"error": f"bad request: {error}"})
        except Exception as error:
            log.exception("%s %s failed", self.command, path)
            self._send(500, {"error": type(error).__name__})

    def _misbehaves(self):
        slow = self.app.faults.number("slow")
        if slow:
            time.sleep(slow / 1000)
        return random.random() < (self.app.faults.number("serve-errors") or 0)

    def _route(self, path, body):
        app = self.app
        if path == "/version":
            self._send(200, {"version": app.faults.get("wrong-version") or app.version, "node": app.node})
        elif path == "/login":
            session = app.sessions.begin()
            self._send(200, {"id": session, "node": app.node}, cookie=f"{COOKIE}={session}; Path=/; HttpOnly")
        elif path == "/session":
            session = self._session()
            hits = app.sessions.touch(session)
            if hits is None:
                self._send(401, {"error": "no such session", "node": app.node})
            else:
                self._send(200, {"id": session, "node": app.node, "hits": hits})
        elif path == "/logout":
            app.sessions.end(self._session())
            self._send(200, {"node": app.node}, cookie=f"{COOKIE}=; Path=/; Max-Age=0")
        elif path == "/sessions":
            self._send(200, {"sessions": app.sessions.count(), "node": app.node})
        elif path == "/notes" and self.command == "POST":
            note = json.loads(body)
            columns = app.release["written"]
            new = app.notes.add(columns, note_row(columns, str(note["id"]), str(note["body"])))
            self._send(201 if new else 200, {"id": str(note["id"]), "node": app.node})
        elif path == "/notes/exists" and self.command == "POST":
            ids = [str(note_id) for note_id in json.loads(body)["ids"]]
            self._send(200, {"missing": app.notes.missing(ids)})
        elif path.startswith("/notes/"):
            columns = app.release["required"]
            row = app.notes.get(columns, path.removeprefix("/notes/"))
            if row is None:
                self._send(404, {"error": "no such note"})
            else:
                self._send(200, dict(zip(columns, row, strict=True)))
        elif path == "/":
            self._send(200, {"application": "notes", "version": app.version, "node": app.node})
        else:
            self._send(404, {"error": "no such page"})

    def _session(self):
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        return cookie.value if cookie else ""

    def _send(self, status, content, cookie=None):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code="-", size="-"):
        """Leave out the line per request; failures are logged where they happen."""


class Server(ThreadingHTTPServer):
    """A thread per request; closing it waits for them."""

    daemon_threads = False
    request_queue_size = 256


def main(config_file):
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    config = json.loads(Path(config_file).read_text())
    version = (Path(__file__).resolve().parent / "VERSION").read_text().strip()
    app = Application(config, version)
    if app.faults.get("fail-start") is not None:
        log.error("a fault says: do not start")
        return 1
    handler = type("BoundHandler", (Handler,), {"app": app})
    server = Server((config.get("address", ""), config["port"]), handler)
    stop_seconds = config.get("stop_seconds", 10)

    def stop(_signal, _frame):
        if app.faults.get("hang-on-stop") is not None:
            log.error("a fault says: do not stop")
            return
        threading.Thread(target=server.shutdown).start()
        # Requests that outlast the limit are cut: the node promised to be gone by then.
        overdue = threading.Timer(stop_seconds, os._exit, (0,))
        overdue.daemon = True
        overdue.start()

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=app.prepare, args=(config.get("startup_seconds", 2),), daemon=True).start()
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
