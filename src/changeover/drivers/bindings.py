"""The application through its bindings: shell lines, HTTP requests, SQL statements, files and systemd units."""

import json
import re
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from changeover.drivers import answers, shell, systemd
from changeover.drivers.http import Http as HttpClient
from changeover.drivers.http import Reply
from changeover.drivers.secrets import Secrets
from changeover.drivers.template import check_shell, fill, fill_shell, fill_sql
from changeover.errors import ApplicationError, HostError, LockTimeoutError, PortError, SpecError
from changeover.model.release import Release
from changeover.model.site import Binding, File, Http, Node, Shell, Site, Sql, Unit
from changeover.model.values import Secret
from changeover.model.words import count
from changeover.ports import Answer, Command, Database, Host, Result

ASK_SECONDS = 30.0
DO_SECONDS = 3600.0
"""How long a change may take when nobody says how long."""

NO = (1, 3)
"""Exit statuses that say no: 1 by custom, 3 by the Linux Standard Base for a service that does not run."""

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
    """One use of a binding: for which capability, on which node, with which values in its templates."""

    capability: str
    node: Node
    values: Mapping[str, str]


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

    def can(self, capability: str) -> bool:
        """Whether that capability has a binding."""
        return capability in self._site.application.capabilities

    async def do(self, capability: str, node: str, *, timeout: float = DO_SECONDS, **values: str) -> str:
        """Perform it and return the evidence; `ApplicationError` if the binding did not succeed."""
        binding = self._binding(capability)
        async with self._use(capability, node, values) as use:
            match binding:
                case Shell():
                    answer = _succeeded(binding, await self._run(binding, use, timeout))
                case Http():
                    answer = self._http_answer(binding, await self._request(binding, use))
                case Sql():
                    rows = await self._query(binding, use)
                    answer = Answer(True, "", count(len(rows), "row"))
                case File():
                    answer = await self._put(binding, use)
                case Unit():
                    answer = await self._tell(binding, use, timeout)
            if not answer.ok:
                raise ApplicationError(answer.evidence, hint="see the node's log, mend it, and retry")
        return self._shown(answer.evidence)

    async def ask(self, capability: str, node: str, **values: str) -> Answer:
        """Ask it. An answer that is not well is an answer; only no answer at all is an error.

        Nobody listening, where HTTP is spoken, is an answer. Silence is one to `health` alone: a node that does
        not answer is not well, but nothing else can be told of it.
        """
        binding = self._binding(capability)
        async with self._use(capability, node, values) as use:
            match binding:
                case Shell():
                    answer = _shell_answer(binding, await self._run(binding, use, ASK_SECONDS))
                case Http():
                    reply = await self._request(binding, use)
                    if reply.silent and capability != "health":
                        raise ApplicationError(f"{reply.asked}: {reply.said}")
                    answer = self._http_answer(binding, reply)
                case Sql():
                    rows = await self._query(binding, use)
                    value = str(rows[0][0]) if rows else ""
                    answer = Answer(bool(rows), value, value or "no row")
                case File():
                    answer = await self._look(binding, use)
                case Unit():
                    answer = await self._state(binding, use)
        return msgspec.structs.replace(answer, evidence=self._shown(answer.evidence))

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
        filled = {
            **self._site.application.variables,
            **self._release.variables,
            **node.variables,
            "node": node.name,
            "host": node.host,
            "address": self._site.host(node.host).address,
            **values,
        }
        try:
            yield Use(capability, node, filled)
        except LockTimeoutError:
            raise
        except PortError as error:
            message = self._shown(f"{capability} on {name}: {error.message}")
            raise ApplicationError(message, hint=self._secrets.redact(error.hint)) from None

    async def _run(self, binding: Shell, use: Use, timeout: float) -> Result:
        filled = await self._filled(binding.env, use)
        secret = {name: filled[name] for name, value in binding.env.items() if isinstance(value, Secret)}
        plain = {name: value for name, value in filled.items() if name not in secret}
        exported = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in plain.items())
        line = exported + fill_shell(binding.command, use.values)
        host = self._hosts[binding.on or use.node.host]
        return await host.run(Command(line, become=binding.become, secrets=secret, timeout=timeout))

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
        if binding.link is not None:
            target = fill(binding.link, use.values)
            line = shell.set_link(path, target)
            result = await host.run(Command(line, become=binding.become, timeout=ASK_SECONDS))
            good = result.status == 0
            return Answer(good, target, f"{path} leads to {target}" if good else answers.said(result))
        if binding.content is None:
            raise ApplicationError(
                f"{path} cannot be written: the binding has no content", hint="give `content` or `link`"
            )
        content = fill(binding.content, use.values).encode()
        await host.write(path, content, mode=binding.mode, become=binding.become)
        return Answer(True, "", f"wrote {count(len(content), 'byte')} to {path}")

    async def _look(self, binding: File, use: Use) -> Answer:
        path, host = fill(binding.path, use.values), self._hosts[use.node.host]
        if binding.link is not None:
            line = shell.read_link(path)
            result = await host.run(Command(line, become=binding.become, timeout=ASK_SECONDS))
            if result.status != 0:
                return Answer(False, "", f"{path} is no link: {answers.said(result)}")
            text = result.stdout
        else:
            content = await host.read(path, become=binding.become)
            if content is None:
                return Answer(False, "", f"there is no {path}")
            text = content.decode(errors="replace")
        value = answers.matched(binding.match, text)
        if value is None:
            return Answer(False, "", f"{path} has nothing like {binding.match}: {text}")
        return Answer(True, value, f"{path}: {value}")

    async def _tell(self, binding: Unit, use: Use, timeout: float) -> Answer:
        if use.capability not in systemd.VERBS:
            raise ApplicationError(
                f"a systemd unit cannot {use.capability}",
                hint=f"it can {', '.join(sorted(systemd.VERBS))}; bind {use.capability} to a shell line",
            )
        unit = fill(binding.unit, use.values)
        line = systemd.tell(use.capability, unit)
        result = await self._hosts[use.node.host].run(Command(line, become=binding.become, timeout=timeout))
        if result.status != 0:
            return Answer(False, "", f"{unit}: {answers.said(result)}")
        return Answer(True, "", f"{unit}: {systemd.UnitState.parse(result.stdout)}")

    async def _state(self, binding: Unit, use: Use) -> Answer:
        unit = fill(binding.unit, use.values)
        result = await self._hosts[use.node.host].run(Command(systemd.show(unit), timeout=ASK_SECONDS))
        state = systemd.UnitState.parse(result.stdout)
        if result.status != 0:
            raise HostError(
                f"systemd does not answer: {answers.said(result)}", hint="does systemd run there?"
            )
        if not state.loaded:
            what = state.properties.get("LoadState", "unknown")
            raise ApplicationError(
                f"{unit}: systemd says it is {what}", hint="see the unit's name, and its file"
            )
        return Answer(state.running, state.active, f"{unit}: {state}")

    def _shown(self, text: str) -> str:
        return " ".join(self._secrets.redact(text).split())[-EVIDENCE:]


def _succeeded(binding: Shell, result: Result) -> Answer:
    return Answer(result.status in binding.expect, "", answers.said(result))


def _shell_answer(binding: Shell, result: Result) -> Answer:
    """With `answers`, a status listed there is the answer, and any other is none.

    Without, a status in `expect` says yes and 1 says no, as test(1) and grep(1) do; any other, a command that is
    not found or was killed among them, has said neither.
    """
    if binding.answers:
        value = binding.answers.get(str(result.status))
        if value is None:
            raise ApplicationError(f"no answer: {answers.said(result)}")
        return Answer(value != "no", value, f"{value}, by {answers.said(result)}")
    if result.status not in (*binding.expect, *NO):
        raise ApplicationError(
            f"no answer: {answers.said(result)}", hint="1 says no; list others under `answers`"
        )
    value = answers.matched(binding.match, result.stdout)
    if value is None:
        return Answer(False, "", f"{answers.said(result)}, nothing like {binding.match}")
    return Answer(result.status in binding.expect, value, answers.said(result))


def _in_url(value: str) -> str:
    return quote(value, safe=":.[]-_~")


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]
