"""The processes that share a rehearsal."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import os, signal, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from changeover.rehearsal.rehearsing import leaves_with_its_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), leaves_with_its_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    signal.pause()
"""
PATIENCE = 30.0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_leaves_with_the_process_that_began_it(how: signal.Signals, tmp_path: Path) -> None:
    """However that ends: nothing of a rehearsal stays behind."""
    program = tmp_path / "parent.py"
    program.write_text(PARENT, encoding="utf-8")
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.send_signal(how)
    until = time.monotonic() + PATIENCE
    while _runs(worker) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _runs(worker)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
