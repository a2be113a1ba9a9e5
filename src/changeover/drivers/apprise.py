"""People are told through Apprise: mail, chat, webhooks and whatever else it knows an address of."""

import asyncio
import logging
import re

from changeover.drivers.secrets import Secrets
from changeover.errors import NotifierError
from changeover.model.release import Notice

SECONDS = 30.0
"""In which a message is taken, or counts as lost."""

_PIECE = re.compile(r"[^\s:/?#\[\]@!$&'()*+,;=%]{3,}")
"""What an address is put together from: names, passwords, tokens."""

# What it logs of an address is not for anybody's eyes.
_LOGGER = logging.getLogger("apprise")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


class AppriseNotifier:
    """The `Notifier` port for one address, which is a secret."""

    def __init__(self, notice: Notice, secrets: Secrets) -> None:
        self.name = notice.name
        self._to = notice.to
        self._secrets = secrets

    async def send(self, title: str, text: str) -> None:
        """In a thread: Apprise waits for the answer."""
        address = await self._secrets.resolve(self._to, f"the address of {self.name}", NotifierError)
        try:
            async with asyncio.timeout(SECONDS):
                why = await asyncio.to_thread(_send, address, title, text)
        except TimeoutError:
            why = f"not within {SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 - whatever one of its services raises may repeat the address
            why = _without(address, f"{type(error).__name__}: {error}")
        if why:
            raise NotifierError(
                f"{self.name} was not told: {why}",
                hint="`changeover check --notify` tries every address",
            )


def create(notice: Notice, *, secrets: Secrets) -> AppriseNotifier:
    """The notifier of that name; its address is looked up when it is first used."""
    return AppriseNotifier(notice, secrets)


def _send(address: str, title: str, text: str) -> str:
    """Why it was not taken; empty if it was."""
    import apprise  # it is slow to load, and seldom needed

    service = apprise.Apprise()
    if not service.add(address):
        return "this is no address that Apprise understands"
    result = service.notify(body=text, title=title, timeout=SECONDS)
    if result:
        return ""
    said = [entry.message for service in result for attempt in service for entry in attempt.logs]
    return _without(address, said[-1]) if said else "it was not taken"


def _without(address: str, text: str) -> str:
    """The text without any piece of the address but its scheme."""
    scheme, _, rest = address.partition("://")
    for piece in sorted({*_PIECE.findall(rest), rest}, key=len, reverse=True):
        text = text.replace(piece, "***")
    return f"{scheme}: {text}"
