"""`python -m changeover.probe URL`: the probe without the rest of Changeover."""

from changeover.probe.cli import main

main()
