"""Makes the files of parts of a tree, each once, straight from the tars of the layers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import msgspec

from c2wtasks.rootfs.dir.attributes import Attributes
from c2wtasks.rootfs.dir.folders import FOLDER, SEARCH_AND_WRITE, reached
from c2wtasks.rootfs.dir.lacking import Lacking
from c2wtasks.rootfs.dir.leaves import Leaves
from c2wtasks.rootfs.dir.parts import Part, ancestors
from c2wtasks.rootfs.dir.pool import Pool, PooledFiles, Shared
from c2wtasks.rootfs.dir.previous import OldRoot, Previous
from c2wtasks.rootfs.writing.copying import CANNOT_LINK, TarByNumber
from c2wtasks.telling import progress
from c2wtasks.tree.model import DIRECTORY
from c2wtasks.tree.paths import node_path
from c2wtasks.tree.treefile import ROOT, Node

NO_LINK = -1


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is to be done when all parts are made: hard links to files of other parts; directories that are not given
    their times yet, as they are of several parts or get such links; and directories whose mode shuts out their
    owner, which is set last of all. `sources` has, of a file with too many names, the name that the next ones link
    to. `missed` are the files that the old root should have had, and has not; `lost` are nodes that were to stay, in
    a root that is renewed, and cannot; `shared` is what came of the pool."""

    links: set[int] = field(default_factory=set)
    folders: set[int] = field(default_factory=set)
    locked: set[int] = field(default_factory=set)
    sources: dict[int, int] = field(default_factory=dict)
    missed: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    shared: Shared = field(default_factory=Shared)
    lacking: Lacking = field(default_factory=Lacking)

    def add(self, other: Remainder) -> None:
        """Takes in what others have left of their parts."""
        self.links.update(other.links)
        self.folders.update(other.folders)
        self.locked.update(other.locked)
        self.sources.update(other.sources)
        self.missed.update(other.missed)
        self.lost.update(other.lost)
        self.shared.add(other.shared)
        self.lacking.add(other.lacking)


