"""Every fault at every step of a plan, on a simulated site, through the real engine and the real actions.

    rehearsal = rehearse(plan, pairs=100, seed=1)
    rehearsal.findings      # what was not as it should be, each with the shortest case
    replay(plan, "app2/start:host-dies:abort").trace

`rehearse(plan, actions=..., site_kind=..., workers=1)` does the same with other actions, and on another kind of
simulated site.
"""

from changeover.rehearsal.cases import MEANING, Case, Kind, Reply, Strike, parse
from changeover.rehearsal.rehearsing import Progress, rehearse, replay
from changeover.rehearsal.results import Cell, End, Finding, Line, Question, Rehearsal, Replay, Worst

__all__ = [
    "MEANING",
    "Case",
    "Cell",
    "End",
    "Finding",
    "Kind",
    "Line",
    "Progress",
    "Question",
    "Rehearsal",
    "Replay",
    "Reply",
    "Strike",
    "Worst",
    "parse",
    "rehearse",
    "replay",
]
