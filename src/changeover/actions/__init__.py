"""The kinds of steps: each performs, observes, and by its operation's counterpart is undone."""

from collections.abc import Mapping

from changeover.actions import database, looking, node, traffic
from changeover.actions.base import Action, Context, Params

__all__ = ["ACTIONS", "Action", "Context", "Params"]

_KINDS: tuple[Action, ...] = (
    database.CommandMigrate(),
    database.DropSnapshot(),
    database.Migrate(),
    database.Restore(),
    database.Revert(),
    database.TakeSnapshot(),
    database.VerifySnapshot(),
    looking.DatabaseCheck(),
    looking.HostCheck(),
    looking.NodeCheck(),
    looking.NodeVerify(),
    looking.PoolCheck(),
    node.Health(),
    node.Hold(),
    node.Install(),
    node.Start(),
    node.Stop(),
    node.Switch(),
    node.Uninstall(),
    node.Version(),
    traffic.Drain(),
    traffic.Enter(),
    traffic.Remove(),
)

ACTIONS: Mapping[str, Action] = {action.kind: action for action in _KINDS}
"""Every kind of action by its name."""
