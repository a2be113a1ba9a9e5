"""One HTTP request at a time, from the conductor or through a host."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from changeover.errors import ApplicationError
from changeover.ports import Host

LONGEST = 1024 * 1024
"""Bytes of an answer that are read; what a capability asks for is at its beginning."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back to what was `asked`. `status` is 0 where nothing did, and `said` tells why.

    `silent`: nobody refused either, so that nothing can be told of who was asked.
    """

    asked: str
    status: int
    said: str
    text: str = ""
    silent: bool = False


class Http:
    """Sends requests, each on a connection of its own. A refused connection is a reply, not an error."""

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
        """Send it, and return what came back; redirects are not followed, cookies not kept.

        Raises:
            ApplicationError: no such request can be sent.
            HostError: `via` cannot be reached.
        """
        asked = f"{method} {url}"
        if self._session is None:
            # A node that was restarted must not be met on a connection to what ran before.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True), cookie_jar=aiohttp.DummyCookieJar()
            )
        try:
            target = URL(url)
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
                said = f"{answer.status} {answer.reason}"
                return Reply(asked, answer.status, said, await _text(answer))
        except TimeoutError:
            return Reply(asked, 0, f"no answer within {timeout:g} s", silent=True)
        except (ValueError, aiohttp.InvalidURL) as error:
            raise ApplicationError(f"cannot send {asked}: {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            refused = isinstance(getattr(error, "os_error", error), ConnectionRefusedError)
            return Reply(asked, 0, str(error) or type(error).__name__, silent=not refused)

    async def close(self) -> None:
        """Let go of every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _text(answer: aiohttp.ClientResponse) -> str:
    content = bytearray()
    async for part in answer.content.iter_any():
        content += part
        if len(content) >= LONGEST:
            break
    return content.decode(errors="replace")


@asynccontextmanager
async def _reached(target: URL, via: Host | None) -> AsyncIterator[URL]:
    if via is None or target.host is None or target.port is None:
        yield target
        return
    async with via.forward(target.host, target.port) as (address, port):
        yield target.with_host(address).with_port(port)
