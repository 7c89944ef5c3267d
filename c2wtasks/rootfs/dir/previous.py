"""The root that was published before, of which what has not changed is linked to."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Container, Mapping, Sequence, Set
from dataclasses import dataclass, field

from c2wtasks.process.rights import xattr_name
from c2wtasks.rootfs.dir.attributes import Attributes
from c2wtasks.rootfs.dir.folders import old_root, opened
from c2wtasks.tree.model import FILE, TYPE_BITS
from c2wtasks.tree.treefile import Node

_NOT_OF_THE_OLD_ONE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@dataclass(frozen=True, slots=True)
class Previous:
    """A folder that holds another tree, but for the xattrs `lacking`; and for each node of the new one what
    `tree.difference.compare` says. Those that it should have, and is seen not to have, are added to `missed`."""

    folder: str
    kept: Sequence[int]
    lacking: Container[str] = frozenset()
    missed: set[int] = field(default_factory=set)

    def is_left_alone(self, at: int, node: Node, found: os.stat_result) -> bool:
        """Whether a file is unchanged, as node `at` of the new tree is to be; looks as it was written; and lacks no
        xattr that it is to have."""
        return (
            self.kept[at] >= 0
            and found.st_mtime_ns == node.mtime_ns
            and (node.kind != FILE or found.st_size == node.size)
            and stat.S_IFMT(found.st_mode) == TYPE_BITS[node.kind]
            and not self.lacks(node)
        )

    def lacks(self, node: Node) -> bool:
        """Whether an xattr of the node is one that could not be given."""
        return bool(node.xattrs) and any(xattr_name(name) in self.lacking for name, _ in node.xattrs)


@dataclass(frozen=True, slots=True)
class Spare:
    """A folder that is to be made another root: what the new tree has of it; the directories in which it has more
    names; the ctimes (nanoseconds) of its directories when it was whole, by their inodes; and the xattrs that they
    were given, by the numbers in `was.kept`."""

    was: Previous
    fuller: Set[int]
    stamps: Mapping[int, int]
    xattrs: Callable[[int], tuple[tuple[bytes, bytes], ...]]


class OldRoot:
    """The folder of `previous`, gone through in step with the new one."""

    def __init__(self, previous: Previous) -> None:
        self.previous = previous
        self.open = [old_root(previous.folder)]  # as in the new root, -1 where the old one has none

    def close(self) -> None:
        """Closes the folders that are open."""
        for descriptor in self.open:
            if descriptor >= 0:
                os.close(descriptor)

    def enter(self, at: int, node: Node) -> None:
        """Goes into the directory of node `at`, where the old root has it."""
        old = self.open[-1]
        self.open.append(opened(node.name, old) if old >= 0 and self.previous.kept[at] >= 0 else -1)

    def leave(self) -> None:
        """Goes back to the directory above."""
        if (old := self.open.pop()) >= 0:
            os.close(old)

    def take(self, at: int, node: Node, parent: int, given: Attributes, rehearse: Callable[[], None]) -> bool:
        """Links to the file that the old root has under this name; says whether it could. `rehearse` as in
        `Attributes.will_do`.

        Raises OSError: it is not for the old root that it cannot.
        """
        old = self.open[-1]
        if old < 0 or self.previous.kept[at] < 0:
            return False
        try:
            found = os.stat(node.name, dir_fd=old, follow_symlinks=False)
            if not self.previous.is_left_alone(at, node, found) or not given.will_do(at, node, found, rehearse):
                return False
            os.link(node.name, node.name, src_dir_fd=old, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOT_OF_THE_OLD_ONE:
                raise
            return False
        return True
