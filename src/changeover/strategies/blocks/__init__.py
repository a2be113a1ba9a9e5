"""The building blocks that strategies share: one step each, with its way back; one module per subject.

Estimates are seconds, stated as defaults: the operator's file replaces them, and measured runs both.
"""

from changeover.strategies.blocks.access import check_access, close_access, open_access
from changeover.strategies.blocks.application import clean, expect, flush, unflush
from changeover.strategies.blocks.checks import check_database, check_host, check_node, check_pool
from changeover.strategies.blocks.databases import migrations, snapshot, unless_applied
from changeover.strategies.blocks.files import keep, let_go, properties, put_back
from changeover.strategies.blocks.found import as_found, serves
from changeover.strategies.blocks.logs import check_log, forget_marks, mark_log, with_marks_forgotten
from changeover.strategies.blocks.needs import (
    CLEANS,
    FLUSHES,
    NEEDS,
    WATCHES,
    can,
    refuse_names,
    refuse_unbound,
)
from changeover.strategies.blocks.nodes import (
    health,
    hold,
    replace,
    start,
    stop,
    stopped,
    switch,
    verify,
    version,
    watchdog_start,
    watchdog_stop,
)
from changeover.strategies.blocks.people import approve
from changeover.strategies.blocks.releases import INSTALLS, install, uninstall
from changeover.strategies.blocks.steps import back, chain, estimate, look, timeout
from changeover.strategies.blocks.traffic import ROTATION, enter, leave
from changeover.strategies.blocks.trials import build, trial

__all__ = [
    "CLEANS",
    "FLUSHES",
    "INSTALLS",
    "NEEDS",
    "ROTATION",
    "WATCHES",
    "approve",
    "as_found",
    "back",
    "build",
    "can",
    "chain",
    "check_access",
    "check_database",
    "check_host",
    "check_log",
    "check_node",
    "check_pool",
    "clean",
    "close_access",
    "enter",
    "estimate",
    "expect",
    "flush",
    "forget_marks",
    "health",
    "hold",
    "install",
    "keep",
    "leave",
    "let_go",
    "look",
    "mark_log",
    "migrations",
    "open_access",
    "properties",
    "put_back",
    "refuse_names",
    "refuse_unbound",
    "replace",
    "serves",
    "snapshot",
    "start",
    "stop",
    "stopped",
    "switch",
    "timeout",
    "trial",
    "unflush",
    "uninstall",
    "unless_applied",
    "verify",
    "version",
    "watchdog_start",
    "watchdog_stop",
    "with_marks_forgotten",
]
