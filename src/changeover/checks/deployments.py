"""What the application says of its deployments."""

from changeover.errors import ApplicationError
from changeover.ports import Application

STATES = ("active", "inactive")


async def states(application: Application, node: str) -> dict[str, str]:
    """Deployment → `active` or `inactive`; none where the application has none. `ApplicationError` for anything else."""
    if not application.can("deployments"):
        return {}
    answer = await application.ask("deployments", node)
    if not answer.ok:
        raise ApplicationError(f"{node} does not name its deployments: {answer.evidence}")
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, answer.value.splitlines())):
        name, _, state = line.partition(" ")
        if state.strip() not in STATES:
            raise ApplicationError(
                f"{node} says {line!r} of its deployments",
                hint="`deployments` answers with a line for each, as in `mail active` or `archive inactive`",
            )
        found[name] = state.strip()
    return found
