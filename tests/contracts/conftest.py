"""The simulation is a subject of every contract; a case that means nothing to it says why."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the simulated variant of what is marked `not_simulated(reason)`."""
    out = [item for item in items if _simulated(item) and item.get_closest_marker("not_simulated")]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


def _simulated(item: pytest.Item) -> bool:
    return "simulated" in getattr(getattr(item, "callspec", None), "_idlist", ())
