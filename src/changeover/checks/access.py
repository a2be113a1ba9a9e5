"""What the hosts say of an access gate, and what the public sees of it."""

from changeover.errors import PortError
from changeover.model.site import AccessConfig
from changeover.model.values import Outcome, Verdict
from changeover.model.words import count
from changeover.ports import Access, Gating, Seen


def subject(gate: str) -> str:
    """What verdicts on a gate are about."""
    return f"access gate {gate}"


async def usable(access: Access) -> Verdict:
    """Whether its hosts have what closing and opening it takes."""
    try:
        return Verdict(subject(access.name), Outcome.GOOD, await access.version())
    except PortError as error:
        return Verdict(subject(access.name), Outcome.UNKNOWN, error.message, error.hint)


async def state(access: Access, wanted: Gating) -> Verdict:
    """Whether every host reports it open, or every host closed."""
    try:
        states = await access.state()
    except PortError as error:
        return Verdict(subject(access.name), Outcome.UNKNOWN, error.message, error.hint)
    other = [
        f"{host} is {it.gating}: {it.evidence}" for host, it in states.items() if it.gating is not wanted
    ]
    if other:
        hint = f"{'close' if wanted is Gating.CLOSED else 'open'} it, or find out who has changed it"
        return Verdict(subject(access.name), Outcome.BAD, "; ".join(other), hint)
    return Verdict(subject(access.name), Outcome.GOOD, f"{wanted} on {count(len(states), 'host')}")


async def seen(access: Access, gate: AccessConfig, outside: str, wanted: Gating) -> Verdict:
    """Whether that host of the public gets what it should at every public port.

    While the gate is closed that is the page, or where there is none a refusal; when it is open, the application.
    """
    about = f"{subject(access.name)} from {outside}"
    closed = Seen.PAGE if gate.page else Seen.REFUSED
    right = Seen.APPLICATION if wanted is Gating.OPEN else closed
    try:
        got = await access.seen_from(outside)
    except PortError as error:
        return Verdict(about, Outcome.UNKNOWN, error.message, error.hint)
    wrong = [f"{where}: {_WORDS[what]}" for where, what in got.items() if what is not right]
    if wrong:
        hint = f"there should be {_WORDS[right]}"
        return Verdict(about, Outcome.BAD, "; ".join(wrong), hint)
    return Verdict(about, Outcome.GOOD, f"{_WORDS[right]} at {', '.join(got)}")


_WORDS = {
    Seen.REFUSED: "a refusal",
    Seen.SILENT: "no answer",
    Seen.PAGE: "the maintenance page",
    Seen.APPLICATION: "the application",
}
