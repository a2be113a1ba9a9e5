"""A cluster of small hosts on this machine, and the application that lives on it.

    choose_form()      which form is possible here, and why
    install(form)      what a form needs from Debian
    up(Layout(...))    bring a lab up, and return it
    find(name)         a lab that is up: its `site()`, `befall()`, `mend()`, `reset()`, `window()`
    down(name)         take it down

All of it is synchronous; from a coroutine, use `asyncio.to_thread`.
"""

from changeover.lab.errors import LabError
from changeover.lab.faults import Fault
from changeover.lab.forms import Choice, choose_form
from changeover.lab.inside import Window, enter_network
from changeover.lab.layout import DatabaseKind, Form, Layout, Member, Role
from changeover.lab.operations import Lab, down, find, up
from changeover.lab.programs import install

__all__ = [
    "Choice",
    "DatabaseKind",
    "Fault",
    "Form",
    "Lab",
    "LabError",
    "Layout",
    "Member",
    "Role",
    "Window",
    "choose_form",
    "down",
    "enter_network",
    "find",
    "install",
    "up",
]
