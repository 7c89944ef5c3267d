"""The folders that a root is written in: opened, or made, so that nobody else's is taken for them."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from c2wtasks.disk import safely
from c2wtasks.tree.treefile import Node

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_MAX = 4096


def made(folder: str) -> int:
    """A descriptor of the folder, which is made, 0700.

    Raises OSError, also where another lies there at once.
    """
    with safely.entry(folder) as (here, name):
        os.mkdir(name, 0o700, dir_fd=here)
        descriptor = os.open(name, FOLDER, dir_fd=here)
        ours = (os.geteuid(), os.fstat(here).st_uid)  # the latter where all in a file system belongs to one user
    if os.fstat(descriptor).st_uid not in ours or os.listdir(descriptor):
        os.close(descriptor)
        raise OSError(errno.ESTALE, "somebody moves what is in this folder", folder)
    return descriptor


def opened(folder: bytes, inside: int) -> int:
    """A descriptor of a directory, -1 where there is none that can be opened."""
    try:
        return os.open(folder, FOLDER, dir_fd=inside)
    except OSError:
        return -1


def old_root(folder: str) -> int:
    """A descriptor of the root that a folder holds, -1 where there is none that can be opened."""
    try:
        with safely.folder(folder) as here:
            return os.open(".", FOLDER, dir_fd=here)
    except OSError:
        return -1


@contextmanager
def reached(root: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """An open directory, and the rest of `path` from there, which is as short as a kernel wants it."""
    here = os.dup(root)
    try:
        while len(path) >= _PATH_MAX:
            cut = path.rindex(b"/", 0, _PATH_MAX)
            inner = os.open(path[:cut], FOLDER, dir_fd=here)
            os.close(here)
            here, path = inner, path[cut + 1 :]
        yield here, path
    finally:
        os.close(here)


def allow_descriptors(nodes: Sequence[Node]) -> None:
    """Each level of directories takes one or two descriptors; the usual soft limit of 1024 would end there."""
    depths = [0] * len(nodes)
    for index in range(1, len(nodes)):
        depths[index] = depths[nodes[index].parent] + 1
    needed = 2 * max(depths) + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard < 0 else min(needed, hard), hard))
