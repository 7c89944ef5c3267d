"""How many CPUs this process may keep busy: those of its affinity mask, less where a control group has a quota.

Linux bounds a group's CPU time by a quota of microseconds a period: `cpu.max` holds both ("150000 100000", or "max
100000") in version 2, `cpu.cfs_quota_us` (-1: none) and `cpu.cfs_period_us` in version 1. Each group above counts,
too. (Kernel documentation: admin-guide/cgroup-v2, scheduler/sched-bwc; proc(5) on mountinfo; cgroups(7).)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

_MAX_TEXT = 4 << 20


def usable() -> int:
    """The CPUs that this process may keep busy, at least one; a part of one counts as one."""
    cores = len(os.sched_getaffinity(0))
    if cores == 1:
        return 1
    limit = quota(_text("/proc/self/cgroup"), _text("/proc/self/mountinfo"))
    return cores if limit is None else max(1, min(cores, limit))


def quota(cgroup: str, mountinfo: str) -> int | None:
    """The CPUs that the groups of a process leave it, rounded up; None where none has a quota.

    `cgroup` and `mountinfo` are the texts of these files in /proc/PID.
    """
    found = [_cpus(folder) for folder in _folders(cgroup, mountinfo)]
    return min((cpus for cpus in found if cpus is not None), default=None)


def _folders(cgroup: str, mountinfo: str) -> Iterator[str]:
    """The folders of the process's groups that may bound its CPU time, as they are mounted here, and of those above.

    A container sees its own group at the top of the mount, whatever /proc calls it.
    """
    paths: dict[str, str] = {}  # of the process's groups, below the top: by "cpu" in version 1, by "" in version 2
    for line in cgroup.splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        paths |= {name: path for name in controllers.split(",") if name in ("", "cpu")}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        key = "" if kind[0] == "cgroup2" else "cpu"
        if key not in paths or (key == "cpu" and "cpu" not in kind[2].split(",")):
            continue
        top, mounted = _plain(fields[3]), _plain(fields[4])
        below = _below(top, paths[key])
        yield mounted
        while below:
            yield f"{mounted}/{below}"
            below = os.path.dirname(below)


def _below(top: str, path: str) -> str:
    """Where the group `path` lies below `top`, the one that is mounted; "" where it does not."""
    top = top.rstrip("/")
    if ".." in path.split("/") or not f"{path}/".startswith(f"{top}/"):
        return ""
    return path.removeprefix(top).strip("/")


def _plain(text: str) -> str:
    """A path of mountinfo: blanks and the like are written in octal there."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _cpus(folder: str) -> int | None:
    """The whole CPUs that the quota of a group comes to, rounded up; None where it has none."""
    words = _text(f"{folder}/cpu.max").split()
    words = words or [_text(f"{folder}/cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(words) != 2 or not all(re.fullmatch("[1-9][0-9]{0,17}", word) for word in words):
        return None
    allowed, period = map(int, words)
    return -(-allowed // period)


def _text(path: str) -> str:
    """The text of a file of the kernel's; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read(_MAX_TEXT)
    except OSError:
        return ""
