"""What finished tasks have left is recorded so that a run which is killed loses little."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.engine.toys import ALL
from tests.support.hooking import hooked
from tests.support.running import environment, run_doit

COMMITS = """
import c2wtasks.engine.runner as _runner, c2wtasks.engine.statefile as _statefile
_runner._BRIEF = 600
_write = _statefile.StateFile.write
def _counted(self, rows, removed):
    with open("commits", "a") as stream:
        stream.write(f"{len(rows)}\\n")
    _write(self, rows, removed)
_statefile.StateFile.write = _counted
"""
"""Each commit is noted, with how many tasks it records; all tasks are brief."""


def recorded(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / ".doit.db")) as database:
        return {task for (task,) in database.execute("select id from task")}


def test_brief_tasks_are_recorded_together(toy: Path) -> None:
    done = run_doit(toy, "-n", "0", env=hooked(toy / "hook", COMMITS))
    assert (done.exit, recorded(toy)) == (0, ALL)
    first, *more = map(int, (toy / "commits").read_text().split())
    assert (first, sum(more)) == (1, len(ALL) - 1)
    assert len(more) == 1


SECOND_WAITS = """
usual = tree
def tree(bundle):
    if glob("out/*/*.tree"):
        open("second", "w").close()
        time.sleep(600)
    usual(bundle)
"""


def test_one_that_took_long_is_recorded_at_once_with_those_before_it(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write("from glob import glob\n" + SECOND_WAITS)
    run = subprocess.Popen(
        [sys.executable, "-m", "doit", "-n", "0"], cwd=toy, env=environment({"slow": "1"}), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (toy / "second").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.kill()
    run.wait()
    made = [name for name in ALL if (toy / f"out/{name.removeprefix('tree:')}.tree").exists()]
    calls = (toy / "calls").read_text().splitlines()
    assert recorded(toy) == {*calls, *made}
