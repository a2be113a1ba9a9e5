#!/usr/bin/env python3
"""The lab's messaging application: campaigns send numbered messages, and every node writes down what it has sent.

    courier.py run          one node, until SIGTERM; status 78 (EX_CONFIG) when the installation or the schema is not its own
    courier.py unflushed    how many records of this node's storage logs are not in the database yet
    courier.py clean        removes this node's storage logs, whatever is in them
    courier.py account      what the sink has received, held against the database: lost, doubled, unrecorded

It is configured by the files in its own directory: `install.properties`, `database.properties`, `crypto.properties`,
and the key named there, with which every message is signed. Its release is in VERSION.

How a message goes: its number is drawn in the database, together with a record in STORAGE_HISTORY; it is sent to the
sink; and a line is appended to a storage log on this node's disk. Only when such a log is worked off does the database
know that the message was sent. What a node has drawn and finds neither in a log nor recorded as sent, it sends when it
starts: so a log that is lost doubles messages, and a database that is put back without its logs does as well.

    GET /health   200 while it works, 503 before and when it does not
    GET /version  {"version", "node"}
    GET /status   {"node", "version", "unflushed"}
"""

import hashlib
import hmac
import http.client
import json
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg

log = logging.getLogger("courier")

HOME = Path(__file__).resolve().parent
EX_CONFIG = 78
SCHEMAS = {"v1": 1, "v2": 2}
WRITTEN, WORKED_ON, DONE = 10, 20, 30
"""Status codes of STORAGE_HISTORY; below DONE a log is unprocessed. One that is to be ignored is 40."""
LINES = 20
"""After so many records a storage log is closed, and worked off."""
PAUSE = 0.2
ON_ITS_WAY = 5.0


class MisconfiguredError(Exception):
    """The installation lacks something, or the schema is another release's."""


