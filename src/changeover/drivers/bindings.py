"""The application through its bindings: shell lines, HTTP requests, SQL statements, files and systemd units."""

import json
import re
import shlex
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from changeover.drivers import shell
from changeover.drivers.http import Http as HttpClient
from changeover.drivers.secrets import Secrets
from changeover.drivers.template import fill
from changeover.errors import ApplicationError, HostError
from changeover.model.release import Release
from changeover.model.site import Binding, File, Http, Node, Shell, Site, Sql, Unit
from changeover.model.values import Json, Secret
from changeover.ports import Answer, Command, Database, Host, Result

ASK_SECONDS = 30.0
DO_SECONDS = 86400.0
"""A change is limited by its step's timeout; this only keeps a command from living for ever."""

EVIDENCE = 500

ALIVE = frozenset({"active", "reloading", "deactivating", "activating"})
"""`ActiveState` of a unit that has processes, or is about to (systemctl(1)). A unit between two of its
automatic restarts is *activating* too, with the `SubState` *auto-restart*: that one has none."""


def create(
    site: Site,
    release: Release,
    *,
    secrets: Secrets,
    hosts: Mapping[str, Host],
    databases: Mapping[str, Database],
) -> "Bindings":
    """The factory that the conductor calls by the name `application.bindings`."""
    return Bindings(site, release, secrets=secrets, hosts=hosts, databases=databases)


