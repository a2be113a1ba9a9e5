"""Records what happens to a run: into its status at once, and into the journal."""

from collections.abc import Callable, Sequence
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

_TEXTS = ("evidence", "reason", "hint", "refused")


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
        self._writer = Writer(journal, lease, fault)
        self._status = status
        self._now = now
        self._redact = redact
        self._observer = observer
        self._tell(lease.claimed)

    async def record(
        self, *events: Event, then: Callable[[], Sequence[Event]] = tuple, answer: Answer | None = None
    ) -> None:
        """Return when they are durable, together with those that `then` makes of the state they lead to."""
        recorded = [self._take(event) for event in events]
        recorded += [self._take(event) for event in then()]
        if answer:
            answer = Answer(answer.command, answer.outcome, self._clean(answer.text))
        await self._writer.append(recorded, answer)
        for event in recorded:
            self._tell(event)

    def _take(self, event: Event) -> Event:
        texts = {name: self._clean(text) for name in _TEXTS if (text := getattr(event, name, ""))}
        event = msgspec.structs.replace(event, seq=self._status.seq + 1, at=self._now(), **texts)
        self._status.apply(event)
        return event

    def _clean(self, text: str) -> str:
        clean = sayable(self._redact(text))
        return (
            clean
            if len(clean) <= EVIDENCE
            else f"{clean[:EVIDENCE]}… ({len(clean) - EVIDENCE} characters more)"
        )

    def _tell(self, event: Event) -> None:
        if self._observer:
            with suppress(Exception):  # who looks on must not be able to stop the run
                self._observer(event)
