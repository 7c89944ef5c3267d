"""Finding a path in a tree as if the tree's root were the system's: links never lead out of it."""

from __future__ import annotations

import os
import posixpath
from errno import ELOOP, ENOTDIR

from c2wtasks.tree.model import DIRECTORY, SYMLINK, Inode

MAX_LINKS = 40


def lookup(root: Inode, path: bytes, *, follow: bool = True) -> Inode | None:
    """The inode at `path`, as a kernel would resolve it in a chroot; None where there is none.

    `follow` says whether a symlink in the last place is followed (stat) or not (lstat).

    Raises OSError: ENOTDIR, ELOOP.
    """
    parents = [root]
    todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
    links = 0
    while todo:
        part = todo.pop()
        if part == b"..":
            if len(parents) > 1:
                parents.pop()
            continue
        here = parents[-1]
        if here.kind != DIRECTORY:
            raise OSError(ENOTDIR, os.strerror(ENOTDIR))
        inode = here.names().get(part)
        if inode is None:
            return None
        if inode.kind == SYMLINK and (todo or follow):
            links += 1
            if links > MAX_LINKS:
                raise OSError(ELOOP, os.strerror(ELOOP))
            if inode.target.startswith(b"/"):
                del parents[1:]
            todo.extend(part for part in reversed(inode.target.split(b"/")) if part not in (b"", b"."))
            continue
        parents.append(inode)
    return parents[-1]


def root_path(root: Inode, path: bytes) -> bytes:
    """`path` with all its links resolved inside `root`, without a leading slash; b"" is the root itself.

    What does not exist counts as no link. A literal rendering of continuity's `fs.RootPath`, which containerd
    resolves the parents of entries with: where links nest, it takes ".." of the path so far, not of the link's
    own directory as a kernel would.

    Raises OSError: ENOTDIR, ELOOP.
    """
    links = 0
    while path:
        before = links
        absolute = path.startswith(b"/")
        here = b"/" if absolute else b""
        for part in path.split(b"/"):
            if not part:
                continue
            at = _join(b"/", here, part)
            inode = lookup(root, at, follow=False)
            if inode is None or inode.kind != SYMLINK:
                here = at
                continue
            links += 1
            if links > 255:
                raise OSError(ELOOP, os.strerror(ELOOP))
            here = inode.target if inode.target.startswith(b"/") or not here else _join(here, inode.target)
        if links == before:
            clean = _join(b"/", here)
            if clean == path:
                return clean[1:]
            here = clean
        path = here
    return b""


def _join(*parts: bytes) -> bytes:
    """Go's `path.Join`: joined with slashes, then made as short as it can be without looking at the file system."""
    joined = posixpath.normpath(b"/".join(part for part in parts if part))
    return joined[1:] if joined.startswith(b"//") else joined
