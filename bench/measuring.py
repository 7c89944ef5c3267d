"""Timing whole processes, side by side: each command in turn, each time in a fresh folder, several rounds.

Nothing is deleted before all is timed, since file systems create files more slowly for a while after that.
"""

from __future__ import annotations

import gc
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# As users have it: modules are compiled once, not in each run, and output is buffered.
for _name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
    os.environ.pop(_name, None)


@dataclass(frozen=True)
class Reading:
    """Seconds of wall clock and of user and system CPU, and the largest process's peak memory in MB."""

    wall: float
    cpu: float
    peak: float


Commands = Sequence[Sequence[str]]
"""What one contender runs, one after the other."""


def machine() -> str:
    return f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def are_here(who: str, *programs: str) -> bool:
    """Whether the programs that `who` needs are in PATH; tells it where they are not."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        print(f"skipped: {who}, for want of {', '.join(missing)}", flush=True)
    return not missing


def run(commands: Commands, folder: Path, *, at_once: int = 1) -> Reading:
    """Runs the commands in `folder`, so many at a time."""
    begun = time.perf_counter()
    cpu = peak = 0.0
    left = list(reversed(commands))
    running: dict[int, Sequence[str]] = {}
    while left or running:
        while left and len(running) < at_once:
            command = left.pop()
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            running[process.pid] = command
            process.returncode = 0  # we wait for it ourselves
        pid, status, usage = os.wait4(-1, 0)
        command = running.pop(pid)
        if status:
            sys.exit(f"{' '.join(command)} in {folder}: status {os.waitstatus_to_exitcode(status)}")
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss / 1024)
    return Reading(time.perf_counter() - begun, cpu, peak)


def child(function: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and peak memory in MB of a call, in a process of its own."""
    gc.freeze()  # what was made for measuring is not to be walked through meanwhile
    os.sync()
    begun = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        function()
        os._exit(0)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"a measured call ended with status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


def rounds(contenders: Mapping[str, Callable[[Path], Reading]], work: Path, count: int) -> dict[str, Reading]:
    """The median of each contender, each of which gets an empty folder in each round."""
    readings: dict[str, list[Reading]] = {name: [] for name in contenders}
    for number in range(count):
        for name, contender in contenders.items():
            folder = work / f"{name.replace('/', '-')}-{number}"
            folder.mkdir()
            os.sync()
            readings[name].append(contender(folder))
    return {
        name: Reading(*(statistics.median(getattr(one, key) for one in of) for key in ("wall", "cpu", "peak")))
        for name, of in readings.items()
    }


def table(medians: Mapping[str, Reading], ours: str) -> str:
    """Markdown, with what `ours` takes of each contender's time."""
    lines = ["| | wall s | CPU s | peak MB | our wall is | our CPU is |", "| --- | --- | --- | --- | --- | --- |"]
    mine = medians[ours]
    for name, one in medians.items():
        wall, cpu = f"{mine.wall / one.wall:.2f} of it", f"{mine.cpu / max(one.cpu, 0.01):.2f} of it"
        lines.append(f"| {name} | {one.wall:.2f} | {one.cpu:.2f} | {one.peak:.0f} | {wall} | {cpu} |")
    return "\n".join(lines)
