"""The gate on its hosts."""

import asyncio
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar, cast

from changeover.drivers.answers import said
from changeover.drivers.nftables import script
from changeover.drivers.nftables.reading import differences, parse_table
from changeover.drivers.nftables.ruleset import Gate, Network, ruleset, unit, written
from changeover.errors import AccessError, HostError, NobodyListensError
from changeover.model.site import HostConfig
from changeover.ports import Command, GateState, Gating, Host, Seen, Stream

T = TypeVar("T")

ANSWERS_WITHIN = 5.0
"""Seconds that the public has patience for."""

REQUEST = "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: changeover\r\nConnection: close\r\n\r\n"
UNAVAILABLE = re.compile(rb"HTTP/\d(\.\d)? 503 ")
"""What a maintenance page answers with (RFC 9110, 15.6.4)."""


class NftablesAccess:
    """A gate that is closed and opened on each of its hosts alike."""

    def __init__(self, gate: Gate, configs: Mapping[str, HostConfig], hosts: Mapping[str, Host]) -> None:
        self.name = gate.name
        self._gate = gate
        self._configs = configs
        self._hosts = hosts

    def __repr__(self) -> str:
        return f"NftablesAccess({self.name!r}, {list(self._configs)})"

    async def state(self) -> Mapping[str, GateState]:
        """Each host, as its table, its files and its unit are now."""
        return await self._everywhere(self._seen)

    async def shut(self) -> Mapping[str, GateState]:
        """Close it for everybody but the allowlist and this conductor's own address, as each host sees it."""
        return await self._everywhere(self._shut)

    async def reopen(self) -> Mapping[str, GateState]:
        """Take away table, files and unit."""
        return await self._everywhere(self._reopen)

    async def seen_from(self, outside: str) -> Mapping[str, Seen]:
        """Ask at each public port of each host, through that host's connection."""
        where = [(name, port) for name in self._configs for port in self._gate.public]
        seen = await asyncio.gather(
            *(self._asked(outside, self._configs[name].address, port) for name, port in where)
        )
        return {f"{name}:{port}": what for (name, port), what in zip(where, seen, strict=True)}

    async def version(self) -> str:
        """As in `nftables v1.0.6 (Lester Gooch #5)`; the page must answer, too."""
        answers = await self._everywhere(self._ready)
        return "; ".join(sorted(set(answers.values())))

    async def close(self) -> None:
        """Do nothing: the connections are the hosts'."""

    async def _ready(self, host: str) -> str:
        called, page = await self._run(host, script.requirements()), self._gate.page
        if not page:
            return called
        seen = await self._asked(host, "127.0.0.1", page)
        if seen is not Seen.PAGE:
            raise AccessError(
                f"{self.name}: no maintenance page answers at port {page} of {host} ({seen})",
                hint="serve it there, on every address, with the status 503 Service Unavailable",
            )
        return f"{called}, page at port {page}"

    async def _shut(self, host: str) -> GateState:
        gate = replace(self._gate, conductor=await self._conductor(host))
        await self._hosts[host].write(gate.rules, ruleset(gate).encode(), become=True, parents=True)
        await self._run(host, script.close(gate))
        return self._must(host, await self._look(host), Gating.CLOSED)

    async def _reopen(self, host: str) -> GateState:
        await self._run(host, script.open_again(self._gate))
        return self._must(host, await self._look(host), Gating.OPEN)

    async def _seen(self, host: str) -> GateState:
        try:
            return await self._look(host)
        except HostError as error:
            return GateState(Gating.UNKNOWN, error.message)

    async def _look(self, host: str) -> GateState:
        answer = await self._run(host, script.look(self._gate))
        rules, kept_unit, link, live = [*answer.split("\n", 3), "", "", ""][:4]
        if (rules, kept_unit, link, live) == (script.NONE,) * 4:
            return GateState(Gating.OPEN, "nothing of the gate is there")
        if live == script.NONE:
            mend = f"nft -f {self._gate.rules}"
            return GateState(Gating.PARTLY, f"its table is not in force; `{mend}` there puts it back")
        try:
            table = parse_table(live)
        except ValueError as error:
            raise AccessError(f"{self.name}: {host} lists no table: {error}") from None
        gate = replace(self._gate, conductor=table.conductor)
        wrong = [*differences(gate, table)]
        if _decoded(rules) != ruleset(gate):
            wrong.append(
                "another ruleset is kept for the next boot"
                if rules != script.NONE
                else "no ruleset is kept for the next boot"
            )
        if _decoded(kept_unit) != unit(gate) or link != gate.unit:
            wrong.append("no unit loads it at boot")
        if wrong:
            return GateState(Gating.PARTLY, "; ".join(wrong))
        to = f"sent to port {gate.page}" if gate.page else "refused"
        but = ", ".join(map(written, gate.conductor)) or "nobody"
        return GateState(Gating.CLOSED, f"ports {_listed(gate.closed)} {to}; the conductor is {but}")

    async def _conductor(self, host: str) -> tuple[Network, ...]:
        """Where this conductor comes from; where it is on the host itself, it comes in anyway."""
        if self._configs[host].driver == "local":
            return ()
        answer = await self._hosts[host].run(Command(script.conductor()))
        try:
            source, _, _, port = answer.stdout.split()
            address, came_by = ip_address(source.partition("%")[0]), int(port)
        except ValueError:
            raise AccessError(
                f"{self.name}: {host} does not tell from where the conductor comes ({said(answer)})",
                hint="its login shell has no SSH_CONNECTION",
            ) from None
        if came_by in (*self._gate.closed, self._gate.page):
            raise AccessError(
                f"{self.name}: the conductor comes to {host} by port {came_by}: it is not closed"
            )
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return (ip_network(address),)

    async def _asked(self, by: str, address: str, port: int) -> Seen:
        """What that host gets there."""
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                stream = await self._hosts[by].connect_tcp(address, port)
                try:
                    return await _answer(stream, address)
                finally:
                    await stream.close()
        except NobodyListensError:
            return Seen.REFUSED
        except TimeoutError:
            return Seen.SILENT

    async def _run(self, host: str, line: str) -> str:
        result = await self._hosts[host].run(Command(line, become=True))
        if result.status:
            raise AccessError(f"{self.name}: {host}: {said(result)}", hint=_hint(result.stderr))
        return result.stdout.strip()

    async def _everywhere(self, on: Callable[[str], Awaitable[T]]) -> dict[str, T]:
        """On every host at once; what fails on one is told when the others have ended."""
        answers = await asyncio.gather(*map(on, self._configs), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return cast("dict[str, T]", dict(zip(self._configs, answers, strict=True)))

    def _must(self, host: str, state: GateState, wanted: Gating) -> GateState:
        if state.gating is not wanted:
            raise AccessError(
                f"{self.name}: {host} was told to be {wanted}, and is {state.gating}: {state.evidence}",
                hint="does something else there change the rules of nftables?",
            )
        return state


async def _answer(stream: Stream, address: str) -> Seen:
    """Whether the page answers, or anything else: not all that is served speaks HTTP, or without TLS."""
    await stream.write(REQUEST.format(host=address).encode())
    try:
        line = await stream.read_until(b"\r\n")
    except HostError:
        return Seen.APPLICATION  # it has accepted the connection, and wants nothing of this
    return Seen.PAGE if UNAVAILABLE.match(line) else Seen.APPLICATION


def _decoded(kept: str) -> str:
    return "" if kept == script.NONE else b64decode(kept).decode(errors="replace")


def _listed(ports: tuple[int, ...]) -> str:
    return ", ".join(map(str, ports))


def _hint(complaint: str) -> str:
    if "Operation not permitted" in complaint:
        return "nftables is for root: set `become`"
    return ""