class Bindings:
    """The `Application` port: each capability is performed or asked as its binding says."""

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

    async def do(self, capability: str, node: str, **values: str) -> str:
        """Perform it and return the evidence; `ApplicationError` if the binding did not succeed."""
        binding, where, filled = self._prepare(capability, node, values)
        match binding:
            case Shell():
                result = await self._run(binding, where, filled, DO_SECONDS)
                if result.status not in binding.expect:
                    raise self._failed(capability, node, f"exit status {result.status}: {_tail(result)}")
                evidence = _tail(result) or f"exit status {result.status}"
            case Http():
                answer = await self._request(binding, where, filled)
                if not answer.ok:
                    raise self._failed(capability, node, answer.evidence)
                evidence = answer.evidence
            case Sql():
                rows = await self._databases[binding.database].query(
                    fill(binding.statement, filled, quote=_sql)
                )
                evidence = f"{len(rows)} rows"
            case File():
                evidence = await self._put(binding, capability, where, filled)
            case Unit():
                evidence = await self._systemctl(binding, capability, node, where, filled)
        return self._shown(evidence)

    async def ask(self, capability: str, node: str, **values: str) -> Answer:
        """Ask it. An answer that is not well is an answer; only no answer at all is an error."""
        binding, where, filled = self._prepare(capability, node, values)
        match binding:
            case Shell():
                answer = _shell_answer(binding, await self._run(binding, where, filled, ASK_SECONDS))
            case Http():
                answer = await self._request(binding, where, filled)
            case Sql():
                rows = await self._databases[binding.database].query(
                    fill(binding.statement, filled, quote=_sql)
                )
                value = str(rows[0][0]) if rows else ""
                answer = Answer(bool(rows), value, value or "no row")
            case File():
                answer = await self._look(binding, where, filled)
            case Unit():
                answer = await self._unit_state(binding, where, filled)
        return msgspec.structs.replace(answer, evidence=self._shown(answer.evidence))

    async def close(self) -> None:
        """Let go of every connection."""
        await self._http.close()

    def _prepare(
        self, capability: str, node: str, values: Mapping[str, str]
    ) -> tuple[Binding, Node, dict[str, str]]:
        application = self._site.application
        binding = application.capabilities.get(capability)
        if binding is None:
            raise ApplicationError(
                f"{capability} is not bound",
                hint=f"bind {capability} under `application`, or name a `pack` that does",
            )
        where = self._site.node(node)
        filled = {
            **application.variables,
            **self._release.variables,
            **where.variables,
            "node": where.name,
            "host": where.host,
            "address": self._site.host(where.host).address,
            **values,
        }
        return binding, where, filled

    async def _run(self, binding: Shell, where: Node, values: Mapping[str, str], timeout: float) -> Result:
        secret = {
            name: await self._secrets.resolve(value, f"{name} of a shell binding", ApplicationError)
            for name, value in binding.env.items()
            if isinstance(value, Secret)
        }
        plain = {
            name: fill(value, values) for name, value in binding.env.items() if not isinstance(value, Secret)
        }
        exported = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in plain.items())
        line = exported + fill(binding.command, values, quote=shlex.quote)
        host = self._hosts[binding.on or where.host]
        return await host.run(Command(line, become=binding.become, secrets=secret, timeout=timeout))

    async def _request(self, binding: Http, where: Node, values: Mapping[str, str]) -> Answer:
        headers = {
            name: await self._secrets.resolve(value, f"header {name}", ApplicationError)
            if isinstance(value, Secret)
            else fill(value, values)
            for name, value in binding.headers.items()
        }
        url = fill(binding.url, values, quote=_url)
        via = self._hosts[where.host] if binding.via == "host" else None
        reply = await self._http.send(
            binding.method,
            url,
            headers=headers,
            body=fill(binding.body, values, quote=_json),
            timeout=binding.timeout,
            verify_tls=binding.verify_tls,
            via=via,
        )
        if reply.status not in binding.expect:
            return Answer(False, "", f"{binding.method} {url}: {reply.said}")
        value, found = _extract(binding, reply.text)
        return Answer(found, value, f"{binding.method} {url}: {reply.said}{f', {value}' if value else ''}")

    async def _put(self, binding: File, capability: str, where: Node, values: Mapping[str, str]) -> str:
        path, host = fill(binding.path, values), self._hosts[where.host]
        if binding.link is not None:
            target = fill(binding.link, values)
            result = await host.run(
                Command(shell.set_link(path, target), become=binding.become, timeout=ASK_SECONDS)
            )
            if result.status != 0:
                raise self._failed(capability, where.name, _tail(result))
            return f"{path} leads to {target}"
        if binding.content is None:
            raise ApplicationError(
                f"{capability} is bound to a file without content", hint="give `content` or `link`"
            )
        content = fill(binding.content, values).encode()
        await host.write(path, content, mode=binding.mode, become=binding.become)
        return f"wrote {len(content)} bytes to {path}"

    async def _look(self, binding: File, where: Node, values: Mapping[str, str]) -> Answer:
        path, host = fill(binding.path, values), self._hosts[where.host]
        if binding.link is not None:
            result = await host.run(
                Command(shell.read_link(path), become=binding.become, timeout=ASK_SECONDS)
            )
            text = result.stdout.strip()
            return Answer(
                result.status == 0, text, f"{path} leads to {text}" if text else f"{path} is no link"
            )
        content = await host.read(path, become=binding.become)
        if content is None:
            return Answer(False, "", f"there is no {path}")
        value, found = _matched(binding.match, content.decode(errors="replace"))
        return Answer(found, value, f"{path}: {value}")

    async def _systemctl(
        self, binding: Unit, capability: str, node: str, where: Node, values: Mapping[str, str]
    ) -> str:
        unit = fill(binding.unit, values)
        host = self._hosts[where.host]
        line = f"systemctl {shlex.quote(capability)} {shlex.quote(unit)}"
        result = await host.run(Command(line, become=binding.become, timeout=DO_SECONDS))
        if result.status != 0:
            log = f"journalctl --unit={shlex.quote(unit)} --lines=5 --no-pager --output=cat"
            lines = await host.run(Command(log, become=binding.become, timeout=ASK_SECONDS))
            raise self._failed(capability, node, f"{_tail(result)} {lines.stdout.strip()}")
        return f"{line}: ok"

    async def _unit_state(self, binding: Unit, where: Node, values: Mapping[str, str]) -> Answer:
        unit = fill(binding.unit, values)
        line = f"systemctl show --property=ActiveState,SubState,MainPID,Result {shlex.quote(unit)}"
        result = await self._hosts[where.host].run(Command(line, timeout=ASK_SECONDS))
        if result.status != 0:
            raise HostError(
                f"{where.host}: {line}: {_tail(result)}", hint="is systemd the init system there?"
            )
        state = dict(part.split("=", 1) for part in result.stdout.split() if "=" in part)
        running = state.get("ActiveState") in ALIVE and state.get("SubState") != "auto-restart"
        said = f"{unit} is {state.get('ActiveState')} ({state.get('SubState')})"
        more = f", process {state['MainPID']}" if running else f", {state.get('Result', '')}"
        return Answer(running, state.get("ActiveState", ""), said + more)

    def _failed(self, capability: str, node: str, evidence: str) -> ApplicationError:
        return ApplicationError(
            f"{capability} failed on {node}: {self._shown(evidence)}",
            hint="see the node's log, mend it, and retry",
        )

    def _shown(self, text: str) -> str:
        return self._secrets.redact(" ".join(text.split()))[:EVIDENCE]


def _shell_answer(binding: Shell, result: Result) -> Answer:
    if binding.answers:
        value = binding.answers.get(str(result.status), "")
        said = _tail(result)
        return Answer(bool(value), value, f"exit status {result.status}{f', {said}' if said else ''}")
    value, found = _matched(binding.match, result.stdout)
    evidence = _tail(result) or f"exit status {result.status}"
    return Answer(result.status in binding.expect and found, value, evidence)


def _tail(result: Result) -> str:
    return (result.stderr.strip() or result.stdout.strip())[-EVIDENCE:]


def _matched(pattern: str, text: str) -> tuple[str, bool]:
    """The value in a text, and whether it was found there."""
    if not pattern:
        return text.strip(), True
    found = re.search(pattern, text)
    if found is None:
        return "", False
    return (found[1] if found.re.groups else found[0]).strip(), True


def _extract(binding: Http, text: str) -> tuple[str, bool]:
    if not binding.json:
        return _matched(binding.match, text) if binding.match else ("", True)
    try:
        value: Json = json.loads(text)
    except ValueError:
        return "", False
    for part in binding.json.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return "", False
    return (value if isinstance(value, str) else json.dumps(value)), True


def _url(value: str) -> str:
    return quote(value, safe=":.[]-_~")


def _json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _sql(value: str) -> str:
    return value.replace("'", "''")
