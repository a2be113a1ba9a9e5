"""The terminal: thin, and the same in a pipe. The exit codes are in `changeover.cli.exits`."""

from changeover.cli.main import main

__all__ = ["main"]
