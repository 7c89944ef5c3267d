"""The form `dir` held against its tree: everything that was written there, name by name. Nothing is changed."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Sequence

from c2wtasks.audit.finding import MISSING, PRESENT, Findings, reason, shown
from c2wtasks.audit.node import DEVICES, WORDS, Contents, NodeAudit
from c2wtasks.disk import safely
from c2wtasks.process.rights import LeftOut
from c2wtasks.tree.model import DIRECTORY
from c2wtasks.tree.treefile import ROOT, TreeFile

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# Where a file has more names than the file system allows, copies take the rest; the least that any allows.
_FULL_OF_LINKS = 32_000


def inspect(
    tree: TreeFile,
    tars: Sequence[str | None],
    folder: str,
    left_out: LeftOut,
    *,
    builder: int,
    scratch: str,
    known: Contents,
) -> Findings:
    """Compares `folder` with the tree that was written there, but for what was `left_out`. A mode that is wrong is
    found all the same, whoever is at fault.

    `tars` are the paths of the layers' tars, lowest first; None for one whose files cannot be compared. `builder` is
    the uid that files have whose owner was left out. `scratch` is a name on the same file system that nobody uses:
    where something differs, a sample is written there, since a file system may not keep all that it is told (whole
    seconds only, another ACL, no hard links). `known` is for all roots of an audit: a file that several have is read
    once.
    """
    nodes = NodeAudit(tree, folder, left_out, builder, scratch, known)
    try:
        for tar in tars:
            nodes.open_tar(tar)
        _Walk(nodes, folder).run()
    finally:
        nodes.close()
    return nodes.result


class _Walk:
    """Goes through the folders with one descriptor at a time, down by name and up by "..", however deep they lie."""

    def __init__(self, audit: NodeAudit, folder: str) -> None:
        self.audit = audit
        self.nodes = audit.nodes
        self.folder = folder
        self.devices: tuple[list[int], list[int]] = [], []  # that are there, and that are not
        self.children: list[list[int]] = [[] for _ in self.nodes]
        for index in range(1, len(self.nodes)):
            self.children[self.nodes[index].parent].append(index)
        self.inodes: dict[int, tuple[int, int]] = {}  # a node with several names -> the inode that they name
        self.links = Counter(node.link for node in self.nodes if node.link >= 0)
        self.holders: dict[tuple[int, int], int] = {}  # an inode with several names -> its node

    def run(self) -> None:
        try:
            with safely.folder(self.folder) as top:
                here = os.open(".", _FOLDER, dir_fd=top)
        except OSError as error:
            self.audit.find(ROOT, "folder", PRESENT, MISSING if error.errno == errno.ENOENT else reason(error))
            return
        try:
            self.audit.compare(ROOT, self.nodes[ROOT], os.fstat(here), here, b".")
            levels = [self.names(ROOT, here)]
            above: list[tuple[int, int]] = []  # what tells each folder that we came through from others
            while levels:
                if not levels[-1]:
                    levels.pop()
                    if levels:
                        here = _moved(here, "..")
                        if safely.identity_of(here) != above.pop():
                            self.audit.unread(ROOT, "somebody moves the folders in it")
                            return
                    continue
                index = levels[-1].pop()
                inside = safely.identity_of(here)
                try:
                    here = _moved(here, self.nodes[index].name)
                except OSError as error:
                    self.audit.unread(index, reason(error))
                    continue
                above.append(inside)
                levels.append(self.names(index, here))
        finally:
            os.close(here)
        self.count_devices()

    def count_devices(self) -> None:
        present, gone = self.devices
        if len(gone) > self.audit.left_out.devices:
            for index in gone:
                self.audit.find(index, WORDS[self.nodes[index].kind], PRESENT, MISSING)
        elif len(gone) < self.audit.left_out.devices:
            for index in present:
                self.audit.find(index, "entry", "none", "an extra one")

    def names(self, index: int, here: int) -> list[int]:
        """Compares all that lies in a folder; gives the folders to go into, the first one last."""
        children = self.children[index]
        present = set(map(os.fsencode, os.listdir(here)))
        folders = [child for child in children if self.name(child, here)]
        for name in sorted(present.difference(self.nodes[child].name for child in children)):
            self.audit.result.find(f"{self.audit.path(index)}/{shown(name)}", "entry", "none", "an extra one")
        return folders[::-1]

    def name(self, index: int, here: int) -> bool:
        """Compares a name with its node; says whether it is a folder to go into."""
        node = self.nodes[index]
        try:
            found = os.stat(node.name, dir_fd=here, follow_symlinks=False)
        except FileNotFoundError:
            if node.kind in DEVICES:
                self.devices[1].append(index)
            else:
                self.audit.find(index, WORDS[node.kind], PRESENT, MISSING)
            return False
        except OSError as error:
            self.audit.unread(index, reason(error))
            return False
        if node.kind == DIRECTORY:
            return self.audit.compare(index, node, found, here, node.name)
        if node.kind in DEVICES:
            self.devices[0].append(index)
        first = node.link if node.link >= 0 else index
        inode = (found.st_dev, found.st_ino)
        if self.inodes.get(first) == inode:
            return False
        if first in self.inodes and self.links[first] < _FULL_OF_LINKS and not self.audit.left_out.hard_links:
            self.audit.find(index, "links", f"one file with {self.audit.path(first)}", "another file")
            return False
        if first in self.links:
            self.inodes[first] = inode
        if found.st_nlink > 1 and (holder := self.holders.setdefault(inode, first)) != first:
            self.audit.find(index, "links", "a file of its own", f"one file with {self.audit.path(holder)}")
        self.audit.compare(index, self.nodes[first], found, here, node.name)
        return False


def _moved(here: int, name: bytes | str) -> int:
    """The folder `name` of the open folder `here`, which is closed."""
    there = os.open(name, _FOLDER, dir_fd=here)
    os.close(here)
    return there
