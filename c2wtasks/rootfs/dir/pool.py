"""The pool: a folder that has a name for each file that roots share, by all that makes the file what it is."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b

import msgspec

from c2wtasks.disk.filestate import disk_bytes
from c2wtasks.errors import os_reason
from c2wtasks.process.rights import builder
from c2wtasks.rootfs.dir.attributes import Attributes
from c2wtasks.tree.treefile import Node

TEMPORARY = ".tmp-"
"""In the pool's folder: what such names begin with, each of which is there for an instant."""
MOST_NAMES = 300
"""Of a file that has several in one root. It gets three times as many when these roots are replaced, and no file
system refuses one of them, which would be a copy then. A file with one name in each root has as many as the file
system allows (65,000 on ext4)."""


@dataclass(slots=True)
class Shared:
    """What comes of a pool: how many bytes of the disk are `saved`, as other roots have the files already; and why no
    more can be shared, if that is so."""

    saved: int = 0
    cannot: str = ""

    def add(self, other: Shared) -> None:
        """Takes in what came of another part of the same root."""
        self.saved += other.saved
        self.cannot = self.cannot or other.cannot


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool of an output, for the root of one tree.

    `folder` is its descriptor. `layers` are the names of the folders in it, one a layer of the tree; "" for a layer
    whose files are not shared. What stays of older roots is in the pool, but for what is of the layers `unknown`.
    What comes of the pool is added to `shared`.
    """

    folder: int
    layers: Sequence[str] = ()
    unknown: Container[int] = ()
    shared: Shared = field(default_factory=Shared)


class PooledFiles:
    """Gives the files of a root the names that they have in the pool, and the other way round.

    The pool is no more than a help: what goes wrong with it is noted, and the root has files of its own.
    """

    def __init__(
        self,
        pool: Pool,
        nodes: Sequence[Node],
        given: Attributes,
        rehearse: Callable[[Node, int], None],
        result: Shared,
    ) -> None:
        """`rehearse` as in `Attributes.will_do`, for a node in an open directory. What comes of it is noted in
        `result`."""
        self.pool = pool
        self.given = given
        self.rehearse = rehearse
        self.result = result
        self.result.cannot = pool.shared.cannot
        self.names = Counter(node.link for node in nodes if node.link >= 0)  # of a file, beside its first
        self.asked = ""  # the path of the file that was asked for last, and was not to be had
        self.is_full = False  # which is there, but may have no more names

    def path(self, node: Node) -> str:
        """The file's name in the pool; "" where it has none: an empty file, say, is told from another one only by
        its path.

        Equal names are the same bytes, of one place in one layer, and equal metadata. No two files of a tree have
        one, as its layers are all different.
        """
        content = node.content
        if content is None or not node.size or self.result.cannot:
            return ""
        layer, offset, sparse = content
        folder = self.pool.layers[layer]
        if not folder:
            return ""
        path = f"{folder}/{offset:x}.{node.size:x}.{node.mode:o}.{node.uid:x}.{node.gid:x}.{node.mtime_ns:x}"
        if sparse is None and not node.xattrs:
            return path
        # An image can be made to have what it likes here, so no other hash than one that can be trusted will do. Ids
        # in ACLs mean others in another user namespace.
        more = msgspec.msgpack.encode((sparse, node.xattrs, builder().ids))
        return f"{path}.{blake2b(more, digest_size=20).hexdigest()}"

    def take(self, index: int, node: Node, parent: int, saves: bool) -> bool:
        """Gives the shared file the name of node `index` in the open directory `parent`; says whether it could.
        `saves` says that the file would have to be written otherwise."""
        self.is_full = False
        self.asked = path = self.path(node)
        if not path:
            return False
        folder = self.pool.folder
        try:
            found = os.stat(path, dir_fd=folder, follow_symlinks=False)
            if not self._is_good(index, node, found, parent):
                os.unlink(path, dir_fd=folder)  # whoever has it keeps it
                return False
            self.is_full = self._has_most_names(index, found)
            if self.is_full:
                return False
            os.link(path, node.name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._fail(error)
            return False
        if saves:
            self.result.saved += disk_bytes(found)
        return True

    def add(self, index: int, node: Node, parent: int, saves: bool) -> None:
        """Gives the file that was made of node `index`, as there was none to take, its name in the pool. If another
        process was first, its file takes the place of ours."""
        path = self.asked
        if not path or index in self.given.lacking.xattrs:
            return
        try:
            if self.is_full:
                self._replace(path, node.name, parent)
            else:
                self._link(path, node.name, parent)
        except FileExistsError:
            self._join(index, node, path, parent, saves)
        except OSError as error:
            self._fail(error)

    def has(self, index: int, node: Node, name: bytes, folder: int, found: os.stat_result) -> bool:
        """Whether a file that stays of an older root, found so under this name or path in an open directory, is the
        one that the pool has, or may be: it is put there where there is none."""
        if node.content is None or node.content.layer not in self.pool.unknown:
            return True
        path = self.path(node)
        if not path or index in self.given.lacking.xattrs:
            return True
        try:
            self._link(path, name, folder)
        except FileExistsError:
            try:
                return os.stat(path, dir_fd=self.pool.folder, follow_symlinks=False).st_ino == found.st_ino
            except OSError:
                return True
        except OSError as error:
            self._fail(error)
        return True

    def _is_good(self, index: int, node: Node, found: os.stat_result, parent: int) -> bool:
        """Whether a file looks as it was left: somebody may have written into it by way of some root."""
        return (
            found.st_mtime_ns == node.mtime_ns
            and found.st_size == node.size
            and stat.S_ISREG(found.st_mode)
            and self.given.will_do(index, node, found, partial(self.rehearse, node, parent))
        )

    def _has_most_names(self, index: int, found: os.stat_result) -> bool:
        names = self.names[index]
        return names > 0 and found.st_nlink + names >= MOST_NAMES

    def _link(self, path: str, name: bytes, parent: int) -> None:
        folder = self.pool.folder
        try:
            os.link(name, path, src_dir_fd=parent, dst_dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:  # it is the first one of its layer
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(path), 0o700, dir_fd=folder)
            os.link(name, path, src_dir_fd=parent, dst_dir_fd=folder, follow_symlinks=False)

    def _replace(self, path: str, name: bytes, parent: int) -> None:
        """Gives our file the name in the pool that another one has: that has as many names as it may have."""
        folder, unfinished = self.pool.folder, f"{TEMPORARY}{os.getpid()}"
        os.link(name, unfinished, src_dir_fd=parent, dst_dir_fd=folder, follow_symlinks=False)
        _rename(unfinished, folder, path, folder)

    def _join(self, index: int, node: Node, path: str, parent: int, saves: bool) -> None:
        folder, unfinished = self.pool.folder, f"{TEMPORARY}{os.getpid()}"
        try:
            found = os.stat(path, dir_fd=folder, follow_symlinks=False)
            if self._has_most_names(index, found) or not self._is_good(index, node, found, parent):
                return
            os.link(path, unfinished, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            _rename(unfinished, folder, node.name, parent)
        except OSError:  # ours does as well
            return
        if saves:
            self.result.saved += disk_bytes(found)

    def _fail(self, error: OSError) -> None:
        """What an error makes of the pool: nothing where a file has all the names that it may have."""
        if error.errno == errno.EMLINK:
            self.is_full = True
        else:
            self.result.cannot = os_reason(error)


def _rename(unfinished: str, folder: int, name: str | bytes, there: int) -> None:
    """Gives a file another name, for which it had one that is gone then. (If it has that already, a rename does
    nothing.)"""
    try:
        os.rename(os.fsencode(unfinished), os.fsencode(name), src_dir_fd=folder, dst_dir_fd=there)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(unfinished, dir_fd=folder)
