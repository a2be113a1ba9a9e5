"""A visitor: opens a session, uses it, ends it, begins anew; and notices when the site has forgotten it."""

from collections.abc import Callable, Iterator
from enum import Enum, auto

from changeover.probe.exchange import Client, Reply
from changeover.probe.profile import ANY, Cut, Request, Session
from changeover.probe.records import Change, Kind, Outcome


class _Phase(Enum):
    NEW = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()
    OVER = auto()


class Visit:
    """One session, from its first request to its last."""

    def __init__(self, number: int, client: Client, script: Session, length: int) -> None:
        """`length` counts all requests of the session, login and logout included."""
        self.number = number
        self.client = client
        self.variables: dict[str, str] = {}
        self.in_flight = 0
        self._script = script
        self._left = length
        self._phase = _Phase.NEW
        self._recognised = False
        self._field: str | None = None

    @property
    def open(self) -> bool:
        """Whether requests can be sent in it."""
        return self._phase is _Phase.OPEN

    @property
    def over(self) -> bool:
        """Whether nothing more will be sent in it."""
        return self._phase is _Phase.OVER

    def next(self) -> tuple[Kind, Request] | None:
        """The request that is due now; None while the session can take none: it opens, or waits to be ended.

        The logout waits until nothing else is under way, so that no answer can be mistaken for a cut.
        """
        last = self._left <= 1 and self._script.logout is not None
        match self._phase:
            case _Phase.NEW:
                self._phase, self._left = _Phase.OPENING, self._left - 1
                login = self._script.login
                return (Kind.LOGIN, login) if login else (Kind.USE, self._script.use)
            case _Phase.OPEN if last and not self.in_flight and self._script.logout:
                self._phase = _Phase.CLOSING
                return Kind.LOGOUT, self._script.logout
            case _Phase.OPEN if self._left > 0 and not last:
                self._left -= 1
                return Kind.USE, self._script.use
            case _:
                return None

    def answered(self, kind: Kind, reply: Reply) -> Iterator[tuple[Change, str]]:
        """Take the answer to a request of this session; tells what it changed, and how that showed."""
        if self._phase is _Phase.OVER:
            return
        how = self._lost(kind, reply)
        if self._recognised and how:
            self._phase = _Phase.OVER
            yield Change.CUT, how
        elif kind is Kind.LOGOUT:
            self._phase = _Phase.OVER
            yield Change.ENDED, ""
        elif self._phase is _Phase.OPENING and not self._opens(reply):
            self._phase = _Phase.OVER
        else:
            self._phase = _Phase.OPEN
            if not self._recognised and self._shows(reply):
                self._recognised = True
                yield Change.OPENED, ""
            if self._left <= 0 and not self.in_flight and self._script.logout is None:
                self._phase = _Phase.OVER
                if self._recognised:
                    yield Change.ENDED, ""

    def _opens(self, reply: Reply) -> bool:
        if reply.outcome is not Outcome.OK:
            return False
        for name, capture in (self._script.login.capture if self._script.login else {}).items():
            value = reply.captured(capture)
            if value is None:
                return False
            self.variables[name] = value
        return True

    def _shows(self, reply: Reply) -> bool:
        """Whether there is a session to speak of: after a login always, otherwise once the site says so."""
        return (
            self._script.login is not None
            or self._field is not None
            or bool(_watched(self._script.cut, reply.cookies))
        )

    def _lost(self, kind: Kind, reply: Reply) -> str:
        cut = self._script.cut
        if kind is Kind.WRITE or kind is Kind.LOGIN:
            return ""
        if reply.status in cut.status:
            return f"status {reply.status}"
        if kind is Kind.LOGOUT:
            return ""
        if replaced := _watched(cut, reply.replaced):
            return f"cookie {', '.join(sorted(replaced))} replaced"
        if cut.field and reply.outcome is Outcome.OK and (value := reply.field(cut.field)) is not None:
            before, self._field = self._field or value, value
            if before != value:
                return f"field {cut.field} changed"
        return ""


class Visitor:
    """A place that is never empty: when one session is over, the next begins."""

    def __init__(self, begin: Callable[[], Visit]) -> None:
        self._begin = begin
        self.visit = begin()

    def next(self) -> tuple[Kind, Request] | None:
        """The request that is due now, to be sent in `visit`; None if a request without a session is to stand in."""
        if self.visit.over:
            self.visit = self._begin()
        return self.visit.next()


def _watched(cut: Cut, cookies: frozenset[str]) -> frozenset[str]:
    return cookies if ANY in cut.cookies else cookies & set(cut.cookies)