class Entries:
    """Walks the nodes with the descriptors of the open directories on a stack: paths are never looked up twice."""

    def __init__(
        self,
        nodes: Sequence[Node],
        root: int,
        given: Attributes,
        tars: TarByNumber,
        previous: Previous | None,
        pool: Pool | None,
        crossed: Set[int],
    ) -> None:
        """`root` is the descriptor of the new root, in which the directories that are `crossed` have been made."""
        self.nodes = nodes
        self.root = root
        self.given = given
        self.leaves = Leaves(given, tars)
        self.old = OldRoot(previous) if previous is not None else None
        self.crossed = crossed
        self.left = Remainder(folders=set(crossed), lacking=given.lacking)
        self.pooled = PooledFiles(pool, nodes, given, self.rehearse, self.left.shared) if pool is not None else None
        self.open: list[tuple[int, int]] = []  # (index of the directory's node, its descriptor)
        self.first = 0  # of the part
        self.at = 0

    def close(self) -> None:
        """Closes all that is open."""
        self.close_folders()
        self.leaves.close()
        if self.old:
            self.old.close()

    def close_folders(self) -> None:
        """Closes the directories that are open."""
        for _, descriptor in self.open:
            os.close(descriptor)
        self.open.clear()

    def part(self, part: Part) -> None:
        """Makes the nodes of a part.

        Raises OSError, and what the tars raise.
        """
        self.first, end = part
        self.open.append((ROOT, os.dup(self.root)))
        if self.first < end:
            for folder in ancestors(self.nodes, self.first):
                self.enter(folder, self.nodes[folder], self.open[-1][1])
        for index in range(self.first, end):
            self.entry(index)
        while len(self.open) > 1:
            self.leave()
        self.close_folders()

    def entry(self, index: int) -> None:
        """Makes the next node. Raises OSError."""
        node = self.nodes[index]
        while self.open[-1][0] != node.parent:
            self.leave()
        self.at = index
        folder, parent = self.open[-1]
        if NO_LINK < node.link < self.first:
            self.defer(index, folder)
        elif node.kind == DIRECTORY and node.link == NO_LINK:
            if index not in self.crossed:
                self.make_folder(node, parent)
            self.enter(index, node, parent)
        else:
            self.put(index, node, parent)

    def defer(self, index: int, folder: int) -> None:
        """Leaves a name in a directory for the end."""
        self.left.links.add(index)
        self.left.folders.add(folder)

    def make_folder(self, node: Node, parent: int) -> None:
        """Makes a directory, which its owner can work in."""
        os.mkdir(node.name, node.mode & 0o777 | SEARCH_AND_WRITE, dir_fd=parent)

    def put(self, index: int, node: Node, parent: int) -> None:
        """Puts a name of a file in its place."""
        if node.link != NO_LINK:
            self.link(index, parent)
        elif self.pooled is None:
            self.make(index, node, parent)
        else:
            saves = self.old is None or self.old.previous.kept[index] < 0
            if self.pooled.take(index, node, parent, saves):
                progress.advance(node.size)
            else:
                self.make(index, node, parent)
                self.pooled.add(index, node, parent, saves)

    def make(self, index: int, node: Node, parent: int) -> None:
        """Makes a file, or takes the old root's."""
        if self.old is None or not self.take(self.old, index, node, parent):
            self.leaf(node, parent)

    def enter(self, index: int, node: Node, parent: int) -> None:
        """Opens a directory that is made, in one that is open."""
        self.open.append((index, os.open(node.name, FOLDER, dir_fd=parent)))
        if self.old:
            self.old.enter(index, node)

    def leave(self) -> None:
        """Finishes a directory: only now, since what is made in it changes its mtime."""
        self.at, descriptor = self.open.pop()
        if self.old:
            self.old.leave()
        try:
            if self.at not in self.left.folders:
                self.finish(self.at, descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def folder_of(self, index: int) -> Iterator[int]:
        """The open directory that a node lies in; of the root's, the root."""
        with reached(self.root, node_path(self.nodes, self.nodes[index].parent) or b".") as (here, path):
            descriptor = os.open(path, FOLDER, dir_fd=here)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def give_name(self, source: int, name: bytes, parent: int) -> None:
        """Gives the file of node `source` a second name."""
        with reached(self.root, node_path(self.nodes, source)) as (folder, path):
            os.link(path, name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)

    def put_late(self, index: int, parent: int) -> None:
        """Does with a name what was left for the end."""
        self.at = index
        self.put(index, self.nodes[index], parent)

    def finish_late(self, index: int, descriptor: int) -> None:
        """Finishes a directory that was left for the end."""
        self.at = index
        self.finish(index, descriptor)

    def finish(self, index: int, descriptor: int) -> None:
        """Gives a directory all but a mode that shuts out its owner."""
        node = self.nodes[index]
        open_mode = node.mode | SEARCH_AND_WRITE
        if open_mode != node.mode:
            self.left.locked.add(index)
        self.given.give(index, node, descriptor, open_mode)

    def link(self, index: int, parent: int) -> None:
        """Gives a file that is made a second name, or, where it cannot have more, makes a copy of it."""
        node = self.nodes[index]
        source = self.left.sources.get(node.link, node.link)
        if source in self.given.lacking.devices:
            self.given.lacking.devices.add(index)
            return
        try:
            self.give_name(source, node.name, parent)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            self.left.sources[node.link] = index
            if error.errno != errno.EMLINK:
                self.given.lacking.copies.add(index)
            self.leaf(msgspec.structs.replace(self.nodes[node.link], name=node.name), parent)
            return
        self.given.is_linked(index, source)

    def take(self, old: OldRoot, index: int, node: Node, parent: int) -> bool:
        """Links to the file that the old root has under this name; says whether it could."""
        taken = old.take(index, node, parent, self.given, partial(self.rehearse, node, parent))
        if taken:
            progress.advance(node.size)
        elif old.previous.kept[index] >= 0:
            self.left.missed.add(index)
        return taken

    def rehearse(self, node: Node, folder: int) -> None:
        """Makes a file like node `node` in an open directory that has none of its name, and takes it away again."""
        self.leaf(msgspec.structs.replace(node, size=0, content=None), folder)
        os.unlink(node.name, dir_fd=folder)

    def leaf(self, node: Node, parent: int) -> None:
        """Makes what is no directory."""
        self.leaves.make(self.at, node, parent)
