"""Records what happens to a run: into its status at once, and into the journal."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec

from changeover.engine.events import Event, sayable
from changeover.engine.faults import Fault
from changeover.engine.fold import RunStatus
from changeover.engine.lease import Lease
from changeover.engine.port import Answer, JournalPort
from changeover.engine.writer import Writer

EVIDENCE = 4000
"""How many characters of one text are kept."""

_TEXTS = ("evidence", "reason", "hint", "refused", "error")


class Recorder:
    """Gives events their number and time, and takes the secrets out of their texts.

    The status takes an event in before it is durable, so that two decisions never rest on the same state;
    whoever acts on an event waits for `record` to return.
    """

    def __init__(
        self,
        journal: JournalPort,
        lease: Lease,
        status: RunStatus,
        *,
        now: Callable[[], float],
        redact: Callable[[str], str],
        observer: Callable[[Event], None] | None,
        fault: Fault,
    ) -> None:
        self._writer = Writer(journal, lease, fault, self._tell)
        self._status = status
        self._now = now
        self._redact = redact
        self._observer = observer
        self.durable = status.seq
        """The number of the last event that is."""
        self._tell([lease.claimed])

    def record(
        self, *events: Event, then: Callable[[], Sequence[Event]] = tuple, answer: Answer | None = None
    ) -> Awaitable[None]:
        """Record them, together with those that `then` makes of the state they lead to.

        What is returned ends when they are durable; whatever is recorded later becomes durable later, or together.
        """
        recorded = [self._take(event) for event in events]
        recorded += [self._take(event) for event in then()]
        if answer:
            answer = Answer(answer.command, answer.outcome, self.clean(answer.text))
        return self._writer.append(recorded, answer)

    def clean(self, text: str) -> str:
        """What is kept of a text."""
        clean = sayable(self._redact(text))
        return (
            clean
            if len(clean) <= EVIDENCE
            else f"{clean[:EVIDENCE]}… ({len(clean) - EVIDENCE} characters more)"
        )

    def _take(self, event: Event) -> Event:
        texts = {name: self.clean(text) for name in _TEXTS if (text := getattr(event, name, ""))}
        event = msgspec.structs.replace(event, seq=self._status.seq + 1, at=self._now(), **texts)
        self._status.apply(event)
        return event

    def _tell(self, events: Sequence[Event]) -> None:
        self.durable = max(self.durable, *(event.seq for event in events))
        if self._observer:
            for event in events:
                with suppress(Exception):  # who looks on must not be able to stop the run
                    self._observer(event)
