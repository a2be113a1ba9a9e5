"""A stream over a pair of asyncio's or asyncssh's reader and writer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from changeover.errors import HostError

LIMIT = 64 * 1024 * 1024
"""The longest answer that `read_until` takes, in bytes."""


class Reader(Protocol):
    """What asyncio's and asyncssh's readers have in common."""

    async def readuntil(self, separator: bytes, /) -> bytes:
        """Everything up to and including the separator."""
        ...


class Writer(Protocol):
    """What asyncio's and asyncssh's writers have in common."""

    def write(self, data: bytes, /) -> None:
        """Put into the buffer."""
        ...

    async def drain(self) -> None:
        """Wait until the buffer is nearly empty."""
        ...

    def close(self) -> None:
        """Close once the buffer is sent."""
        ...


class SocketStream:
    """Two-way bytes. `let_go` is awaited once, on closing; `why` is asked for the reason of an early end."""

    def __init__(
        self,
        what: str,
        reader: Reader,
        writer: Writer,
        *,
        lost: tuple[type[Exception], ...] = (),
        let_go: Callable[[], Awaitable[None]] | None = None,
        why: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self._what = what
        self._reader = reader
        self._writer = writer
        self._lost: tuple[type[Exception], ...] = (OSError, EOFError, *lost)
        self._let_go = let_go
        self._why = why
        self._closed = False

    async def write(self, data: bytes) -> None:
        """Send all of it; `HostError` if the stream has ended."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except self._lost as error:
            raise await self._ended(error) from None

    async def read_until(self, end: bytes) -> bytes:
        """Everything up to and including `end`; `HostError` if the stream ends before that."""
        try:
            return await self._reader.readuntil(end)
        except asyncio.LimitOverrunError:
            raise HostError(f"{self._what}: an answer longer than {LIMIT // 1024 // 1024} MiB") from None
        except self._lost as error:
            raise await self._ended(error) from None

    async def close(self) -> None:
        """Close it; closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        if self._let_go is not None:
            await self._let_go()

    async def _ended(self, error: Exception) -> HostError:
        reason = await self._why() if self._why is not None else ""
        if not reason and not isinstance(error, EOFError):
            reason = str(error)
        return HostError(f"{self._what}: the stream has ended{': ' + reason if reason else ''}")
