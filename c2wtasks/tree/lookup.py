"""Finding a path in a tree as if the tree's root were the system's: links never lead out of it."""

from __future__ import annotations

import os
import posixpath
from errno import ELOOP, ENAMETOOLONG, ENOTDIR

from c2wtasks.tree.model import DIRECTORY, SYMLINK, Inode

MAX_LINKS = 40
NAME_MAX = 255
PATH_MAX = 4095  # without the zero at its end
_CONTAINERD_MAX_LINKS = 255


def lookup(root: Inode, path: bytes, *, follow: bool = True) -> Inode | None:
    """The inode at `path`, as a kernel would resolve it in a chroot; None where there is none.

    `follow` says whether a symlink in the last place is followed (stat) or not (lstat).

    Raises OSError: ENOTDIR, ELOOP, ENAMETOOLONG.
    """
    parents = [root]
    todo = path.split(b"/")[::-1]
    links = 0
    while todo:
        part = todo.pop()
        here = parents[-1]
        if here.kind != DIRECTORY:
            raise OSError(ENOTDIR, os.strerror(ENOTDIR))
        if part in (b"", b"."):
            continue
        if part == b"..":
            if len(parents) > 1:
                parents.pop()
            continue
        if len(part) > NAME_MAX:
            raise OSError(ENAMETOOLONG, os.strerror(ENAMETOOLONG))
        inode = here.names().get(part)
        if inode is None:
            return None
        if inode.kind == SYMLINK and (todo or follow):
            links += 1
            if links > MAX_LINKS:
                raise OSError(ELOOP, os.strerror(ELOOP))
            if inode.target.startswith(b"/"):
                del parents[1:]
            todo.extend(inode.target.split(b"/")[::-1])
            continue
        parents.append(inode)
    return parents[-1]


def root_path(root: Inode, path: bytes) -> bytes:
    """`path` with all its links resolved inside `root`, without a leading slash; b"" is the root itself.

    What does not exist counts as no link. A literal rendering of continuity's `fs.RootPath`, which containerd
    resolves the parents of entries with: where links nest, it takes ".." of the path so far, not of the link's
    own directory as a kernel would.

    Raises OSError: ENOTDIR, ELOOP, ENAMETOOLONG.
    """
    links = 0
    while path:
        before = links
        here = b"/" if path.startswith(b"/") else b""
        inode: Inode | None = root  # what lies at `here`, where that is known
        known = True
        for part in path.split(b"/"):
            if not part:
                continue
            if links > _CONTAINERD_MAX_LINKS:
                raise OSError(ELOOP, os.strerror(ELOOP))
            at = _join(b"/", here, part)
            if len(at) > PATH_MAX:
                raise OSError(ENAMETOOLONG, os.strerror(ENAMETOOLONG))
            if known and part not in (b".", b".."):
                inode = None if inode is None else lookup(inode, part, follow=False)
            else:
                inode = lookup(root, at, follow=False)
            if inode is None or inode.kind != SYMLINK:
                here, known = at, True
                continue
            known = False
            links += 1
            here = inode.target if inode.target.startswith(b"/") or not here else _join(here, inode.target)
        if links == before:
            return here[1:]
        path = here
    return b""


def _join(*parts: bytes) -> bytes:
    """Go's `path.Join`: joined with slashes, then made as short as it can be without looking at the file system."""
    joined = posixpath.normpath(b"/".join(part for part in parts if part))
    return joined[1:] if joined.startswith(b"//") else joined
