"""Whether people can be told."""

from changeover.errors import PortError
from changeover.model.values import Outcome, Verdict
from changeover.ports import Notifier


async def told(notifier: Notifier, site: str) -> Verdict:
    """Send a message that says it is only a trial."""
    subject = f"notice {notifier.name}"
    try:
        await notifier.send(
            f"{site}: a trial", "This only tries whether you can be told. Nothing has happened."
        )
    except PortError as error:
        return Verdict(subject, Outcome.BAD, error.message, "set right what `to` refers to")
    return Verdict(subject, Outcome.GOOD, "a trial was taken; whether it arrives, only people can see")
