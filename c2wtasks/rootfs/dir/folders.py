"""The folders that a root is written in: opened, or made, so that nobody else's is taken for them."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from c2wtasks.disk import safely
from c2wtasks.disk.filestate import is_over, tick_ns
from c2wtasks.tree.model import DIRECTORY
from c2wtasks.tree.treefile import ROOT, Node

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
SEARCH_AND_WRITE = 0o700
"""What a folder's owner needs of its mode to make something in it."""
_PATH_MAX = 4096
_PAUSE = 0.001  # seconds: a tick of the clock is a few of these
_TRIES = 20
_LONG_NS = 10**9
FEW = 128
"""Nodes of a small root. To wait for a tick takes longer than all that is done with it."""


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


@contextmanager
def stepped(root: int, names: Sequence[bytes]) -> Iterator[int]:
    """The open directory below `root` to which these names lead, one after the other, none of them a link.

    Raises OSError.
    """
    here = os.dup(root)
    try:
        for name in names:
            inner = os.open(name, FOLDER, dir_fd=here)
            os.close(here)
            here = inner
        yield here
    finally:
        os.close(here)


class Young(msgspec.Struct, frozen=True, array_like=True):
    """A directory that could be changed now, and have the same ctime: its path in the root, its inode, its ctime."""

    path: bytes
    inode: int
    ctime_ns: int


def settled(young: Iterable[Young], root: str) -> dict[int, int]:
    """As `stamps`, of those of the directories that nobody can change any more without a trace, nor has since. Waits
    for the end of the tick in which they were written, which serves all that were written before.

    Raises OSError.
    """
    with safely.folder(root) as folder:
        return _settled(young, folder)


def _settled(young: Iterable[Young], root: int) -> dict[int, int]:
    """As `settled`, of the root with this descriptor."""
    found = {}
    for one in young:
        if not _is_soon_over(one.ctime_ns):  # nor are those of the others
            break
        with suppress(OSError):
            state = os.stat(one.path, dir_fd=root, follow_symlinks=False)
            if (state.st_ino, state.st_ctime_ns) == (one.inode, one.ctime_ns):
                found[one.inode] = one.ctime_ns
    return found


def stamps(nodes: Sequence[Node], root: str, left: list[Young] | None = None) -> dict[int, int]:
    """What tells, of the directories in a root that was just written, that nobody has put something in or taken
    something out: their ctimes, by their inodes; of the root itself, which is given another name, the mtime. In
    nanoseconds. Those that cannot be reached are left out, and so are young ones of a small root: these are `left`.

    Raises OSError.
    """
    ways = {ROOT: b""}
    young: list[Young] = []
    folder = os.open(root, FOLDER)
    try:
        top = os.fstat(folder)
        found = {top.st_ino: top.st_mtime_ns}
        for index, node in enumerate(nodes):
            if node.kind == DIRECTORY and index != ROOT and (way := ways.get(node.parent)) is not None:
                path = way + node.name
                with suppress(OSError):
                    state = os.stat(path, dir_fd=folder, follow_symlinks=False)
                    ways[index] = path + b"/"
                    if is_over(state.st_ctime_ns):
                        found[state.st_ino] = state.st_ctime_ns
                    else:
                        young.append(Young(path, state.st_ino, state.st_ctime_ns))
        if len(nodes) >= FEW:
            found |= _settled(young, folder)
        elif left is not None:
            left += young
        return found
    finally:
        os.close(folder)


def _is_soon_over(time_ns: int) -> bool:
    """Waits for the end of a tick of the clock, if it is short."""
    for _ in range(_TRIES if tick_ns(time_ns) < _LONG_NS else 1):
        if is_over(time_ns):
            return True
        time.sleep(_PAUSE)
    return False


def allow_descriptors(nodes: Sequence[Node]) -> None:
    """`allow_depth` of a tree."""
    depths = [0] * len(nodes)
    for index in range(1, len(nodes)):
        depths[index] = depths[nodes[index].parent] + 1
    allow_depth(max(depths))


def allow_depth(depth: int) -> None:
    """Raises the soft limit of descriptors, as each level of directories takes one or two of the usual 1024."""
    needed = 2 * depth + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard < 0 else min(needed, hard), hard))
