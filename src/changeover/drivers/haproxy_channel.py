"""One persistent channel to HAProxy's runtime API, in interactive mode.

After `prompt` every reply ends with an empty line and `> `, and lines sent together are answered one by one.
A connection outlives a reload in the old process: it goes on answering there, with states that no longer
count, and keeps that process from ending. So `show info` is asked along with every exchange, and one that
reports `Stopping: 1` is done again on a new connection. (HAProxy 2.6.12, pinned by the contract tests.)
"""

import asyncio
from collections.abc import Awaitable, Callable

from changeover.drivers.haproxy_replies import parse_info
from changeover.errors import BalancerError, HostError
from changeover.ports import Stream

PROMPT = b"\n> "

ATTEMPTS = 4
"""Connections tried for one exchange: one may have been lost while idle, others may lead to a process on its way out."""


class Channel:
    """Commands in, replies out, one exchange at a time; opened when first needed, reopened when lost."""

    def __init__(self, name: str, connect: Callable[[], Awaitable[Stream]], *, timeout: float) -> None:
        self._name = name
        self._connect = connect
        self._timeout = timeout
        self._stream: Stream | None = None
        self._turn = asyncio.Lock()

    async def ask(self, *commands: str) -> tuple[dict[str, str], list[str]]:
        """Return what `show info` says, and the reply to each command.

        Where the connection was lost, or led to a process on its way out, the commands are sent again.

        Raises:
            BalancerError: unreachable, or no answer in time.
        """
        try:
            async with asyncio.timeout(self._timeout), self._turn:
                for _ in range(ATTEMPTS):
                    answer = await self._try(commands)
                    if answer is not None:
                        return answer
        except TimeoutError:
            raise BalancerError(
                f"{self._name}: HAProxy has not answered within {self._timeout:g} s",
                hint="see whether its host and HAProxy itself still run",
            ) from None
        except HostError as error:
            raise BalancerError(f"{self._name}: {error.message}", hint=error.hint) from None
        raise BalancerError(
            f"{self._name}: HAProxy is stopping, and no new process answers in its place",
            hint="see whether it was stopped, or whether its reload has failed",
        )

    async def close(self) -> None:
        """Close the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    async def _try(self, commands: tuple[str, ...]) -> tuple[dict[str, str], list[str]] | None:
        """Exchange once; None if it has to be done again on a new connection."""
        stream, self._stream = self._stream, None
        new = stream is None
        if stream is None:
            stream = await self._open()
        intact = False
        try:
            info, *replies = await _exchange(stream, ("show info", *commands))
            facts = parse_info(info)
            intact = facts.get("Stopping") != "1"
        except HostError:
            if new:
                raise
        finally:
            if intact:
                self._stream = stream
            else:
                await stream.close()
        return (facts, replies) if intact else None

    async def _open(self) -> Stream:
        stream = await self._connect()
        try:
            await _exchange(stream, ("prompt",))
        except BaseException:
            await stream.close()
            raise
        return stream


async def _exchange(stream: Stream, commands: tuple[str, ...]) -> list[str]:
    await stream.write("".join(f"{command}\n" for command in commands).encode())
    replies = [await stream.read_until(PROMPT) for _ in commands]
    return [reply.removesuffix(PROMPT).decode(errors="replace").strip() for reply in replies]
