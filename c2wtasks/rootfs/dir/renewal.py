"""A root that held another tree, made equal to a new one: all that is to stay is looked at, and what is otherwise, or
not as it was left, is made anew.

Which names a directory has, and of which files, is told by its ctime, which nobody can set: it is to be the one that
was noted when the root was whole. A file that stays is never changed, since it may have names in other roots.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby

import msgspec

from c2wtasks.disk import removing
from c2wtasks.rootfs.dir.attributes import Attributes, attempt, shed_inherited
from c2wtasks.rootfs.dir.entries import Entries
from c2wtasks.rootfs.dir.folders import stepped
from c2wtasks.rootfs.dir.parts import Part, ancestors
from c2wtasks.rootfs.dir.pool import Pool
from c2wtasks.rootfs.dir.previous import Previous, Spare
from c2wtasks.rootfs.dir.whole import is_plainly
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.telling import progress
from c2wtasks.tree.difference import Xattrs
from c2wtasks.tree.model import DIRECTORY
from c2wtasks.tree.treefile import ROOT, Node


class Renewal(Entries):
    """Makes of a root that holds another tree the new one: `look` at all parts, then `change` what is to be."""

    def __init__(
        self,
        nodes: Sequence[Node],
        root: int,
        given: Attributes,
        tars: TarByNumber,
        previous: Previous | None,
        pool: Pool | None,
        *,
        spare: Spare,
        scratch: int,
    ) -> None:
        """`root` is the descriptor of the root; `scratch` that of an empty folder, to try things in.

        Raises OSError.
        """
        super().__init__(nodes, root, given, tars, previous, pool, frozenset())
        self.spare = spare
        self.kept = spare.was.kept
        self.scratch = scratch
        self.ways: dict[int, bytes] = {}  # to the directories that are as they were left
        self.changed: Set[int] = frozenset()
        top = os.fstat(root)
        if spare.stamps.get(top.st_ino) == top.st_mtime_ns:
            self.ways[ROOT] = b""
        self.open_up(root)

    def look(self, part: Part) -> None:
        """Looks at the nodes of a part, and notes those that are to stay, and cannot."""
        first, end = part
        size = 0
        for folder in ancestors(self.nodes, first) if first < end else ():
            if folder not in self.ways and self.kept[folder] >= 0:
                self.is_as_left(folder)
        for index in range(first, end):
            if self.kept[index] >= 0:
                if self.is_as_left(index):
                    size += self.nodes[index].size
                else:
                    self.left.lost.add(index)
        progress.advance(size)

    def is_as_left(self, index: int) -> bool:
        """Whether a node that is to stay is as it was left, and a file as it is to be now."""
        node = self.nodes[index]
        way = self.ways.get(node.parent)
        if way is None:
            return False
        if node.link >= 0:  # its directory tells
            return True
        path = way + node.name
        try:
            found = os.stat(path, dir_fd=self.root, follow_symlinks=False)
        except OSError:
            return False
        if node.kind != DIRECTORY:
            if (node.xattrs or not is_plainly(node, found)) and not self.will_do(index, node, found):
                return False
            return self.pooled is None or self.pooled.has(index, node, path, self.root, found)
        if not stat.S_ISDIR(found.st_mode) or self.spare.stamps.get(found.st_ino) != found.st_ctime_ns:
            return False
        self.ways[index] = path + b"/"
        if not is_plainly(node, found) or self.spare.was.lacks(node) or self.had(index) != node.xattrs:
            self.left.folders.add(index)
        return True

    def will_do(self, index: int, node: Node, found: os.stat_result) -> bool:
        """Whether a file is as it would be if it were made now: who makes it may not be able to do all."""
        was, tried = self.spare.was, msgspec.structs.replace(node, name=b"%d" % os.getpid())
        rehearse = partial(self.rehearse, tried, self.scratch)
        return was.is_left_alone(index, node, found) and self.given.will_do(index, node, found, rehearse)

    def had(self, index: int) -> Xattrs:
        """The xattrs that a directory which stays was given."""
        return self.spare.xattrs(self.kept[index])

    def change(self) -> None:
        """Makes all that does not stay, but for what is left to the end.

        Raises OSError, and what the tars raise.
        """
        self.changed = changed = self.all_changed()
        touched = {ROOT, *self.spare.fuller, *(self.nodes[index].parent for index in changed)} - changed
        staying: dict[int, set[bytes]] = {folder: set() for folder in touched}
        for index, node in enumerate(self.nodes):
            if index != ROOT and node.parent in touched and index not in changed:
                staying[node.parent].add(node.name)
        self.left.folders.update(touched)
        for folder in sorted(touched):
            self.at = folder
            self.clear(folder, staying[folder])
        for part in _runs(changed):
            self.part(part)
        if self.given.lacking.states or self.given.lacking.xattrs:
            for index, node in enumerate(self.nodes):
                if node.link >= 0 and index not in changed:
                    self.given.is_linked(index, node.link)

    def all_changed(self) -> set[int]:
        """The nodes that do not stay, with what follows from that for others."""
        changed = {index for index, at in enumerate(self.kept) if at < 0} | self.left.lost
        if self.left.lost:
            for index, node in enumerate(self.nodes):
                if index != ROOT and (node.parent in changed or node.link in changed):
                    changed.add(index)
        self.left.folders.difference_update(changed)
        return changed

    def clear(self, folder: int, staying: Set[bytes]) -> None:
        """Makes a directory fit to be changed, and removes all from it but these names."""
        with self.inside(folder) as here:
            self.open_up(here)
            for name in os.listdir(here):
                if os.fsencode(name) not in staying:
                    removing.remove_in(here, name)

    def open_up(self, folder: int) -> None:
        """Makes a directory as one that was just made."""
        shed_inherited(folder)
        attempt(lambda: os.fchown(folder, *self.given.own))

    def leave(self) -> None:
        """Finishes a directory that was made; others are left as they are, or to the end."""
        if self.open[-1][0] in self.changed:
            super().leave()
            return
        _, descriptor = self.open.pop()
        os.close(descriptor)
        if self.old:
            self.old.leave()

    def finish(self, index: int, descriptor: int) -> None:
        """Gives a directory all but a mode that shuts out its owner; also one that had something else."""
        if index not in self.changed:
            self.open_up(descriptor)
            _strip(descriptor, self.had(index), self.nodes[index].xattrs)
        super().finish(index, descriptor)

    def give_name(self, source: int, name: bytes, parent: int) -> None:
        """Gives the file of node `source` a second name."""
        with self.folder_of(source) as folder:
            os.link(self.nodes[source].name, name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)

    @contextmanager
    def folder_of(self, index: int) -> Iterator[int]:
        """The open directory that a node lies in; no link that somebody may have put in its way is followed."""
        with self.inside(self.nodes[index].parent) as here:
            yield here

    @contextmanager
    def inside(self, index: int) -> Iterator[int]:
        """The same of a directory."""
        way = [self.nodes[folder].name for folder in (*ancestors(self.nodes, index), index) if folder != ROOT]
        with stepped(self.root, way) as here:
            yield here


def _runs(numbers: Iterable[int]) -> Iterator[Part]:
    """Numbers as parts, each of which has no gap."""
    for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], members[-1] + 1


def _strip(folder: int, had: Xattrs, wanted: Xattrs) -> None:
    """Takes from a directory the xattrs that it was given, and is not to have any more."""
    for name in {name for name, _ in had} - {name for name, _ in wanted}:
        with suppress(OSError):
            os.removexattr(folder, name)
