"""Bringing a lab up and down, whichever form it has."""

from collections.abc import Callable
from typing import Any, Protocol

from changeover.lab.cluster import Cluster
from changeover.lab.directory import Directory
from changeover.lab.embedded import Embedded
from changeover.lab.errors import LabError
from changeover.lab.faults import Fault
from changeover.lab.inside import Window
from changeover.lab.layout import Form, Layout
from changeover.lab.programs import install


class Lab(Protocol):
    """What both forms of the lab offer."""

    directory: Directory

    @property
    def layout(self) -> Layout:
        """What the lab consists of."""

    def up(self, layout: Layout, say: Callable[[str], None]) -> None:
        """Start what is not running and return when every service answers."""

    def down(self) -> None:
        """End everything and forget the lab."""

    def reset(self) -> None:
        """Put every host back to its first state."""

    def window(self) -> Window:
        """Return a view into the lab's network."""

    def site(self) -> dict[str, Any]:
        """Return the lab as plain data."""

    def befall(self, name: str, fault: Fault) -> None:
        """Let a fault befall a host."""

    def mend(self, name: str) -> None:
        """Undo whatever befell a host."""

    def revive(self, name: str) -> None:
        """The same without waiting for its service, which somebody may have stopped."""

    def run_on(self, name: str, script: str) -> str:
        """Run a shell script on a host, past whatever an operator uses, and return what it printed."""

    def wait_ready(self, *only: str) -> None:
        """Return when the services of all hosts, or of those named, answer."""

    def enter_command(self, command: list[str]) -> list[str]:
        """Return `command` as one that runs in the lab's network."""

    def host_command(self, name: str, command: list[str]) -> list[str]:
        """Return the command that runs `command` on a host as an operator would; empty means a shell."""


def find(name: str) -> Lab:
    """Return the lab of that name, up or half up.

    Raises:
        LabError: there is none.
    """
    return _of_form(name, Directory(name).layout().form)


def up(layout: Layout, say: Callable[[str], None] = lambda _: None) -> Lab:
    """Bring a lab up, or complete one that is half up; return when every service answers.

    One that this call began is taken down again when it fails or is interrupted.

    Raises:
        LabError: it is up with another layout, someone else brings it up or down, or it does not come up.
    """
    directory = Directory(layout.name)
    lab = _of_form(layout.name, layout.form)
    with directory.locked("bringing it up"):
        install(layout.form, say)
        ours = not directory.exists()
        if not ours and directory.layout() != layout:
            raise LabError(
                f"lab {layout.name} is up with another layout", hint="take it down first, or use --name"
            )
        try:
            lab.up(layout, say)
            layout.application.write_operator_file(lab.site())
        except BaseException:
            if ours:
                lab.down()
            raise
    return lab


def down(name: str) -> bool:
    """Take a lab down, half up or not; return whether there was one.

    Raises:
        LabError: someone else brings it up or down, or something of it does not end.
    """
    directory = Directory(name)
    with directory.locked("taking it down"):
        if not directory.exists():
            return False
        find(name).down()
        return True


def _of_form(name: str, form: Form) -> Lab:
    return Cluster(name) if form is Form.HOSTS else Embedded(name)
