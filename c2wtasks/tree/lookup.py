"""Finding a path in a tree as if the tree's root were the system's: links never lead out of it."""

from __future__ import annotations

import posixpath
from errno import ELOOP, ENAMETOOLONG, ENOTDIR
from typing import Protocol, TypeVar

from c2wtasks.tree.model import DIRECTORY, SYMLINK
from c2wtasks.tree.refusal import refused

MAX_LINKS = 40
NAME_MAX = 255
PATH_MAX = 4095  # without the zero at its end
_CONTAINERD_MAX_LINKS = 255


class AnyFile(Protocol):
    """A file in a tree, in memory (`model.Inode`) or flat (`recorded.Recorded`)."""

    @property
    def kind(self) -> str:
        """The kind of the file, as `treefile.Node` has it."""

    @property
    def target(self) -> bytes:
        """What a symlink leads to, empty for other files."""

    def child(self: P, name: bytes, /) -> P | None:
        """What has a name in a directory."""


P = TypeVar("P", bound=AnyFile)


class Steps:
    """How many steps may still be taken, each to one part of a path. Links in links make of a short path as long a
    way as one likes."""

    __slots__ = ("_left", "_limit")

    def __init__(self, limit: int) -> None:
        self._left = self._limit = limit

    def take(self, count: int) -> None:
        """Counts `count` steps. Raises OSError: they are too many."""
        self._left -= count
        if self._left < 0:
            raise OSError(ELOOP, f"looking up its paths takes more than {self._limit} steps")


def lookup(root: P, path: bytes, *, follow: bool = True, steps: Steps | None = None) -> P | None:
    """The file at `path`, as a kernel would resolve it in a chroot; None where there is none.

    `follow` says whether a symlink in the last place is followed (stat) or not (lstat).

    Raises OSError: ENOTDIR, ELOOP, ENAMETOOLONG.
    """
    return _walk(root, path.split(b"/"), follow, steps, [])


def holder(root: P, path: bytes, *, steps: Steps | None = None) -> tuple[P, bytes] | None:
    """The directory in which `lookup` finds the last part of a clean path, if that is a link the link itself, and its
    name there; None where there is none, and of the root.

    Raises OSError, as `lookup`.
    """
    *above, name = path.split(b"/")
    directory = _walk(root, above, True, steps, [])
    if directory is None or not name or _child(directory, name) is None:
        return None
    return directory, name


def _walk(root: P, path: list[bytes], follow: bool, steps: Steps | None, met: list[P]) -> P | None:
    """Like `lookup`. Puts into `met` what lies at each part of a path that has neither "." nor ".." nor empty parts,
    as far as there is anything: links as links."""
    parents = [root]
    todo = path[::-1]
    left = len(todo)  # of the path's own parts, below those of links
    links = 0
    if steps is not None:
        steps.take(left)
    while todo:
        part = todo.pop()
        here = parents[-1]
        if here.kind != DIRECTORY:
            raise refused(ENOTDIR)
        if part in (b"", b"."):
            continue
        if part == b"..":
            if len(parents) > 1:
                parents.pop()
            continue
        if len(part) > NAME_MAX:
            raise refused(ENAMETOOLONG)
        inode = here.child(part)
        if inode is None:
            return None
        if len(todo) < left:
            left = len(todo)
            met.append(inode)
        if inode.kind == SYMLINK and (todo or follow):
            links += 1
            if links > MAX_LINKS:
                raise refused(ELOOP)
            if inode.target.startswith(b"/"):
                del parents[1:]
            parts = inode.target.split(b"/")
            if steps is not None:
                steps.take(len(parts))
            todo.extend(parts[::-1])
            continue
        parents.append(inode)
    return parents[-1]


def root_path(root: P, path: bytes, *, steps: Steps | None = None) -> bytes:
    """`path` with all its links resolved inside `root`, without a leading slash; b"" is the root itself.

    What does not exist counts as no link. As continuity's `fs.RootPath`, which containerd resolves the parents of
    entries with: where links nest, it takes ".." of the path so far, not of the link's own directory as a kernel
    would.

    Raises OSError: ENOTDIR, ELOOP, ENAMETOOLONG.
    """
    links = 0
    while path:
        before = links
        names: list[bytes] = []  # the path so far, clean, and what lies at each part of it
        inodes: list[P | None] = []
        size = 0  # of the names, each with a slash before it
        link: bytes | None = None  # what the path so far is, instead, where that was a link
        is_first = not path.startswith(b"/")
        parts = path.split(b"/")
        if steps is not None:
            steps.take(len(parts))
        for part in parts:
            if not part:
                continue
            if links > _CONTAINERD_MAX_LINKS:
                raise refused(ELOOP)
            around, link = link, None
            left: list[bytes] = []
            if around is not None:
                if steps is not None:
                    steps.take(around.count(b"/"))
                names = [name for name in _join(b"/", around, part).split(b"/") if name]
                size = sum(map(len, names)) + len(names)
                _check_size(size)
                met: list[P] = []
                _walk(root, names, False, steps, met)
                inodes = [*met, *[None] * (len(names) - len(met))]
            elif part == b"..":
                left = names[-1:]
                if names:
                    size -= len(names.pop()) + 1
                    inodes.pop()
            elif part != b".":
                names.append(part)
                size += len(part) + 1
                _check_size(size)
                inodes.append(_child(inodes[-1] if inodes else root, part))
            inode = inodes[-1] if inodes else root
            if inode is not None and inode.kind == SYMLINK:
                links += 1
                if around is None:  # the path before this part, whatever that does to it
                    around = b"/" + b"/".join(names + left if part in (b".", b"..") else names[:-1])
                if steps is not None:
                    steps.take(around.count(b"/") + inode.target.count(b"/"))
                link = inode.target if is_first or inode.target.startswith(b"/") else _join(around, inode.target)
            is_first = False
        if links == before:
            return b"/".join(names)
        path = b"/" + b"/".join(names) if link is None else link
    return b""


def _child(directory: P | None, name: bytes) -> P | None:
    """What has a name in a directory, itself if it is a link; None where there is no such name, or no directory.

    Raises OSError: ENOTDIR, ENAMETOOLONG.
    """
    if directory is None:
        return None
    if directory.kind != DIRECTORY:
        raise refused(ENOTDIR)
    if len(name) > NAME_MAX:
        raise refused(ENAMETOOLONG)
    return directory.child(name)


def _join(*parts: bytes) -> bytes:
    """Go's `path.Join`: joined with slashes, then made as short as it can be without looking at the file system."""
    joined = posixpath.normpath(b"/".join(parts))
    return joined[1:] if joined.startswith(b"//") else joined


def _check_size(size: int) -> None:
    """Raises OSError: a path of `size` bytes is too long."""
    if size > PATH_MAX:
        raise refused(ENAMETOOLONG)
