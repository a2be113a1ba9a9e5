"""One request and its answer, by a client that never repeats a request on its own account."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import msgspec

from changeover import __version__
from changeover.probe import template
from changeover.probe.profile import Capture, Request
from changeover.probe.records import Outcome
from changeover.probe.template import Variables, names

_FIRST_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Site:
    """What all clients share: where to, how long to wait for an answer (seconds), whom to trust, what to add."""

    url: str
    timeout: float
    tls: ssl.SSLContext | bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request; `cookies` are those set by the answer, `replaced` those the client had sent otherwise."""

    outcome: Outcome
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    cookies: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()

    def captured(self, capture: Capture) -> str | None:
        """The value that the capture asks for; None if the answer has none, or one that no header could carry."""
        value = self.headers.get(capture.header) if capture.header else self.field(capture.field or "")
        return value if value and value.isprintable() else None

    def field(self, name: str) -> str | None:
        """The text or number at `a.b.c` of a JSON answer, as text; None if there is none."""
        value = self.json(name)
        return str(value) if isinstance(value, str | int | float) else None

    def json(self, name: str) -> object:
        """What is at `a.b.c` of a JSON answer; None if nothing is."""
        try:
            value = msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value


class Client:
    """One visitor's browser: its own connections, kept alive, and its own cookies, if it keeps any.

    Two things differ from a browser: it opens as many connections as the schedule needs, and it repeats
    nothing, not even a GET on a connection that the server had just closed.
    """

    def __init__(self, site: Site, *, cookies: bool) -> None:
        self._site = site
        self._jar = aiohttp.CookieJar(unsafe=True) if cookies else aiohttp.DummyCookieJar()
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=site.tls),
            cookie_jar=self._jar,
            timeout=aiohttp.ClientTimeout(total=site.timeout),
            middlewares=(_once,),
            headers={"User-Agent": f"changeover-probe/{__version__}"},
        )

    async def send(self, request: Request, variables: Variables) -> Reply:
        """Send it once; whatever happens on the way is an outcome, never an exception."""
        had = {morsel.key: morsel.value for morsel in self._jar}
        # The setup request goes out before the values are there that it brings.
        shared = {
            name: value for name, value in self._site.headers.items() if names(value) <= variables.keys()
        }
        headers = {**shared, **request.headers}
        content: bytes | aiohttp.FormData | None = None
        if request.body is not None:
            content = msgspec.json.encode(template.tree(request.body, variables))
            headers.setdefault("Content-Type", "application/json")
        elif request.form is not None:
            form = {name: template.text(value, variables) for name, value in request.form.items()}
            content = aiohttp.FormData(form)
        try:
            async with self._http.request(
                request.method,
                self._url(template.path(request.path, variables)),
                headers={name: template.text(value, variables) for name, value in headers.items()},
                data=content,
                allow_redirects=False,
            ) as answer:
                body = await answer.read()
        except TimeoutError:
            return Reply(Outcome.TIMEOUT)
        except _BrokenError as broken:
            return Reply(broken.outcome)
        except (aiohttp.ClientError, OSError):
            return Reply(Outcome.RESET)
        fresh = {name: morsel.value for name, morsel in answer.cookies.items()}
        return Reply(
            outcome=_judge(request, answer.status, body, variables),
            status=answer.status,
            headers=answer.headers,
            body=body,
            cookies=frozenset(fresh),
            replaced=frozenset(name for name, value in fresh.items() if had.get(name, value) != value),
        )

    def _url(self, path: str) -> str:
        return self._site.url.rstrip("/") + path if path else self._site.url

    async def close(self) -> None:
        """Close its connections; requests under way fail."""
        await self._http.close()


class _BrokenError(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp (3.14) from silently repeating idempotent requests: it does so only for its own exceptions."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise _BrokenError(Outcome.CONNECT) from None
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        raise _BrokenError(Outcome.RESET) from None


def _judge(request: Request, status: int, body: bytes, variables: Variables) -> Outcome:
    if request.expects(status):
        wanted = template.text(request.contains, variables).encode()
        return Outcome.OK if wanted in body else Outcome.CONTENT
    return Outcome.SERVER if status >= _FIRST_SERVER_ERROR else Outcome.STATUS
