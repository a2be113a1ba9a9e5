"""The contract of the Application port, against real programs, HTTP servers, files, a database and systemd."""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from changeover.drivers import bindings as driver
from changeover.drivers.local import LocalHost
from changeover.drivers.secrets import Secrets
from changeover.drivers.ssh import SshHost
from changeover.errors import ApplicationError, BusyError, DatabaseError, LockTimeoutError, SpecError
from changeover.model.release import Release
from changeover.model.site import (
    Application,
    Become,
    Binding,
    File,
    HostConfig,
    Http,
    Node,
    Shell,
    Site,
    Sql,
    Ssh,
    Unit,
)
from changeover.model.values import Secret
from changeover.ports import Answer, Command, Host, Result
from tests.labkit import LabUnderTest, lab, lab_session
from tests.sshdkit import PrivateSshd, free_port, sshd

__all__ = ["lab", "lab_session", "sshd"]

CANARY = "canary-7c2f e'\"$x\nline two"
VALUES = ["; rm -rf /", "$(touch attacked)", "`id`", "it's", 'a "b"', "two\nlines", "漢字"]


class Rows:
    """A database that answers from SQLite: all that a binding asks of the port is `query`."""

    name = "main"

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:")

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        if statement == "locked":
            raise LockTimeoutError("no lock within 2 s")
        try:
            return self._connection.execute(statement).fetchall()
        except sqlite3.Error as error:
            raise DatabaseError(str(error)) from None

    def close(self) -> None:
        self._connection.close()


@dataclass
class Subject:
    """The driver's factory, with one node `n1` on a host; `host` sees the same files as the test."""

    host: Host
    directory: Path
    databases: dict[str, Rows]
    secrets: Secrets = field(default_factory=Secrets)
    made: list[driver.Bindings] = field(default_factory=list)

    def application(
        self, variables: Mapping[str, str] | None = None, **capabilities: Binding
    ) -> driver.Bindings:
        site = Site(
            name="s",
            hosts=(HostConfig(name="app1", address="127.0.0.1"),),
            application=Application(
                name="app",
                nodes=(Node(name="n1", host="app1", variables={"port": "80", "where": "node"}),),
                capabilities=capabilities,
                variables={"base": str(self.directory), "where": "application", **(variables or {})},
            ),
        )
        release = Release(
            from_version="1", to_version="2", variables={"channel": "stable", "where": "release"}
        )
        made = driver.create(
            site,
            release,
            secrets=self.secrets,
            hosts={"app1": self.host},
            databases=self.databases,  # type: ignore[arg-type]
        )
        self.made.append(made)
        return made


