"""The building blocks that strategies share: one step each, with its way back; one module per subject.

Estimates are seconds, stated as defaults: the operator's file replaces them, and measured runs both.
"""

from changeover.strategies.blocks.checks import check_database, check_host, check_node, check_pool
from changeover.strategies.blocks.databases import migrations, snapshot, unless_applied
from changeover.strategies.blocks.found import as_found
from changeover.strategies.blocks.nodes import health, hold, replace, start, stop, switch, verify, version
from changeover.strategies.blocks.people import approve
from changeover.strategies.blocks.releases import INSTALLS, install, uninstall
from changeover.strategies.blocks.steps import back, chain, estimate, look, timeout
from changeover.strategies.blocks.traffic import ROTATION, enter, leave

__all__ = [
    "INSTALLS",
    "ROTATION",
    "approve",
    "as_found",
    "back",
    "chain",
    "check_database",
    "check_host",
    "check_node",
    "check_pool",
    "enter",
    "estimate",
    "health",
    "hold",
    "install",
    "leave",
    "look",
    "migrations",
    "replace",
    "snapshot",
    "start",
    "stop",
    "switch",
    "timeout",
    "uninstall",
    "unless_applied",
    "verify",
    "version",
]
