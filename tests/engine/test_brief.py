"""Brief tasks are done where tasks are handed out; all else is as it would be in threads."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.toys import CONFIG
from tests.support.running import environment, results, run_doit

DODO = (
    """
import json, os, threading, time
from c2wtasks.engine.config import configure
from c2wtasks.engine.meta import Meta

TASKS = json.load(open("tasks.json"))


def work(name, brief, seconds, fails):
    began = time.monotonic()
    here = threading.current_thread() is threading.main_thread()
    while brief and time.monotonic() < began + seconds:
        pass
    time.sleep(0 if brief else seconds)
    with open("log", "a") as log:
        log.write(json.dumps([name, here, began, time.monotonic()]) + "\\n")
    if fails:
        raise RuntimeError("as it was asked to")


def task_of():
    for name, (brief, after, seconds, fails) in TASKS.items():
        yield {"name": name, "actions": [(work, [name, brief, seconds, fails])],
               "meta": Meta(brief=brief, blob_bytes=1 if brief else 1000),
               "task_dep": [f"of:{one}" for one in after]}


ALIASES = {}
recover, end_of_run = lambda: None, lambda failed, current: ()
"""
    + CONFIG
)

Tasks = dict[str, tuple[bool, list[str], float, bool]]
"""By name: whether it is brief, what it waits for, how many seconds it takes, whether it fails."""


def ran(folder: Path, tasks: Tasks, *args: str, dodo: str = DODO) -> dict[str, tuple[bool, float, float]]:
    """Of each task that was executed: whether in the main thread, when it began, when it ended."""
    (folder / "dodo.py").write_text(dodo)
    (folder / "tasks.json").write_text(json.dumps(tasks))
    (folder / "log").write_text("")
    subprocess.run(
        [sys.executable, "-m", "doit", *args], cwd=folder, env=environment(), capture_output=True, timeout=60
    )
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    return {name: (here, began, ended) for name, here, began, ended in lines}


def test_brief_ones_run_in_the_main_thread_and_others_beside_them(tmp_path: Path) -> None:
    tasks: Tasks = {"long": (False, [], 1.5, False)} | {f"brief{n}": (True, [], 0, False) for n in range(5)}
    found = ran(tmp_path, tasks, "-n", "2")
    assert {name for name, (here, *_) in found.items() if here} == {name for name in tasks if name != "long"}
    assert all(ended < found["long"][2] for name, (_, _, ended) in found.items() if name != "long")


def test_what_follows_on_a_long_one_does_not_wait_for_all_brief_ones(tmp_path: Path) -> None:
    tasks: Tasks = {"long": (False, [], 0.1, False), "follows": (False, ["long"], 0.1, False)}
    tasks |= {f"brief{n:02}": (True, [], 0.05, False) for n in range(20)}
    found = ran(tmp_path, tasks, "-n", "2")
    before = [name for name, (_, began, _) in found.items() if began < found["follows"][1]]
    assert len(before) < 10


@pytest.mark.parametrize("workers", ["1", "2", "4"])
@pytest.mark.parametrize("seed", range(6))
def test_any_graph(tmp_path: Path, seed: int, workers: str) -> None:
    rng = random.Random(seed)
    tasks: Tasks = {}
    for number in range(40):
        after = rng.sample(list(tasks), min(len(tasks), rng.randrange(3)))
        brief = rng.random() < 0.6
        tasks[f"t{number}"] = (brief, after, 0 if brief else rng.random() / 50, rng.random() < 0.05)
    found = ran(tmp_path, tasks, "-n", workers)
    bad: set[str] = set()
    for name, (brief, after, _, fails) in tasks.items():
        waits_for_bad = not bad.isdisjoint(after)
        assert (name in found) != waits_for_bad, name
        if waits_for_bad or fails:
            bad.add(name)
        if name in found:
            assert all(found[one][2] <= found[name][1] for one in after)
            assert not found[name][0] or brief or workers == "1"
    told = results(tmp_path, "-n", workers)
    assert {name for name, result in told.items() if result == "up-to-date"} == set()


def test_brief_ones_that_wait_run_in_threads_too(tmp_path: Path) -> None:
    tasks: Tasks = {f"brief{n:02}": (True, [], 0, False) for n in range(30)}
    slow = DODO.replace("time.sleep(0 if", "time.sleep(0.05 if")
    found = ran(tmp_path, tasks, "-n", "4", dodo=slow)
    assert {here for here, *_ in found.values()} == {True, False}


def test_nothing_more_begins_after_a_failure_where_that_is_asked_for(tmp_path: Path) -> None:
    tasks: Tasks = {"a": (True, [], 0, True)} | {f"b{n}": (True, [], 0, False) for n in range(5)}
    assert list(ran(tmp_path, tasks, "-n", "2", "--no-continue")) == ["a"]


def test_an_interrupt_in_a_brief_one_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text(DODO.replace("time.sleep(0 if brief else seconds)", "os.kill(os.getpid(), 2)"))
    (tmp_path / "tasks.json").write_text('{"a": [true, [], 0, false], "b": [false, [], 0, false]}')
    (tmp_path / "log").touch()
    done = run_doit(tmp_path, "-n", "2")
    assert done.exit == 130
    assert done.stderr.startswith("interrupted: no task done")
