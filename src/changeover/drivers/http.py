"""One HTTP request at a time, from the conductor or through a host."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from changeover.ports import Host

LONGEST = 1024 * 1024
"""Bytes of an answer that are read; what a capability asks for is at its beginning."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `status` is 0 where nothing did, and `said` tells why."""

    status: int
    said: str
    text: str = ""


class Http:
    """Sends requests, keeping its connections. A refused connection is a reply, not an error."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: str,
        timeout: float,
        verify_tls: bool,
        via: Host | None,
    ) -> Reply:
        """Send it, and return what came back; redirects are not followed."""
        if self._session is None:
            # A node that was restarted must not be met on a connection to what ran before.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        target = URL(url)
        try:
            async with (
                asyncio.timeout(timeout),
                _reached(target, via) as reached,
                self._session.request(
                    method,
                    reached,
                    headers={"Host": target.authority, **headers},
                    data=body or None,
                    allow_redirects=False,
                    ssl=verify_tls,
                    server_hostname=target.host if target.scheme == "https" else None,
                ) as answer,
            ):
                content = await answer.content.read(LONGEST)
                said = f"{answer.status} {answer.reason}"
                return Reply(answer.status, said, content.decode(errors="replace"))
        except TimeoutError:
            return Reply(0, f"no answer within {timeout:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Reply(0, str(error) or type(error).__name__)

    async def close(self) -> None:
        """Let go of every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None


@asynccontextmanager
async def _reached(target: URL, via: Host | None) -> AsyncIterator[URL]:
    if via is None or target.host is None or target.port is None:
        yield target
        return
    async with via.forward(target.host, target.port) as (address, port):
        yield target.with_host(address).with_port(port)