@pytest.fixture(params=["local", "ssh"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """On this machine, and through OpenSSH."""
    host: Host
    directory = tmp_path
    if request.param == "local":
        host = LocalHost(HostConfig(name="app1", address=""), secrets=Secrets())
    else:
        server: PrivateSshd = request.getfixturevalue("sshd")
        host = SshHost(server.config(), secrets=Secrets(), hosts={})
        directory = server.directory / tmp_path.name
        directory.mkdir()
        directory.chmod(0o777)
    rows = Rows()
    subject = Subject(host, directory, {"main": rows})
    yield subject
    for made in subject.made:
        await made.close()
    rows.close()
    await host.close()


async def test_a_capability_without_a_binding_is_named(subject: Subject) -> None:
    """With what could bind it."""
    application = subject.application(start=Shell(command="true"))
    assert application.can("start")
    assert not application.can("flush")
    with pytest.raises(ApplicationError, match="flush is not bound") as caught:
        await application.do("flush", "n1")
    assert "shell line" in caught.value.hint


async def test_a_shell_line_is_done(subject: Subject) -> None:
    """Its output is the evidence, together with its exit status."""
    application = subject.application(
        install=Shell(command="echo installed {release}; exit 3", expect=(0, 3))
    )
    assert await application.do("install", "n1", release="2.0") == "exit status 3: installed 2.0"


async def test_a_shell_line_that_fails_is_an_error_with_its_own_words(subject: Subject) -> None:
    """Capability, node, exit status and what it said."""
    application = subject.application(start=Shell(command="echo port in use >&2; exit 1"))
    with pytest.raises(ApplicationError) as caught:
        await application.do("start", "n1")
    assert caught.value.message == "start on n1: exit status 1: port in use"


async def test_a_shell_line_answers(subject: Subject) -> None:
    """With its output, with what a pattern finds in it, with its exit status, or not well."""
    application = subject.application(
        version=Shell(command="echo '  2.1  '"),
        release=Shell(command="echo /opt/releases/2.0", match="([^/]+)$"),
        lost=Shell(command="echo nothing", match="([0-9]+)"),
        running=Shell(command="exit 3"),
        expanded=Shell(command="exit {status}", answers={"0": "yes", "2": "no"}),
    )
    assert (await application.ask("version", "n1")).value == "2.1"
    assert (await application.ask("release", "n1")).value == "2.0"
    lost = await application.ask("lost", "n1")
    assert (lost.ok, lost.value, lost.evidence) == (
        False,
        "",
        "exit status 0: nothing, nothing like ([0-9]+)",
    )
    running = await application.ask("running", "n1")
    assert (running.ok, running.evidence) == (False, "exit status 3")
    yes = await application.ask("expanded", "n1", status="0")
    no = await application.ask("expanded", "n1", status="2")
    assert (yes.ok, yes.value, no.ok, no.value) == (True, "yes", False, "no")
    with pytest.raises(ApplicationError, match="expanded on n1: no answer: exit status 1"):
        await application.ask("expanded", "n1", status="1")


async def test_values_come_from_the_call_the_node_the_release_and_the_application(subject: Subject) -> None:
    """The nearer one wins."""
    line = "echo {node} {host} {address} {port} {channel} {where} {release}"
    application = subject.application(show=Shell(command=line))
    assert (await application.ask("show", "n1", release="2")).value == "n1 app1 127.0.0.1 80 stable node 2"
    assert (await application.ask("show", "n1", release="2", where="call")).value.split()[5] == "call"


async def test_a_value_that_is_missing_is_an_error(subject: Subject) -> None:
    """Naming it and the capability."""
    with pytest.raises(ApplicationError, match=r"version on n1: \{release\} has no value"):
        await subject.application(version=Shell(command="echo {release}")).ask("version", "n1")


@pytest.mark.parametrize("value", ["", "..", ".", "../..", "2/../../x"])
async def test_a_value_that_would_lead_elsewhere_is_refused(subject: Subject, value: str) -> None:
    """`rm -rf {base}/releases/{release}` removes one release or none."""
    application = subject.application(remove=Shell(command="rm -rf {base}/releases/{release}"))
    (subject.directory / "releases").mkdir()
    with pytest.raises(ApplicationError, match="remove on n1: release cannot be"):
        await application.do("remove", "n1", release=value)
    assert (subject.directory / "releases").is_dir()


@pytest.mark.parametrize("value", VALUES)
async def test_a_value_is_data_wherever_it_is_put(subject: Subject, value: str) -> None:
    """In a line, an environment variable, a file, its name, a link, a statement: never executed, never changed."""
    text = "".join(character for character in value if character not in "/\n")
    application = subject.application(
        line=Shell(command="cd {base}; printf %s {v}"),
        variable=Shell(command='cd {base}; printf %s "$V"', env={"V": "{v}"}),
        file=File(path="{base}/content", content="{v}"),
        named=File(path="{base}/{v}", content="x"),
        link=File(path="{base}/link", link="{v}"),
        sql=Sql(database="main", statement="SELECT '{v}'"),
    )
    assert (await application.ask("line", "n1", v=value)).value == value
    assert (await application.ask("variable", "n1", v=value)).value == value
    assert (await application.ask("sql", "n1", v=value)).value == value
    await application.do("file", "n1", v=value)
    await application.do("named", "n1", v=text)
    await application.do("link", "n1", v=text)
    assert (subject.directory / "content").read_text() == value
    assert (subject.directory / "link").readlink() == Path(text)
    assert {path.name for path in subject.directory.iterdir()} == {"content", text, "link"}


async def test_a_line_in_which_quoting_would_not_hold_is_refused_at_once(subject: Subject) -> None:
    """When the world is made, not when the step runs."""
    with pytest.raises(SpecError, match=r"install: \{release\} stands within quotes"):
        subject.application(install=Shell(command="install '{release}'"))
    with pytest.raises(SpecError, match="version: its match is not a regular expression"):
        subject.application(version=Shell(command="true", match="("))


async def test_secrets_reach_the_program_and_nothing_else(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not evidence, not errors, not the process list; whatever the program prints."""
    monkeypatch.setenv("APP_CANARY", CANARY)
    mark, go_on = subject.directory / "started", subject.directory / "go-on"
    wait = f"touch {mark}; while [ ! -e {go_on} ]; do sleep 0.01; done; "
    env = {"TOKEN": Secret(env="APP_CANARY")}
    application = subject.application(
        use=Shell(command=wait + 'printf %s "$TOKEN"; printf " and %s" "$TOKEN" >&2', env=env),
        fail=Shell(command='printf %s "$TOKEN" >&2; exit 1', env=env),
    )
    running = asyncio.create_task(application.ask("use", "n1"))
    async with asyncio.timeout(15):
        while not mark.exists():
            await asyncio.sleep(0.01)
    lists = b"".join(_argument_lists())
    go_on.touch()
    answer = await running
    assert answer.value == CANARY
    assert str(mark).encode() in lists
    assert b"canary-7c2f" not in lists
    assert answer.evidence == "exit status 0: and ***"
    with pytest.raises(ApplicationError) as caught:
        await application.do("fail", "n1")
    assert caught.value.message == "fail on n1: exit status 1: ***"
    assert "canary-7c2f" not in repr(application) + repr(subject.secrets)


async def test_a_secret_is_not_cut_in_two_by_the_end_of_the_evidence(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is blotted out before the evidence is shortened."""
    monkeypatch.setenv("APP_CANARY", "canary-7c2f")
    line = Shell(
        command='echo "$TOKEN"; head -c 494 /dev/zero | tr "\\0" x', env={"TOKEN": Secret(env="APP_CANARY")}
    )
    evidence = (await subject.application(version=line).ask("version", "n1")).evidence
    assert len(evidence) <= 500
    assert "2f" not in evidence


async def test_a_secret_that_is_not_there_is_an_error_that_says_where_it_was_looked_for(
    subject: Subject,
) -> None:
    """The reference is named, and what it was for."""
    line = Shell(command="true", env={"TOKEN": Secret(env="APP_NO_SUCH_VARIABLE")})
    with pytest.raises(
        ApplicationError, match="TOKEN of start: environment variable APP_NO_SUCH_VARIABLE is not set"
    ):
        await subject.application(start=line).do("start", "n1")


async def test_a_file_is_written_and_read(subject: Subject) -> None:
    """Done writes it, asked reads it, and one that is not there is not well."""
    path = subject.directory / "conf"
    application = subject.application(
        configure=File(path="{base}/conf", content="version = {release}\n", mode=0o600),
        version=File(path="{base}/conf", match="version = (.*)"),
    )
    assert not (await application.ask("version", "n1")).ok
    assert await application.do("configure", "n1", release="2") == f"wrote 12 bytes to {path}"
    assert path.stat().st_mode & 0o777 == 0o600 or os.geteuid() != path.stat().st_uid
    with pytest.raises(ApplicationError, match="has no content"):
        await application.do("version", "n1")


async def test_a_link_is_switched_in_one_step_and_read_back(subject: Subject) -> None:
    """Replacing one that leads to a directory too; what is there already is set again without harm."""
    (subject.directory / "1").mkdir()
    application = subject.application(switch=File(path="{base}/current", link="{release}"))
    assert not (await application.ask("switch", "n1")).ok
    for release in ("1", "2", "2"):
        await application.do("switch", "n1", release=release)
        answer = await application.ask("switch", "n1")
        assert (answer.ok, answer.value) == (True, release)
    assert not list((subject.directory / "1").iterdir())


async def test_a_statement_is_done_and_asked(subject: Subject) -> None:
    """The answer is the first column of the first row; no row is not well; what the database refuses is an error."""
    application = subject.application(
        flush=Sql(database="main", statement="CREATE TABLE t (n)"),
        count=Sql(database="main", statement="SELECT count(*), 'x' FROM t"),
        none=Sql(database="main", statement="SELECT n FROM t"),
        wrong=Sql(database="main", statement="SELEKT"),
        locked=Sql(database="main", statement="locked"),
    )
    assert await application.do("flush", "n1") == "0 rows"
    assert (await application.ask("count", "n1")).value == "0"
    assert not (await application.ask("none", "n1")).ok
    with pytest.raises(ApplicationError, match='wrong on n1: near "SELEKT"'):
        await application.ask("wrong", "n1")
    with pytest.raises(LockTimeoutError):
        await application.do("locked", "n1")


class Responder:
    """An HTTP server: answers with `reply`, keeps the requests it has seen."""

    def __init__(self) -> None:
        self.status, self.body, self.silent = 200, "{}", False
        self.requests: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(line[16:]) for line in head.splitlines() if line.lower().startswith("content-length: ")),
                0,
            )
            self.requests.append(head + (await reader.readexactly(length)).decode())
            if self.silent:
                await reader.read()
            else:
                body = self.body.encode()
                writer.write(b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n" % (self.status, len(body)))
                for start in range(0, len(body), 1000):
                    writer.write(body[start : start + 1000])
                    await writer.drain()
        writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Responder]:
    """The server; it has answered everyone when this ends."""
    answering, tasks = Responder(), set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(answering.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    answering.port = server.sockets[0].getsockname()[1]
    async with server:
        yield answering
    await asyncio.gather(*tasks)


via = pytest.mark.parametrize("via", ["conductor", "host"])


@via
async def test_http_is_asked(subject: Subject, via: str) -> None:
    """The expected status is well; a value is found by path or by pattern, in long answers too."""
    async with serving() as server:
        base = f"http://{{address}}:{server.port}"
        application = subject.application(
            health=Http(url=f"{base}/health", via=via),
            version=Http(url=f"{base}/version", json="versions.0.id", via=via),
            sessions=Http(url=f"{base}/sessions", match="sessions=([0-9]+)", via=via),
        )
        health = await application.ask("health", "n1")
        assert (health.ok, health.evidence) == (True, f"GET http://127.0.0.1:{server.port}/health: 200 Said")
        server.body = json.dumps({"padding": "x" * 200_000, "versions": [{"id": "v3.14"}]})
        assert (await application.ask("version", "n1")).value == "v3.14"
        server.body = "active sessions=17 now"
        assert (await application.ask("sessions", "n1")).value == "17"
        version = await application.ask("version", "n1")
        assert (version.ok, version.value) == (False, "")
        assert version.evidence.endswith("200 Said, nothing at versions.0.id in the answer")
        server.status = 503
        health = await application.ask("health", "n1")
        assert (health.ok, health.evidence[-8:]) == (False, "503 Said")


@via
async def test_http_is_done(subject: Subject, via: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Method, headers, secrets and a body whose values are JSON; another status is an error."""
    monkeypatch.setenv("APP_CANARY", "canary-7c2f")
    value = 'a "b"/x/c?d&e#f'
    async with serving() as server:
        flush = Http(
            url=f"http://127.0.0.1:{server.port}/flush/{{v}}?all={{v}}",
            method="POST",
            headers={"X-Auth-Token": Secret(env="APP_CANARY"), "Content-Type": "application/json"},
            body='{"reason": "{v}", "all": true}',
            expect=(202,),
            via=via,
        )
        application = subject.application(flush=flush)
        server.status, server.body = 202, "canary-7c2f"
        evidence = await application.do("flush", "n1", v=value)
        head, _, body = server.requests[0].partition("\r\n\r\n")
        method, target, *_ = head.split(" ", 2)
        path, _, query = target.partition("?")
        assert (method, path.count("/"), unquote(path)) == ("POST", 2, f"/flush/{value}")
        assert parse_qs(query) == {"all": [value]}
        assert f"\r\nHost: 127.0.0.1:{server.port}\r\n" in head
        assert "X-Auth-Token: canary-7c2f\r\n" in head
        assert json.loads(body) == {"reason": value, "all": True}
        assert "canary-7c2f" not in evidence
        server.status = 500
        with pytest.raises(ApplicationError, match=r"flush on n1: POST .*: 500 Said"):
            await application.do("flush", "n1", v="x")


async def test_nobody_listening_is_an_answer(subject: Subject) -> None:
    """Whoever asks: it is not well, it does not run."""
    url = f"http://127.0.0.1:{free_port()}/"
    application = subject.application(health=Http(url=url), running=Http(url=url))
    for capability in ("health", "running"):
        answer = await application.ask(capability, "n1")
        assert not answer.ok
        assert "refused" in answer.evidence.lower() or "Connect call failed" in answer.evidence


async def test_silence_is_an_answer_to_health_alone(subject: Subject) -> None:
    """A node that hangs is not well; whether it runs, and what, cannot be told from that."""
    async with serving() as server:
        server.silent = True
        url = f"http://127.0.0.1:{server.port}/"
        application = subject.application(
            health=Http(url=url, timeout=0.2), running=Http(url=url, timeout=0.2)
        )
        health = await application.ask("health", "n1")
        assert (health.ok, health.evidence) == (False, f"GET {url}: no answer within 0.2 s")
        with pytest.raises(ApplicationError, match=r"running on n1: GET .*: no answer within 0.2 s"):
            await application.ask("running", "n1")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http:///x", "ftp://127.0.0.1/x"])
async def test_a_request_that_cannot_be_sent_is_an_error(subject: Subject, url: str) -> None:
    """Not a traceback."""
    with pytest.raises(ApplicationError):
        await subject.application(version=Http(url=url)).ask("version", "n1")


async def test_a_header_cannot_be_made_two(subject: Subject) -> None:
    """A value with a line break in it is refused."""
    async with serving() as server:
        http = Http(url=f"http://127.0.0.1:{server.port}/", headers={"X": "{v}"})
        with pytest.raises(ApplicationError, match="cannot send"):
            await subject.application(version=http).ask("version", "n1", v="a\r\nY: b")
        assert server.requests == []


async def test_what_a_host_cannot_do_is_an_error_of_the_application(subject: Subject) -> None:
    """It names the capability and the node, and keeps what the host said."""
    application = subject.application(install=File(path="/nowhere/at/all", content="x"))
    with pytest.raises(ApplicationError, match="install on n1: app1: cannot write /nowhere/at/all"):
        await application.do("install", "n1")


async def test_a_unit_knows_four_verbs(subject: Subject) -> None:
    """Another capability cannot be bound to one."""
    with pytest.raises(ApplicationError, match="a systemd unit cannot install"):
        await subject.application(install=Unit(unit="x.service")).do("install", "n1")


UNIT = Unit(unit="{name}.service")


# What is at work already


MARK = "echo in >>{base}/log; while [ ! -e {base}/go ]; do sleep 0.01; done; echo out >>{base}/log"


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def counting(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that the host runs from now on."""
    ran: list[str] = []
    run = host.run

    async def counted(command: Command) -> Result:
        ran.append(command.line)
        return await run(command)

    monkeypatch.setattr(host, "run", counted)
    return ran


async def test_nothing_is_begun_beside_what_a_conductor_that_is_gone_has_begun(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the end of the first, and says so; what it left is for whoever looks then."""
    log, ran = subject.directory / "log", counting(subject.host, monkeypatch)
    application = subject.application(install=Shell(MARK), remove=Shell("echo removed >>{base}/log"))
    first = asyncio.create_task(application.do("install", "n1", release="2"))
    await _until(log.exists)
    if isinstance(subject.host, SshHost):  # it dies; the line on the host hears nothing of that
        link = subject.host._link
        assert link
        link.connection.abort()
        with pytest.raises(ApplicationError, match="connection was lost"):
            await first
    second = asyncio.create_task(application.do("remove", "n1", release="2"))
    await _until(lambda: "until flock" in ran[-1])
    await application.do("remove", "n1", release="3")  # what is about something else goes on meanwhile
    assert log.read_text().split() == ["in", "removed"]
    (subject.directory / "go").touch()
    with pytest.raises(BusyError, match=r"remove on n1: what was begun before .* has ended now"):
        await second
    assert log.read_text().split() == ["in", "removed", "out"]
    await application.do("remove", "n1", release="2")
    assert log.read_text().split()[-2:] == ["out", "removed"]
    await asyncio.gather(first, return_exceptions=True)


async def test_what_a_line_leaves_in_the_background_holds_nothing_up(subject: Subject) -> None:
    """A server that a line starts does not keep the next line from being run."""
    application = subject.application(
        start=Shell("setsid sleep 30 </dev/null >/dev/null 2>&1 & echo $! >{base}/pid"),
        stop=Shell("kill $(cat {base}/pid)"),
    )
    await application.do("start", "n1")
    await application.do("stop", "n1")


# Doing and asking at once


def lines(*, ask: Binding) -> dict[str, Any]:
    """To write a file, and to read it."""
    return {
        "write": Shell("echo {word} >{base}/word; echo written; echo careful >&2", expect=(0, 3)),
        "word": ask,
    }


async def test_a_question_is_asked_along_with_the_change(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one command of the host; each has its own words."""
    ran = counting(subject.host, monkeypatch)
    application = subject.application(**lines(ask=Shell("cat {base}/word")))
    said, answer = await application.do_then_ask("write", "word", "n1", word="blue")
    assert said == "exit status 0: careful"
    assert answer == Answer(True, "blue", "exit status 0: blue")
    assert len(ran) == 1
    assert application.recent("word", "n1", 60) == answer
    assert application.recent("word", "n1", -1) is None
    await application.do("write", "n1", word="red")
    assert application.recent("word", "n1", 60) is None


async def test_a_change_that_fails_is_asked_nothing_about(subject: Subject) -> None:
    """Its error is its own, and the question is not mistaken for it."""
    application = subject.application(
        write=Shell("echo no room >&2; exit 4", expect=(0, 3)), word=Shell("touch {base}/asked")
    )
    with pytest.raises(ApplicationError, match="exit status 4: no room"):
        await application.do_then_ask("write", "word", "n1")
    assert not (subject.directory / "asked").exists()


async def test_a_question_without_an_answer_leaves_the_change_done(subject: Subject) -> None:
    """Whether both went in one command or not: whoever wants to know asks again."""
    for ask in (Shell("exit 9"), File("{base}")):
        application = subject.application(**lines(ask=ask))
        said, answer = await application.do_then_ask("write", "word", "n1", word="green")
        assert (said, answer) == ("exit status 0: careful", None)
        assert (subject.directory / "word").read_text() == "green\n"


async def test_a_link_is_switched_and_read_back_at_once(subject: Subject) -> None:
    """As the actions do it."""
    link: dict[str, Any] = {
        "switch": File("{base}/current", link="releases/{release}"),
        "release": Shell("readlink {base}/current", match="([^/]+)/?$"),
    }
    said, answer = await subject.application(**link).do_then_ask("switch", "release", "n1", release="v2")
    assert said.endswith("/current leads to releases/v2")
    assert answer
    assert answer.value == "v2"


@pytest.fixture
async def unit(lab: LabUnderTest) -> AsyncIterator[driver.Bindings]:
    """The driver over units of a lab host whose systemd is the real one: `good`, `bad`, `slow`."""
    node = lab.nodes[0]
    for name, run, more in (
        ("good", "sleep infinity", ""),
        ("bad", "echo the port is in use; exit 7", ""),
        ("slow", "trap 'sleep 1; exit' TERM; while :; do sleep 0.1; done", "KillMode=mixed\n"),
        ("crashing", "sleep 0.3; exit 3", "Restart=always\nRestartSec=60\n"),
    ):
        text = (
            f'[Service]\n{more}ExecStart=/bin/sh -c "{run}"\nType={"oneshot" if name == "bad" else "exec"}\n'
        )
        lab.run_on(node, f"cat >/run/systemd/system/{name}.service <<'END'\n{text}END\n")
    lab.run_on(node, "systemctl daemon-reload")
    ssh = Ssh(user="deploy", key=str(lab.key), known_hosts=str(lab.known_hosts))
    config = HostConfig(name=node, address=lab.addresses[node], ssh=ssh, become=Become())
    host = SshHost(config, secrets=Secrets(), hosts={})
    capabilities = dict.fromkeys(("start", "stop", "restart", "reload", "running"), UNIT)
    nodes = (Node("n1", node), *(Node(name, node, variables={"name": name}) for name in ("good", "slow")))
    application = Application(name="app", nodes=nodes, capabilities=capabilities)
    made = driver.create(
        Site(name="s", hosts=(config,), application=application),
        Release(from_version="1", to_version="2"),
        secrets=Secrets(),
        hosts={node: host},
        databases={},
    )
    yield made
    await made.close()
    await host.close()
    for name in ("good", "bad", "slow", "crashing"):
        lab.run_on(node, f"systemctl stop {name}; rm /run/systemd/system/{name}.service")
    lab.run_on(node, "systemctl daemon-reload; systemctl reset-failed")


@pytest.mark.lab
async def test_a_unit_is_started_asked_and_stopped(unit: driver.Bindings) -> None:
    """The evidence is systemd's own state of it; done again changes nothing."""
    stopped = await unit.ask("running", "n1", name="good")
    assert (stopped.ok, stopped.value, stopped.evidence) == (
        False,
        "inactive",
        "good.service: inactive (dead)",
    )
    for _ in range(2):
        evidence = await unit.do("start", "n1", name="good")
        assert evidence.startswith("good.service: active (running), process ")
        running = await unit.ask("running", "n1", name="good")
        assert (running.ok, running.value, running.evidence) == (True, "active", evidence)
    assert (await unit.do("restart", "n1", name="good")) != evidence
    for _ in range(2):
        assert await unit.do("stop", "n1", name="good") == "good.service: inactive (dead)"


@pytest.mark.lab
async def test_a_unit_that_was_told_something_has_said_how_it_is(
    unit: driver.Bindings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not asked a second time: what systemd says after the job is the answer."""
    ran = counting(next(iter(unit._hosts.values())), monkeypatch)
    for node in ("good", "slow"):
        for capability, runs in (("start", True), ("stop", False)):
            said, answer = await unit.do_then_ask(capability, "running", node)
            assert answer
            assert (answer.ok, answer.evidence) == (runs, said)
            assert unit.recent("running", node, 60) == answer
    assert len(ran) == 4


@pytest.mark.lab
async def test_a_unit_that_fails_shows_the_end_of_its_log(unit: driver.Bindings) -> None:
    """What it said itself is in the error; asked, it does not run, with how it ended."""
    with pytest.raises(
        ApplicationError, match=r"start on n1: bad.service: exit status 1: .*the port is in use"
    ):
        await unit.do("start", "n1", name="bad")
    answer = await unit.ask("running", "n1", name="bad")
    assert (answer.ok, answer.evidence) == (False, "bad.service: failed (failed): exit-code 7")


@pytest.mark.lab
async def test_a_unit_that_takes_its_time_to_stop_is_waited_for(unit: driver.Bindings) -> None:
    """While it is stopping it still runs; `stop` returns when it has."""
    await unit.do("start", "n1", name="slow")
    stopping = asyncio.create_task(unit.do("stop", "n1", name="slow"))
    async with asyncio.timeout(10):
        while (seen := await unit.ask("running", "n1", name="slow")).value == "active":
            await asyncio.sleep(0.02)
    assert (seen.ok, seen.value) == (True, "deactivating")
    assert "inactive" in await stopping or "failed" in await stopping
    assert not (await unit.ask("running", "n1", name="slow")).ok


@pytest.mark.lab
async def test_a_unit_between_two_restarts_does_not_run(unit: driver.Bindings) -> None:
    """Systemd calls it activating; there is no process."""
    await unit.do("start", "n1", name="crashing")
    async with asyncio.timeout(10):
        while (seen := await unit.ask("running", "n1", name="crashing")).value == "active":
            await asyncio.sleep(0.02)
    assert (seen.ok, seen.evidence) == (False, "crashing.service: activating (auto-restart): exit-code 3")


@pytest.mark.lab
async def test_a_unit_that_is_not_there_is_an_error(unit: driver.Bindings) -> None:
    """A name that is mistyped does not pass for a unit that does not run."""
    with pytest.raises(ApplicationError, match=r"nosuch.service: systemd says it is not-found"):
        await unit.ask("running", "n1", name="nosuch")
    with pytest.raises(ApplicationError, match=r"nosuch.service: exit status 5: .*not found"):
        await unit.do("start", "n1", name="nosuch")
    with pytest.raises(ApplicationError, match=r"exit status 5"):
        await unit.do("stop", "n1", name="x; touch /attacked")


def _argument_lists() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return found
