"""An embedded lab of one node for the tests of the application."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from changeover.lab import Form, Layout, down, up
from changeover.lab.embedded import Embedded
from changeover.lab.layout import APP_PORT
from changeover.lab.releases import contents
from changeover.lab.service import Service


@dataclass
class Node:
    """The one node of an embedded lab, and its database."""

    lab: Embedded
    address: str
    directory: Path

    def request(
        self, method: str, path: str, body: object = None, cookie: str = ""
    ) -> tuple[int, dict[str, Any], str]:
        """Return status, content and cookie of one request to the node, past the balancer."""
        connection = http.client.HTTPConnection(self.address, APP_PORT, timeout=10)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Cookie": cookie} if cookie else {})
            answer = connection.getresponse()
            content = json.loads(answer.read())
            return answer.status, content, (answer.getheader("Set-Cookie") or "").partition(";")[0]
        finally:
            connection.close()

    def switch(self, release: str) -> None:
        """Stop the node, put a release in place, start it without waiting for its health."""
        service = Service(self.directory)
        service.end()
        for path, data in contents(release).items():
            target = self.directory / "releases" / release / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        (self.directory / "current").unlink()
        (self.directory / "current").symlink_to(f"releases/{release}")
        service.call("start")

    def fault(self, name: str, value: str = "") -> None:
        """Switch a fault on."""
        (self.directory / "faults" / name).write_text(value)

    def migrate(self, stage: str) -> None:
        """Apply v2's migrations of a stage as the application's user."""
        for path, data in contents("v2").items():
            if path.startswith(f"migrations/{stage}/") and not path.endswith(".down.sql"):
                self.sql(data.decode())

    def sql(self, statement: str) -> None:
        """Run a statement in the application's database."""
        with self.connect() as connection:
            connection.execute(statement.encode())

    def connect(self) -> psycopg.Connection:
        """Return a connection to the application's database as its user."""
        access = json.loads(self.lab.directory.credentials.read_text())
        settings = {key: access[key] for key in ("host", "port", "user", "password")}
        return psycopg.connect(dbname=access["name"], **settings)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The lab's commands take over Ctrl-C and SIGTERM of their process, which is the tests' here."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    """An embedded lab with one node that starts in 0.1 s."""
    layout = Layout(name=f"unit-{os.getpid()}", nodes=1, form=Form.EMBEDDED, startup_seconds=0.1)
    lab = up(layout)
    assert isinstance(lab, Embedded)
    try:
        yield lab
    finally:
        down(layout.name)


@pytest.fixture
def node(embedded: Embedded) -> Node:
    """The node as at first: v1, healthy, no faults, an empty database."""
    embedded.reset()
    member = embedded.layout.member("app1")
    return Node(embedded, member.address, embedded.directory.host("app1"))
