"""The kinds of steps: each performs, observes, and by its operation's counterpart is undone."""

from collections.abc import Mapping

from changeover.actions import (
    access,
    application,
    building,
    database,
    files,
    logs,
    looking,
    node,
    properties,
    timing,
    traffic,
    watchdogs,
)
from changeover.actions.base import Action, Context, Params

__all__ = ["ACTIONS", "Action", "Context", "Params"]

_KINDS: tuple[Action, ...] = (
    access.CheckAccess(),
    access.CloseAccess(),
    access.OpenAccess(),
    application.Clean(),
    application.Expect(),
    application.Flush(),
    application.Flushed(),
    application.Unflush(),
    building.Build(),
    building.Test(),
    database.CommandMigrate(),
    database.DropSnapshot(),
    database.Migrate(),
    database.Restore(),
    database.Revert(),
    database.TakeSnapshot(),
    database.VerifySnapshot(),
    files.Keep(),
    files.LetGo(),
    files.PutBack(),
    logs.CheckLog(),
    logs.ForgetMarks(),
    logs.MarkLog(),
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
    node.Stopped(),
    node.Switch(),
    node.Uninstall(),
    node.Version(),
    properties.SetProperty(),
    timing.Wait(),
    traffic.Drain(),
    traffic.Enter(),
    traffic.Remove(),
    watchdogs.WatchdogStart(),
    watchdogs.WatchdogStop(),
)

ACTIONS: Mapping[str, Action] = {action.kind: action for action in _KINDS}
"""Every kind of action by its name."""
