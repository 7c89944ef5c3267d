"""Whether other processes are at work in a folder, as far as /proc shows them to us."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache

from c2wtasks.disk import safely
from c2wtasks.disk.abilities import as_mounts_say

_TELLING = 5  # names at the end of a path: in another mount namespace it begins otherwise


def had_open(folder: str) -> bool:
    """Whether another process that we may look at had `folder`, or something below it, open, mounted, or as its root
    or working directory when this process first asked: all are looked at once. Who reaches it over a network is not
    seen, nor whoever runs on another machine.

    Raises OSError: there is no such folder.
    """
    with safely.open_folder(folder) as descriptor:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
    paths, mounts = _at_work()
    for inside in (path, f"{path}/"):
        at = bisect_left(paths, inside)
        if at < len(paths) and (paths[at] == path or paths[at].startswith(f"{path}/")):
            return True
    return as_mounts_say("/".join(path.split("/")[-_TELLING:])) in mounts


@cache
def _at_work() -> tuple[list[str], str]:
    """The paths of all that other processes have open, sorted; and all that is mounted, for them and for us."""
    paths: set[str] = set()
    mounts: dict[str, str] = {}
    own = str(os.getpid())
    for name in filter(str.isdigit, os.listdir("/proc")):
        process = f"/proc/{name}"
        if name != own:
            paths.update(_links(process))
        namespace = _link(f"{process}/ns/mnt")
        if namespace not in mounts:
            mounts[namespace] = _mounts(process)
    return sorted(path for path in paths if path.startswith("/")), "".join(mounts.values())


def _links(process: str) -> Iterator[str]:
    yield _link(f"{process}/cwd")
    yield _link(f"{process}/root")
    try:
        names = os.listdir(f"{process}/fd")
    except OSError:  # it is another user's, or gone
        return
    for name in names:
        yield _link(f"{process}/fd/{name}")


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _mounts(process: str) -> str:
    try:
        with open(f"{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            return table.read()
    except OSError:
        return ""
