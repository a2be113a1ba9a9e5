"""The application through its bindings: shell lines, HTTP requests, SQL statements, files and systemd units."""

import asyncio
import json
import math
import re
import shlex
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from urllib.parse import quote

import msgspec

from changeover.drivers import answers, lines, shell, systemd
from changeover.drivers.http import Http as HttpClient
from changeover.drivers.http import Reply
from changeover.drivers.lines import Line
from changeover.drivers.secrets import Secrets
from changeover.drivers.template import check_shell, fill, fill_shell, fill_sql
from changeover.errors import ApplicationError, BusyError, LockTimeoutError, PortError, SpecError
from changeover.model.release import Release
from changeover.model.site import Binding, File, Http, Node, Shell, Site, Sql, Unit
from changeover.model.templates import values_of
from changeover.model.values import Secret
from changeover.model.words import count
from changeover.ports import Answer, Command, Database, Host, Result

ASK_SECONDS = 30.0
DO_SECONDS = 3600.0
"""How long a change may take when nobody says how long."""

EVIDENCE = 500
"""How many characters evidence has at most. The end is kept: that is where programs say what went wrong."""


def create(
    site: Site,
    release: Release,
    *,
    secrets: Secrets,
    hosts: Mapping[str, Host],
    databases: Mapping[str, Database],
) -> "Bindings":
    """The factory behind the entry point `application.bindings`.

    Raises:
        SpecError: a binding that could never be used: a placeholder where quoting would not hold, or a pattern
            that is none.
    """
    for capability, binding in site.application.capabilities.items():
        try:
            if isinstance(binding, Shell):
                check_shell(binding.command)
            re.compile(getattr(binding, "match", ""))
        except ApplicationError as error:
            raise SpecError(f"{capability}: {error.message}", hint=error.hint) from None
        except re.error as error:
            raise SpecError(f"{capability}: its match is not a regular expression: {error}") from None
    return Bindings(site, release, secrets=secrets, hosts=hosts, databases=databases)


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a binding: for which capability, on which node, with which values in its templates.

    `lock` names the node and what the use is about: two changes of that must not be at work at once.
    """

    capability: str
    node: Node
    values: Mapping[str, str]
    lock: str = ""


class Bindings:
    """The `Application` port: each capability is performed or asked as its binding says.

    What the hosts and databases raise meanwhile becomes an `ApplicationError`, but for a lock timeout.
    """

    def __init__(
        self,
        site: Site,
        release: Release,
        *,
        secrets: Secrets,
        hosts: Mapping[str, Host],
        databases: Mapping[str, Database],
    ) -> None:
        self._site = site
        self._release = release
        self._secrets = secrets
        self._hosts = hosts
        self._databases = databases
        self._http = HttpClient()
        self._seen: dict[str, dict[str, tuple[float, Answer]]] = {}

    def can(self, capability: str) -> bool:
        """Whether that capability has a binding."""
        return capability in self._site.application.capabilities

    async def do(self, capability: str, node: str, *, timeout: float = DO_SECONDS, **values: str) -> str:
        """Perform it and return the evidence; `ApplicationError` if the binding did not succeed."""
        binding = self._binding(capability)
        self._seen.pop(node, None)
        async with self._use(capability, node, values) as use:
            match binding:
                case Http():
                    answer = self._http_answer(binding, await self._request(binding, use))
                case Sql():
                    rows = await self._query(binding, use)
                    answer = Answer(True, "", count(len(rows), "row"))
                case File(link=None):
                    answer = await self._put(binding, use)
                case _:
                    line = await self._change(binding, use, timeout)
                    answer = line.read(await self._run(line, line.command.line))
            return self._succeeded(answer)

    async def do_then_ask(
        self, capability: str, question: str, node: str, *, timeout: float = DO_SECONDS, **values: str
    ) -> tuple[str, Answer | None]:
        """Perform it, then ask that: in one command where both are lines for the same host's shell."""
        change, look = self._binding(capability), self._binding(question)
        if isinstance(change, Shell | File | Unit) and not (isinstance(change, File) and change.link is None):
            async with self._use(capability, node, values) as use, self._use(question, node, {}) as about:
                line, asked = await self._change(change, use, timeout), await self._look(look, about)
                if asked and line.joins(asked):
                    self._seen.pop(node, None)
                    return await self._do_then_ask(line, asked, question, node, same=change == look)
        said = await self.do(capability, node, timeout=timeout, **values)
        try:
            return said, await self.ask(question, node)
        except ApplicationError:
            return said, None

    async def _do_then_ask(
        self, line: Line, asked: Line, question: str, node: str, *, same: bool
    ) -> tuple[str, Answer | None]:
        """In one command; a systemd unit that was told something has said how it is."""
        together = shell.then(line.command.line, asked.command.line, expect=line.expect)
        result = await self._run(line, line.command.line if same else together)
        done, answered = (result, result) if same else shell.parted(result)
        said = self._succeeded(line.read(done))
        try:
            answer = asked.read(answered) if answered else None
        except PortError:
            answer = None
        return said, self._remembered(question, node, answer) if answer else None

    async def ask(self, capability: str, node: str, **values: str) -> Answer:
        """Ask it. An answer that is not well is an answer; only no answer at all is an error.

        Nobody listening, where HTTP is spoken, is an answer. Silence is one to `health` alone: a node that does
        not answer is not well, but nothing else can be told of it.
        """
        binding = self._binding(capability)
        async with self._use(capability, node, values) as use:
            match binding:
                case Http():
                    reply = await self._request(binding, use)
                    if reply.silent and capability != "health":
                        raise ApplicationError(f"{reply.asked}: {reply.said}")
                    answer = self._http_answer(binding, reply)
                case Sql():
                    rows = await self._query(binding, use)
                    value = str(rows[0][0]) if rows else ""
                    answer = Answer(bool(rows), value, value or "no row")
                case File(link=None):
                    answer = await self._read(binding, use)
                case _:
                    line = await self._look(binding, use)
                    assert line
                    answer = line.read(await self._run(line, line.command.line))
        return msgspec.structs.replace(answer, evidence=self._shown(answer.evidence))

    def recent(self, question: str, node: str, seconds: float) -> Answer | None:
        """The last answer of `do_then_ask`, if it is at most so old and nothing was performed on the node since."""
        at, answer = self._seen.get(node, {}).get(question, (-math.inf, None))
        return answer if asyncio.get_running_loop().time() - at <= seconds else None

    async def close(self) -> None:
        """Let go of every connection."""
        await self._http.close()

    def _binding(self, capability: str) -> Binding:
        binding = self._site.application.capabilities.get(capability)
        if binding is None:
            raise ApplicationError(
                f"{capability} is not bound",
                hint=f"bind {capability} under `application` to a shell line, an HTTP request, an SQL statement, "
                "a file or a systemd unit, or name a `pack` that does",
            )
        return binding

    @asynccontextmanager
    async def _use(self, capability: str, name: str, values: Mapping[str, str]) -> AsyncIterator[Use]:
        node = self._site.node(name)
        for given, value in values.items():
            if not value or {".", ".."} & set(value.split("/")):
                # Such a value would turn a path that is to be removed into another one.
                raise ApplicationError(f"{capability} on {name}: {given} cannot be {value!r}")
        filled = {**values_of(node, self._site, self._release), **values}
        try:
            about = sha256(json.dumps(filled, sort_keys=True).encode()).hexdigest()[:16]
            yield Use(capability, node, filled, f"{self._site.name}-{name}-{about}")
        except LockTimeoutError:
            raise
        except PortError as error:
            message = self._shown(f"{capability} on {name}: {error.message}")
            kind = BusyError if isinstance(error, BusyError) else ApplicationError
            raise kind(message, hint=self._secrets.redact(error.hint)) from None

    async def _change(self, binding: Shell | File | Unit, use: Use, timeout: float) -> Line:
        """The line that performs it."""
        host = self._hosts[use.node.host]
        match binding:
            case Shell():
                return await self._shell(
                    binding, use, timeout, partial(lines.status_answer, binding), changes=True
                )
            case File(link=str(link)):
                path, target = fill(binding.path, use.values), fill(link, use.values)
                line = Command(shell.set_link(path, target), binding.become, timeout=ASK_SECONDS)
                return Line(host, line, partial(lines.link_answer, f"{path} leads to {target}"))
            case Unit():
                if use.capability not in systemd.VERBS:
                    raise ApplicationError(
                        f"a systemd unit cannot {use.capability}",
                        hint=f"it can {', '.join(sorted(systemd.VERBS))}; bind {use.capability} to a shell line",
                    )
                unit = fill(binding.unit, use.values)
                line = Command(systemd.tell(use.capability, unit), binding.become, timeout=timeout)
                return Line(host, line, partial(lines.job_answer, unit))
        raise TypeError(binding)

    async def _look(self, binding: Binding, use: Use) -> Line | None:
        """The line that asks it, if it is one."""
        host = self._hosts[use.node.host]
        match binding:
            case Shell():
                return await self._shell(
                    binding, use, ASK_SECONDS, partial(lines.shell_answer, binding), changes=False
                )
            case File(link=str()):
                path = fill(binding.path, use.values)
                line = Command(shell.read_link(path), binding.become, timeout=ASK_SECONDS)
                return Line(host, line, partial(lines.target_answer, binding, path))
            case Unit():
                unit = fill(binding.unit, use.values)
                line = Command(systemd.show(unit), timeout=ASK_SECONDS)
                return Line(host, line, partial(lines.unit_answer, unit), by_anyone=True)
        return None

    async def _shell(
        self, binding: Shell, use: Use, timeout: float, read: Callable[[Result], Answer], *, changes: bool
    ) -> Line:
        filled = await self._filled(binding.env, use)
        secret = {name: filled[name] for name, value in binding.env.items() if isinstance(value, Secret)}
        plain = {name: value for name, value in filled.items() if name not in secret}
        exported = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in plain.items())
        line = exported + fill_shell(binding.command, use.values)
        host = self._hosts[binding.on or use.node.host]
        lock = use.lock if changes else ""
        if lock:
            line = shell.exclusive(line, lock)
        command = Command(line, become=binding.become, secrets=secret, timeout=timeout)
        return Line(host, command, read, binding.expect, lock)

    async def _run(self, line: Line, text: str) -> Result:
        """Run it. If the like of it is at work there already, see it to its end and begin nothing: `BusyError`."""
        result = await line.host.run(replace(line.command, line=text))
        if line.lock and result.status == shell.BUSY and shell.STILL_AT_WORK in result.stderr:
            free = replace(line.command, line=shell.until_free(line.lock), secrets={})
            await line.host.run(free)
            raise BusyError("what was begun before was still at work, and has ended now")
        return result

    async def _request(self, binding: Http, use: Use) -> Reply:
        return await self._http.send(
            binding.method,
            fill(binding.url, use.values, quote=_in_url),
            headers=await self._filled(binding.headers, use),
            body=fill(binding.body, use.values, quote=_in_json),
            timeout=binding.timeout,
            verify_tls=binding.verify_tls,
            via=self._hosts[use.node.host] if binding.via == "host" else None,
        )

    async def _filled(self, texts: Mapping[str, str | Secret], use: Use) -> dict[str, str]:
        return {
            name: await self._secrets.resolve(text, f"{name} of {use.capability}", ApplicationError)
            if isinstance(text, Secret)
            else fill(text, use.values)
            for name, text in texts.items()
        }

    @staticmethod
    def _http_answer(binding: Http, reply: Reply) -> Answer:
        if reply.status not in binding.expect:
            return Answer(False, "", f"{reply.asked}: {reply.said}")
        if binding.json:
            value = answers.at_path(binding.json, reply.text)
            where = f"nothing at {binding.json}"
        else:
            value = answers.matched(binding.match, reply.text) if binding.match else ""
            where = f"nothing like {binding.match}"
        if value is None:
            return Answer(False, "", f"{reply.asked}: {reply.said}, {where} in the answer")
        return Answer(True, value, f"{reply.asked}: {reply.said}{f', {value}' if value else ''}")

    async def _query(self, binding: Sql, use: Use) -> list[tuple[object, ...]]:
        return await self._databases[binding.database].query(fill_sql(binding.statement, use.values))

    async def _put(self, binding: File, use: Use) -> Answer:
        path, host = fill(binding.path, use.values), self._hosts[use.node.host]
        if binding.content is None:
            raise ApplicationError(
                f"{path} cannot be written: the binding has no content", hint="give `content` or `link`"
            )
        content = fill(binding.content, use.values).encode()
        await host.write(path, content, mode=binding.mode, become=binding.become)
        return Answer(True, "", f"wrote {count(len(content), 'byte')} to {path}")

    async def _read(self, binding: File, use: Use) -> Answer:
        path, host = fill(binding.path, use.values), self._hosts[use.node.host]
        content = await host.read(path, become=binding.become)
        if content is None:
            return Answer(False, "", f"there is no {path}")
        return lines.file_answer(binding, path, content.decode(errors="replace"))

    def _succeeded(self, answer: Answer) -> str:
        if not answer.ok:
            raise ApplicationError(answer.evidence, hint="see the node's log, mend it, and retry")
        return self._shown(answer.evidence)

    def _remembered(self, question: str, node: str, answer: Answer) -> Answer:
        answer = msgspec.structs.replace(answer, evidence=self._shown(answer.evidence))
        self._seen.setdefault(node, {})[question] = asyncio.get_running_loop().time(), answer
        return answer

    def _shown(self, text: str) -> str:
        return " ".join(self._secrets.redact(text).split())[-EVIDENCE:]


def _in_url(value: str) -> str:
    return quote(value, safe=":.[]-_~")


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]
