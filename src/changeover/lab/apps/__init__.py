"""The applications that a lab can hold: each says what of a lab is its own."""

from changeover.lab.apps.base import Application
from changeover.lab.apps.campus import Campus
from changeover.lab.apps.courier import Courier
from changeover.lab.apps.notes import Notes
from changeover.lab.errors import LabError

APPLICATIONS: dict[str, Application] = {
    application.name: application for application in (Notes(), Courier(), Campus())
}


def find_application(name: str) -> Application:
    """Return the application of that name.

    Raises:
        LabError: there is none; the error names those there are.
    """
    if name not in APPLICATIONS:
        raise LabError(f"there is no application {name!r}", hint=f"one of {', '.join(APPLICATIONS)}")
    return APPLICATIONS[name]
