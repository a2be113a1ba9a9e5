"""What the application says of its nodes."""

from changeover.errors import PortError
from changeover.model.values import Outcome, Verdict
from changeover.ports import Application


async def health(application: Application, node: str) -> Verdict:
    """Whether the node says that it is well."""
    subject = f"{node} health"
    try:
        answer = await application.ask("health", node)
    except PortError as error:
        return Verdict(subject, Outcome.UNKNOWN, error.message, error.hint)
    said = f"{'well' if answer.ok else 'not well'} ({answer.evidence})"
    return Verdict(subject, Outcome.GOOD if answer.ok else Outcome.BAD, said)


async def watched(application: Application, node: str) -> bool:
    """Whether a watchdog runs there that would start the node again."""
    if not application.can("watchdog_running"):
        return False
    answer = await application.ask("watchdog_running", node)
    return answer.ok and answer.value != "no"


async def version(application: Application, node: str, expected: str) -> Verdict:
    """Whether the running node is of that version."""
    subject = f"{node} version"
    try:
        answer = await application.ask("version", node)
    except PortError as error:
        return Verdict(subject, Outcome.UNKNOWN, error.message, error.hint)
    if not answer.ok:
        return Verdict(subject, Outcome.UNKNOWN, answer.evidence)
    if answer.value != expected:
        return Verdict(subject, Outcome.BAD, f"it runs {answer.value}, expected {expected}")
    return Verdict(subject, Outcome.GOOD, f"it runs {answer.value}")
