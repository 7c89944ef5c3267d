"""Walks a tree and makes its files, each once, straight from the tars of the layers."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

import msgspec

from c2wtasks import progress
from c2wtasks.layers.fragments import in_tar, unpack
from c2wtasks.rootfs.dir.attributes import CANNOT, NO_SUCH_KIND, Attributes, attempt
from c2wtasks.rootfs.dir.folders import FOLDER, allow_descriptors, made, reached
from c2wtasks.rootfs.dir.previous import OldRoot, Previous
from c2wtasks.rootfs.dir.refusal import explained
from c2wtasks.rootfs.rights import LeftOut
from c2wtasks.rootfs.writing.copying import CANNOT_LINK, OpenTars, TarByNumber, copy
from c2wtasks.tree.model import DIRECTORY, FIFO, FILE, SYMLINK, TYPE_BITS
from c2wtasks.tree.paths import node_path
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SEARCH_AND_WRITE = 0o700


def write(tree: TreeFile, tars: TarByNumber, folder: str, previous: Previous | None = None) -> LeftOut:
    """Makes `folder`, which must not exist, hold the tree. Gives what could not be made so.

    Whatever the builder may not do, or the file system cannot, is left out: an owner, who is the builder then; bits
    of a mode; a device; an xattr; a hard link, which is a copy then. All else is exact: mode, links, content, mtime
    in nanoseconds (atime is the same). Where a file has more names than the file system allows (65,000 on ext4),
    copies of it take the rest.

    What `previous` holds unchanged becomes a hard link to the file there, unless that is seen to be another one by
    now; nothing is ever written into it.

    Raises OutputError, and what `tars` raises.
    """
    writer = _Writer(tars, previous)
    try:
        return writer.tree(tree, folder)
    except OSError as error:
        raise explained(error, folder, writer.at, tree) from error
    finally:
        writer.close()


class _Writer:
    """Walks the nodes with the descriptors of the open directories on a stack: paths are never looked up twice."""

    given: Attributes  # as soon as there is a root

    def __init__(self, tars: TarByNumber, previous: Previous | None) -> None:
        self.tars = OpenTars(tars)
        self.old = OldRoot(previous) if previous is not None else None
        self.root = -1
        self.open: list[tuple[int, int]] = []  # (index of the directory's node, its descriptor)
        self.locked: list[int] = []  # directories whose mode shuts out their owner: it is set last of all
        self.link_sources: dict[int, int] = {}  # a file with too many names -> the name that the next ones link to
        self.at = 0

    def close(self) -> None:
        self.tars.close()
        if self.old:
            self.old.close()
        for descriptor in (self.root, *(descriptor for _, descriptor in self.open)):
            if descriptor >= 0:
                os.close(descriptor)

    def tree(self, tree: TreeFile, folder: str) -> LeftOut:
        nodes = tree.nodes
        self.root = made(folder)
        self.given = Attributes(self.root, {node.uid for node in nodes})
        self.open.append((ROOT, os.dup(self.root)))
        allow_descriptors(nodes)
        for index in range(1, len(nodes)):
            node = self.nodes_at(nodes, index)
            parent = self.open[-1][1]
            if node.link >= 0:
                self.link(nodes, index, parent)
            elif node.kind == DIRECTORY:
                self.directory(index, node, parent)
            elif self.old is None or not self.take(self.old, index, node, parent):
                self.leaf(node, parent)
        while len(self.open) > 1:
            self.leave(nodes)
        for index in self.locked:  # in the order they were left: inner ones first
            self.lock(nodes, index)
        self.locked.clear()
        self.leave(nodes)  # the root last: until now nobody else came into it, whatever the modes in it
        for index in self.locked:
            self.lock(nodes, index)
        return self.given.left_out(nodes)

    def directory(self, index: int, node: Node, parent: int) -> None:
        os.mkdir(node.name, node.mode & 0o777 | _SEARCH_AND_WRITE, dir_fd=parent)
        self.open.append((index, os.open(node.name, FOLDER, dir_fd=parent)))
        if self.old:
            self.old.enter(index, node)

    def nodes_at(self, nodes: Sequence[Node], index: int) -> Node:
        """The node to make next, after closing the directories that it does not lie in."""
        node = nodes[index]
        while self.open[-1][0] != node.parent:
            self.leave(nodes)
        self.at = index
        return node

    def leave(self, nodes: Sequence[Node]) -> None:
        """Finishes a directory: only now, since what is made in it changes its mtime."""
        self.at, descriptor = self.open.pop()
        if self.old:
            self.old.leave()
        node = nodes[self.at]
        open_mode = node.mode | _SEARCH_AND_WRITE
        if open_mode != node.mode:
            self.locked.append(self.at)
        try:
            self.given.give(self.at, node, descriptor, open_mode)
        finally:
            os.close(descriptor)

    def lock(self, nodes: Sequence[Node], index: int) -> None:
        """Sets the mode of a directory after all its names have been linked to."""
        self.at, node = index, nodes[index]
        with reached(self.root, node_path(nodes, index) or b".") as (folder, path):
            self.given.give_last_mode(index, node, path, folder)

    def link(self, nodes: Sequence[Node], index: int, parent: int) -> None:
        node = nodes[index]
        source = self.link_sources.get(node.link, node.link)
        if source in self.given.no_device:
            self.given.no_device.add(index)
            return
        try:
            with reached(self.root, node_path(nodes, source)) as (folder, path):
                os.link(path, node.name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            self.link_sources[node.link] = index
            self.given.no_link += error.errno != errno.EMLINK
            self.leaf(msgspec.structs.replace(nodes[node.link], name=node.name), parent)
            return
        self.given.is_linked(index, source)

    def take(self, old: OldRoot, index: int, node: Node, parent: int) -> bool:
        """Links to the file that the old root has under this name; says whether it could."""

        def rehearse() -> None:
            self.leaf(msgspec.structs.replace(node, size=0, content=None), parent)
            os.unlink(node.name, dir_fd=parent)

        taken = old.take(index, node, parent, self.given, rehearse)
        if taken:
            progress.advance(node.size)
        return taken

    def leaf(self, node: Node, parent: int) -> None:
        if node.kind == FILE:
            self.file(node, parent)
        else:
            self.special(node, parent)

    def file(self, node: Node, parent: int) -> None:
        # Most files are to be our own, with a mode that the umask takes nothing of: made so at once, they need no
        # fchmod, which is one call of five.
        given = self.given
        known = given.is_known(node)
        at_once = known or given.at_once(node)
        descriptor = os.open(node.name, _CREATE, node.mode if at_once else 0o600, dir_fd=parent)
        try:
            if node.size:
                self.content(node, descriptor)
            if not at_once:
                given.give(self.at, node, descriptor, node.mode)
                return
            os.utime(descriptor, ns=(node.mtime_ns, node.mtime_ns))
            if not known:
                given.look(self.at, node, True, node.mode, lambda: os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def content(self, node: Node, descriptor: int) -> None:
        assert node.content is not None
        layer, offset, sparse = node.content
        tar = self.tars.descriptor(layer)
        if sparse is not None:
            os.ftruncate(descriptor, node.size)
            for at, length, start in in_tar(offset, unpack(sparse)):
                os.lseek(descriptor, at, os.SEEK_SET)
                copy(tar, start, descriptor, length)
        else:
            copy(tar, offset, descriptor, node.size)

    def special(self, node: Node, parent: int) -> None:
        if node.kind == SYMLINK:
            os.symlink(node.target, node.name, dir_fd=parent)
        elif node.kind == FIFO:
            os.mkfifo(node.name, 0o600, dir_fd=parent)
        else:
            device = TYPE_BITS[node.kind] | 0o600, os.makedev(*node.device)
            if not attempt(lambda: os.mknod(node.name, *device, dir_fd=parent), (*CANNOT, *NO_SUCH_KIND)):
                self.given.no_device.add(self.at)
                return
        self.given.give_by_name(self.at, node, parent)
