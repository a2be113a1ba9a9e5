"""Pure functions from a site, a release and the facts to a plan."""

from collections.abc import Callable, Mapping

from changeover.model.plan import Facts, Plan
from changeover.model.release import Release
from changeover.model.site import Site
from changeover.strategies.full_stop import full_stop
from changeover.strategies.rolling import rolling
from changeover.strategies.window import window

__all__ = ["STRATEGIES", "Strategy"]

Strategy = Callable[[Site, Release, Facts], Plan]

STRATEGIES: Mapping[str, Strategy] = {"rolling": rolling, "full-stop": full_stop, "window": window}
"""Every strategy by its name."""