def properties(name: str) -> dict[str, str]:
    """What a properties file of the installation says; `MisconfiguredError` if that is nothing."""
    lines = [line.strip() for line in (HOME / name).read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    if not pairs:
        raise MisconfiguredError(f"{name} is not filled in")
    return {key.strip(): value.strip() for key, _, value in pairs}


class Installation:
    """The files beside this program."""

    def __init__(self) -> None:
        try:
            own, crypto = properties("install.properties"), properties("crypto.properties")
            self.database = properties("database.properties")
            self.node, self.address, self.port = own["node"], own["address"], int(own["port"])
            self.storage, self.faults = Path(own["storage"]), Path(own["faults"])
            self.sink, self.pace, self.startup = own["sink"], float(own["pace"]), float(own["startup"])
            self.key = (HOME / crypto["key"]).read_bytes()
        except (OSError, KeyError, ValueError) as error:
            raise MisconfiguredError(
                f"the installation is not complete: {type(error).__name__} {error}"
            ) from None
        self.version = (HOME / "VERSION").read_text().strip()

    def connect(self) -> "psycopg.Connection[Any]":
        """A connection to the database."""
        return psycopg.connect(
            " ".join(f"{key}={value}" for key, value in self.database.items()), connect_timeout=3
        )

    def fault(self, name: str) -> str | None:
        """What the file of a fault holds; None where it is not switched on."""
        try:
            return (self.faults / name).read_text().strip()
        except OSError:
            return None

    def logs(self, *states: str) -> list[Path]:
        """The storage logs of this node, the oldest first: NUMBER-DEPLOYMENT.open, .log when closed, .done when worked off."""
        found = [path for state in states for path in self.storage.glob(f"*.{state}")]
        return sorted(found, key=lambda path: int(path.name.partition("-")[0]))

    def unflushed(self) -> int:
        """How many records are in logs that are not worked off."""
        return sum(len(path.read_text().splitlines()) for path in self.logs("open", "log"))


def exchange(
    sink: str, method: str, body: str = "", headers: Mapping[str, str] = MappingProxyType({})
) -> str:
    """What the sink answers.

    Raises:
        OSError, http.client.HTTPException: it does not answer, or not with success.
    """
    connection = http.client.HTTPConnection(sink, timeout=5)
    try:
        connection.request(method, "/messages", body, dict(headers))
        answer = connection.getresponse()
        if answer.status not in (http.client.OK, http.client.CREATED):
            raise http.client.HTTPException(f"it answers {answer.status} {answer.reason}")
        return answer.read().decode()
    finally:
        connection.close()


class Sender:
    """Draws numbers, sends messages, and writes them down."""

    def __init__(self, installation: Installation) -> None:
        self._own = installation
        self._open: dict[str, Path] = {}
        self._left: list[tuple[str, int]] = []

    def begin(self, database: "psycopg.Connection[Any]") -> None:
        """Close what an end has left open, and find what was drawn and never written down."""
        self._open.clear()
        for path in self._own.logs("open"):
            path.rename(path.with_suffix(".log"))
        logged = {
            (path.stem.partition("-")[2], line.split()[0])
            for path in self._own.logs("log", "done")
            for line in path.read_text().splitlines()
        }
        drawn = database.execute(
            "SELECT deployment, number FROM message WHERE node = %s AND NOT sent ORDER BY number",
            [self._own.node],
        ).fetchall()
        self._left = [(name, number) for name, number in drawn if (name, str(number)) not in logged]
        if self._left:
            log.warning("sending what no storage log tells of: %s", len(self._left))

    def turn(self, database: "psycopg.Connection[Any]") -> None:
        """One message of each deployment that sends; the others' logs are closed."""
        sending = {
            name
            for (name,) in database.execute(
                "SELECT name FROM deployment WHERE active AND NOT flush"
            ).fetchall()
        }
        database.commit()
        for name in list(self._open):
            if name not in sending:
                self._close(name)
        again = [message for message in self._left if message[0] in sending]
        self._left = [message for message in self._left if message[0] not in sending]
        for name, number in again:
            with database.transaction():
                self._announce(database, name)
            self._send(name, number)
        for name in sorted(sending):
            drawn = self._draw(database, name)
            if drawn is not None:
                self._send(name, drawn)

    def end(self, database: "psycopg.Connection[Any]") -> None:
        """Close every log. QA diagnostics write a last record of each deployment, which nobody has asked for."""
        (diagnostic,) = database.execute(
            "SELECT value FROM setting WHERE name = 'qa_diagnostic'"
        ).fetchone() or ("OFF",)
        names = [name for (name,) in database.execute("SELECT name FROM deployment WHERE active").fetchall()]
        database.commit()
        for name in names if diagnostic == "ON" else ():
            with database.transaction():
                self._announce(database, name)
            self._write(name, "diagnostic")
        for name in list(self._open):
            self._close(name)

    def _draw(self, database: "psycopg.Connection[Any]", name: str) -> int | None:
        """The next number of a deployment; None when it has stopped sending meanwhile."""
        with database.transaction():
            drawn = database.execute(
                "UPDATE deployment SET last = last + 1 WHERE name = %s AND active AND NOT flush RETURNING last",
                [name],
            ).fetchone()
            if drawn is None:
                return None
            number = int(drawn[0])
            database.execute(
                "INSERT INTO message (deployment, number, campaign, node) VALUES (%s, %s, %s, %s)",
                [name, number, f"{name}-{number % 3}", self._own.node],
            )
            self._announce(database, name)
            return number

    def _announce(self, database: "psycopg.Connection[Any]", name: str) -> None:
        """Count a record in STORAGE_HISTORY before it is written, so that no record is ever unknown there."""
        path = self._open.get(name)
        if path is None:
            path = self._open[name] = self._own.storage / f"{time.time_ns()}-{name}.open"
            path.touch()
            database.execute(
                "INSERT INTO storage_history (deployment, node, file, status_code) VALUES (%s, %s, %s, %s)",
                [name, self._own.node, path.stem, WRITTEN],
            )
        database.execute(
            "UPDATE storage_history SET records = records + 1 WHERE node = %s AND file = %s",
            [self._own.node, path.stem],
        )

    def _send(self, name: str, number: int) -> None:
        """To the sink, until it has taken it; then it is written down."""
        said = f"{name} {number} {self._own.node}"
        signature = hmac.new(self._own.key, said.encode(), hashlib.sha256).hexdigest()
        while True:
            try:
                exchange(self._own.sink, "POST", said, {"X-Signature": signature})
                break
            except (OSError, http.client.HTTPException) as error:
                log.warning("the sink does not take %s %s: %s", name, number, error)
                time.sleep(PAUSE)
        self._write(name, str(number))

    def _write(self, name: str, record: str) -> None:
        path = self._open[name]
        with path.open("a") as file:
            file.write(f"{record} {time.time():.3f}\n")
            file.flush()
            os.fsync(file.fileno())
        if len(path.read_text().splitlines()) >= LINES:
            self._close(name)

    def _close(self, name: str) -> None:
        path = self._open.pop(name)
        path.rename(path.with_suffix(".log"))


class Storage:
    """Works the storage logs off into the database."""

    def __init__(self, installation: Installation) -> None:
        self._own = installation

    def begin(self, database: "psycopg.Connection[Any]") -> None:
        """Nothing: a log that was being worked off is worked off again, which changes nothing that is done."""

    def turn(self, database: "psycopg.Connection[Any]") -> None:
        """Work off every log that is closed."""
        for path in self._own.logs("log"):
            self._work_off(database, path)

    def end(self, database: "psycopg.Connection[Any]") -> None:
        """Nothing: what is left is worked off after the next start."""

    def _work_off(self, database: "psycopg.Connection[Any]", path: Path) -> None:
        name, records = (
            path.stem.partition("-")[2],
            [line.split()[0] for line in path.read_text().splitlines()],
        )
        whose = [self._own.node, path.stem]
        with database.transaction():
            database.execute(
                "UPDATE storage_history SET status_code = %s, records = %s WHERE node = %s AND file = %s",
                [WORKED_ON, len(records), *whose],
            )
        for record in records:
            if STOPPING.wait(float(self._own.fault("slow-storage") or 0) / 1000):
                return
            with database.transaction():
                if record != "diagnostic":
                    database.execute(
                        "UPDATE message SET sent = true WHERE deployment = %s AND number = %s",
                        [name, int(record)],
                    )
                database.execute(
                    "UPDATE storage_history SET records = records - 1 WHERE node = %s AND file = %s", whose
                )
        with database.transaction():
            database.execute(
                "UPDATE storage_history SET status_code = %s WHERE node = %s AND file = %s", [DONE, *whose]
            )
        path.rename(path.with_suffix(".done"))


STOPPING = threading.Event()


class Worker(threading.Thread):
    """Does one part of the work, turn by turn, and begins again with a new connection when the database fails it."""

    def __init__(self, installation: Installation, part: Sender | Storage) -> None:
        super().__init__(name=type(part).__name__.lower())
        self._own = installation
        self._part = part
        self.well = False

    def run(self) -> None:
        """Until the node stops."""
        while not STOPPING.is_set():
            try:
                with self._own.connect() as database:
                    self._part.begin(database)
                    database.commit()
                    while not STOPPING.wait(self._own.pace):
                        self._part.turn(database)
                        self.well = True
                    self._part.end(database)
            except psycopg.Error as error:
                self.well = False
                log.warning("%s: the database fails: %s", self.name, str(error).strip())
                STOPPING.wait(PAUSE)
            except Exception:
                log.exception("%s ends", self.name)
                os._exit(1)


def check_schema(installation: Installation) -> None:
    """Return when the schema is this release's, waiting for one that is not there yet.

    Raises:
        MisconfiguredError: it is another's.
    """
    wanted = SCHEMAS[installation.version]
    while not STOPPING.is_set():
        try:
            with installation.connect() as database:
                found = database.execute("SELECT schema FROM installation").fetchone()
        except psycopg.Error as error:
            log.warning("the database does not answer: %s", str(error).strip())
            STOPPING.wait(PAUSE)
            continue
        if found != (wanted,):
            raise MisconfiguredError(
                f"release {installation.version} needs schema {wanted}, and the database has {found and found[0]}"
            )
        return


class Node:
    """One node: its two workers, and the HTTP server beside them."""

    def __init__(self, installation: Installation) -> None:
        self.own = installation
        self.workers = [
            Worker(installation, Sender(installation)),
            Worker(installation, Storage(installation)),
        ]
        handler = type("BoundHandler", (Handler,), {"node": self})
        self._server = ThreadingHTTPServer((installation.address, installation.port), handler)

    def run(self) -> None:
        """Until SIGTERM."""
        if self.own.fault("fail-start") is not None:
            raise MisconfiguredError("a fault says: do not start")
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=self._stop).start())
        beginning = threading.Thread(target=self._begin, daemon=True)
        beginning.start()
        self._server.serve_forever(poll_interval=0.05)
        self._server.server_close()
        beginning.join(5)
        for worker in self.workers:
            if worker.is_alive():
                worker.join()
        log.info("stopped with %s unflushed", self.own.unflushed())

    def _begin(self) -> None:
        try:
            check_schema(self.own)
        except MisconfiguredError as error:
            log.error("%s", error)  # noqa: TRY400  # the trace says nothing
            os._exit(EX_CONFIG)
        except Exception:
            log.exception("the start ends")
            os._exit(1)
        if not STOPPING.wait(self.own.startup):
            for worker in self.workers:
                worker.start()

    def _stop(self) -> None:
        STOPPING.set()
        self._server.shutdown()


