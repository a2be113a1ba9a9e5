"""People who are told, in memory."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from changeover.errors import NotifierError

if TYPE_CHECKING:
    from changeover.simulation.site import SimulatedSite


@dataclass(slots=True)
class Mailbox:
    """What somebody was told, titles and texts. While it is `full` nothing can be delivered."""

    messages: list[tuple[str, str]] = field(default_factory=list)
    full: bool = False

    def copy(self) -> Self:
        """Another with the same in it."""
        return replace(self, messages=list(self.messages))


class SimulatedNotifier:
    """The `Notifier` port; what is sent takes no time, and is there at once."""

    def __init__(self, name: str, site: "SimulatedSite") -> None:
        self.name = name
        self._site = site

    async def send(self, title: str, text: str) -> None:
        """Put it into the mailbox."""
        mailbox = self._site.mailboxes[self.name]
        if mailbox.full:
            raise NotifierError(f"{self.name} was not told: the mailbox is full")
        mailbox.messages.append((title, text))
