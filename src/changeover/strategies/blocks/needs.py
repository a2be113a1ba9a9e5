"""What a strategy cannot do without, and refuses a site for."""

from collections.abc import Iterable

from changeover.errors import SpecError
from changeover.model.plan import BACK
from changeover.model.site import Site

NEEDS = ("start", "stop", "running", "health", "version", "release", "switch", "install", "installed")
"""The capabilities that every strategy speaks in, whatever the application is."""

FLUSHES = ("deployments", "flush_on", "flush_off", "flushing", "outstanding")
WATCHES = ("watchdog_running", "watchdog_stop", "watchdog_start")
CLEANS = ("clean", "clean_done")


def can(site: Site, *capabilities: str) -> bool:
    """Whether the application is bound to all of them."""
    return all(it in site.application.capabilities for it in capabilities)


def refuse_unbound(strategy: str, site: Site, *together: tuple[str, ...], also: Iterable[str] = ()) -> None:
    """`SpecError` for an application that lacks what is needed, `also` that, or some of what belongs `together`.

    Who binds one of those needs them all: a watchdog that cannot be stopped would be taken for none.
    """
    missing = [it for it in (*NEEDS, *also) if not can(site, it)]
    for group in together:
        if any(can(site, it) for it in group):
            missing += [it for it in group if not can(site, it)]
    if missing:
        raise SpecError(
            f"{strategy} needs capabilities that are not bound: {', '.join(missing)}",
            hint="bind them under `application`, or name a `pack` that does",
        )


def refuse_names(site: Site) -> None:
    """`SpecError` for a node whose steps would be called like those of a way back."""
    for node in site.application.nodes:
        if f"{node.name}/" == BACK:
            raise SpecError(f"no node may be called {node.name}", hint="give it another name")