class Handler(BaseHTTPRequestHandler):
    """How the node is."""

    node: Node

    def do_GET(self) -> None:
        """Answer GET."""
        own = self.node.own
        content: dict[str, Any] = {"node": own.node, "version": own.version}
        status = 200
        if self.path == "/health":
            status = 200 if all(worker.well for worker in self.node.workers) else 503
        elif self.path == "/status":
            content["unflushed"] = own.unflushed()
        elif self.path != "/version":
            status = 404
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """No line per request."""


def clean(installation: Installation) -> None:
    """Remove the storage logs."""
    for path in installation.logs("open", "log", "done"):
        path.unlink()


def account(installation: Installation) -> dict[str, Any]:
    """What came of all messages that were drawn before; what has not arrived within `ON_ITS_WAY` seconds is lost."""
    arrived = _arrived(installation)
    with installation.connect() as database:
        rows = database.execute("SELECT deployment, number, sent FROM message WHERE number > 0").fetchall()
    recorded = {(name, str(number)): sent for name, number, sent in rows}
    highest: dict[str, int] = {}
    for name, number in (*arrived, *recorded):
        highest[name] = max(highest.get(name, 0), int(number))
    drawn = {(name, str(number)) for name, last in highest.items() for number in range(1, last + 1)}
    end = time.monotonic() + ON_ITS_WAY
    while drawn - set(arrived) and time.monotonic() < end:
        time.sleep(PAUSE)
        arrived = _arrived(installation)
    return {
        "messages": len(drawn),
        "lost": sorted(" ".join(message) for message in drawn - set(arrived)),
        "doubled": sorted(" ".join(message) for message, times in arrived.items() if times > 1),
        "unrecorded": len([message for message in drawn if not recorded.get(message)]),
    }


def _arrived(installation: Installation) -> "Counter[tuple[str, str]]":
    lines = exchange(installation.sink, "GET").splitlines()
    return Counter((name, number) for name, number, _ in map(str.split, lines))


def main(command: str) -> int:
    """Do what the command line says."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        installation = Installation()
        if command == "run":
            Node(installation).run()
        elif command == "clean":
            clean(installation)
        else:
            said = installation.unflushed() if command == "unflushed" else account(installation)
            sys.stdout.write(json.dumps(said) + "\n")
    except MisconfiguredError as error:
        log.error("%s", error)  # noqa: TRY400  # the trace says nothing
        return EX_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
