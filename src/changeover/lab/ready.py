"""When a lab is ready: each service has been asked and has answered."""

import http.client
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from changeover.lab.errors import LabError
from changeover.lab.inside import Window
from changeover.lab.layout import DatabaseKind, Form, Layout, Member, Role

SECONDS = 60.0

# StartupMessage of PostgreSQL's protocol 3.0: length, version, parameters as zero-terminated pairs, a final zero.
_PARAMETERS = b"user\0app\0database\0app\0\0"
_STARTUP = struct.pack("!II", 8 + len(_PARAMETERS), 3 << 16) + _PARAMETERS


@dataclass(frozen=True)
class Verdict:
    """What one host answered: `ok`, and in words."""

    host: str
    ok: bool
    answer: str


def look(layout: Layout, window: Window) -> list[Verdict]:
    """Ask every host once whether its service answers."""
    return [_verdict(member, layout, window) for member in layout.members()]


def wait_ready(
    layout: Layout, window: Window, *, ended: Callable[[str], str | None], only: Iterable[str] | None = None
) -> None:
    """Return when every host's service answers; `only` names the hosts to wait for.

    Raises:
        LabError: a host ended (`ended` returned its last words), or some did not answer within a minute; the error
            says what they answered last.
    """
    waiting = [member for member in layout.members() if only is None or member.name in only]
    limit = time.monotonic() + SECONDS
    while waiting:
        verdicts = {member.name: _verdict(member, layout, window) for member in waiting}
        waiting = [member for member in waiting if not verdicts[member.name].ok]
        for member in waiting:
            last_words = ended(member.name)
            if last_words is not None:
                raise LabError(f"{member.name} ended while it started; it said: {last_words}")
        if waiting and time.monotonic() > limit:
            last = "; ".join(
                f"{name}: {verdict.answer}" for name, verdict in verdicts.items() if not verdict.ok
            )
            raise LabError(f"not ready within {SECONDS:g} s: {last}")
        if waiting:
            time.sleep(0.05)


def _verdict(member: Member, layout: Layout, window: Window) -> Verdict:
    try:
        if layout.form is Form.HOSTS and not window.banner(member.address, 22).startswith("SSH-2.0"):
            return Verdict(member.name, ok=False, answer="no SSH")
        asked = _database if member.role is Role.DATABASE else layout.application.answer
        answer = asked(member, layout, window)
    except (OSError, http.client.HTTPException) as error:
        return Verdict(member.name, ok=False, answer=str(error) or type(error).__name__)
    return Verdict(member.name, ok=not answer.startswith("not "), answer=answer)


def _database(member: Member, layout: Layout, window: Window) -> str:
    if layout.database is DatabaseKind.NONE:
        return "no database"
    with window.connect(member.address, layout.database.port) as connection:
        if layout.database is DatabaseKind.POSTGRESQL:
            connection.sendall(_STARTUP)
        answer = connection.recv(1024)
    # PostgreSQL asks for a password (R) when it accepts clients, and says why not (E) while it starts or recovers;
    # MariaDB greets with its protocol version, 10, after four bytes of length and number.
    accepts = answer[:1] == b"R" if layout.database is DatabaseKind.POSTGRESQL else answer[4:5] == b"\n"
    return f"{layout.database} accepts clients" if accepts else f"not accepting clients: {answer!r}"
