#!/usr/bin/env python3
"""Writes the admin states of all servers where HAProxy looks for them when it starts: drain and maint outlive a reload.

Arguments: the runtime socket, the state file.
"""

import socket
import sys
from pathlib import Path

with socket.socket(socket.AF_UNIX) as runtime:
    runtime.settimeout(5)
    runtime.connect(sys.argv[1])
    runtime.sendall(b"show servers state\n")
    with runtime.makefile("rb") as answer:
        state = answer.read()

# Nothing is what HAProxy answers when it is about to stop: what was saved before is better than that.
if state.strip():
    target = Path(sys.argv[2])
    partial = target.with_suffix(".new")
    partial.write_bytes(state)
    partial.rename(target)
