"""A site whose misbehaviour is scripted, and a clock that jumps."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from changeover.probe.ledger import Ledger
from changeover.probe.profile import Profile
from changeover.probe.records import Header
from changeover.probe.schedule import Load

BEGIN = 1_000_000.0

NOTES = Profile.model_validate(
    {
        "session": {
            "login": {"method": "POST", "path": "/login"},
            "use": {"path": "/session"},
            "logout": {"method": "POST", "path": "/logout"},
            "cut": {"status": 401, "cookies": "sid", "field": "id"},
        },
        "write": {
            "request": {"method": "POST", "path": "/notes", "json": {"id": "{id}"}, "expect": 201},
            "verify": {"path": "/notes/{id}", "expect": 200},
        },
    }
)


@dataclass
class Asked:
    """A request as the site received it."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def cookie(self) -> str:
        """The value of the cookie `sid`, empty if there is none."""
        return self.headers.get("cookie", "").removeprefix("sid=")


@dataclass
class Told:
    """An answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


class Cut(Exception):  # noqa: N818
    """Raised by a fault: the connection is reset instead of an answer."""


Fault = Callable[[Asked], Awaitable[Told]]
Measure = Callable[..., Awaitable[Ledger]]


class ScriptedSite:
    """Notes and sessions in memory, with a fault for any request by its number in the order of arrival."""

    def __init__(self) -> None:
        self.faults: dict[int, Fault] = {}
        self.seen: list[Asked] = []
        self.sessions: set[str] = set()
        self.notes: set[str] = set()
        self.url = ""
        self.changed = asyncio.Condition()

    async def reached(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.seen) >= count)

    async def proper(self, asked: Asked) -> Told:
        """The answer of a site in good health."""
        told = Told(404)
        match asked.method, asked.path:
            case "POST", "/login":
                name = f"s{asked.number}"
                self.sessions.add(name)
                told = Told(headers={"Set-Cookie": f"sid={name}; Path=/", "X-Token": f"token-{name}"})
            case "POST", "/logout":
                known = asked.cookie in self.sessions
                self.sessions.discard(asked.cookie)
                told = Told(200 if known else 401)
            case "GET", "/session":
                known = asked.cookie in self.sessions
                told = Told(200, json.dumps({"id": asked.cookie}).encode()) if known else Told(401)
            case "POST", "/notes":
                self.notes.add(json.loads(asked.body)["id"])
                told = Told(201)
            case "POST", "/notes/exists":
                missing = [key for key in json.loads(asked.body)["ids"] if key not in self.notes]
                told = Told(200, json.dumps({"missing": missing}).encode())
            case "GET", path if path.startswith("/notes/"):
                told = Told(200 if path.removeprefix("/notes/") in self.notes else 404)
            case "GET", "/":
                told = Told(200, b"welcome")
        return told

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests, one after the other, until the client goes."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                method, path, _ = first.split(" ")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                asked = Asked(len(self.seen), method, path, headers, body)
                self.seen.append(asked)
                async with self.changed:
                    self.changed.notify_all()
                told = await self.faults.pop(asked.number, self.proper)(asked)
                extra = "".join(f"{name}: {value}\r\n" for name, value in told.headers.items())
                start = f"HTTP/1.1 {told.status} -\r\nContent-Length: {len(told.body)}\r\n{extra}\r\n"
                writer.write(start.encode() + told.body)
                await writer.drain()
        except Cut:
            writer.transport.abort()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class JumpClock:
    """Jumps to whatever moment is waited for, as soon as `idle` holds."""

    def __init__(self) -> None:
        self.time = BEGIN
        self.idle: Callable[[], bool] = lambda: True

    def now(self) -> float:
        """The moment it is."""
        return self.time

    async def sleep_until(self, moment: float) -> None:
        """Let others run, wait until all is idle, and jump."""
        await asyncio.sleep(0)
        while not self.idle():
            await asyncio.sleep(0)
        self.time = max(self.time, moment)


def header(url: str, load: Load, profile: Profile = NOTES) -> Header:
    """A ledger's first line."""
    dumped = profile.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return Header(
        run="t",
        url=url,
        begin=BEGIN,
        rate=load.rate,
        write_rate=load.write_rate,
        sessions=load.sessions,
        timeout=load.timeout,
        profile=dumped,
    )
