"""The medians as a table, with ratios."""

from collections.abc import Mapping

ROWS = (
    ("rolling", "first drain to last one back, s"),
    ("own", "  the application's own drain, stop, start"),
    ("overhead", "  overhead"),
    ("empty_to_stop", "    nobody is there → it is told to stop"),
    ("stopped_to_start", "    stopped → it is told to start"),
    ("ready_to_back", "    it is ready → back in rotation"),
    ("back_to_next", "    back → the next one is drained"),
    ("command", "the whole command, s"),
    ("command_overhead", "  above the application's own"),
    ("before", "    before the first drain"),
    ("after", "    after the last one is back"),
    ("cpu", "CPU of the controller, s"),
    ("failed", "requests failed"),
    ("cut", "sessions cut"),
    ("lost", "acknowledged writes lost"),
)
COUNTS = frozenset({"failed", "cut", "lost"})
MEASURABLE = 0.05
"""Seconds; a ratio to less than that says nothing."""

GOALS = (("ansible", 0.1), ("bare", 1.3), ("read-back", 1.3))
"""Of Changeover's overhead: at most so much of the other's."""


def table(medians: Mapping[str, Mapping[str, float]]) -> str:
    """A line for each figure, a column for each variant, and Changeover's ratio to each other one."""
    ours = medians.get("changeover")
    others = [name for name in medians if name != "changeover"] if ours else []
    lines = [
        f"{'':46}"
        + "".join(f"{name:>12}" for name in medians)
        + "".join(f"{f'/ {name}':>12}" for name in others)
    ]
    for key, label in ROWS:
        line = f"{label:46}" + "".join(f"{_number(key, values[key]):>12}" for values in medians.values())
        if ours and key not in COUNTS:
            line += "".join(f"{_ratio(ours[key], medians[name][key]):>12}" for name in others)
        lines.append(line)
    if ours:
        lines.append("")
        lines += [
            _goal(ours["overhead"] / medians[name]["overhead"], name, goal)
            for name, goal in GOALS
            if name in medians
        ]
    return "\n".join(lines)


def _goal(ratio: float, name: str, goal: float) -> str:
    verdict = "met" if ratio <= goal else "missed"
    return f"overhead of Changeover / {name}: {ratio:.2f}; goal at most {goal}: {verdict}"


def _number(key: str, value: float) -> str:
    return f"{value:g}" if key in COUNTS else f"{value:.2f}"


def _ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}" if theirs >= MEASURABLE else "—"
