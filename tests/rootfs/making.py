"""Layers with their tree, and folders written from it; and trees of few words."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from c2wtasks.layers.tarindex import read_entries
from c2wtasks.process.rights import LeftOut
from c2wtasks.rootfs import dir as directory
from c2wtasks.rootfs.dir import Previous
from c2wtasks.tree import difference, model, treefile
from c2wtasks.tree.apply import apply
from c2wtasks.tree.difference import SameContent
from c2wtasks.tree.model import DIRECTORY, FILE, Content, Inode
from c2wtasks.tree.treefile import Node, TreeFile
from tests.support import roots
from tests.support.images import digest_of

TIME = 1_500_000_000_987_654_321
DEFAULT_MTIME = 1_700_000_000_123_456_789


@dataclass(frozen=True)
class Made:
    """A tree with the tars of its layers, in memory and as files."""

    tree: TreeFile
    contents: tuple[bytes, ...]
    tars: tuple[str, ...]

    def lines(self) -> list[str]:
        return roots.of_tree(self.tree, self.contents)

    def lines_if_mine(self) -> list[str]:
        """Those of a tree that is root's, as whoever runs the tests gets it."""
        return [line.replace(" 0:0 ", f" {os.geteuid()}:{os.getegid()} ", 1) for line in self.lines()]

    def nearby(self) -> Made:
        """With the tars by name alone, for whoever works in their folder."""
        return replace(self, tars=tuple(os.path.basename(tar) for tar in self.tars))

    def write(self, folder: Path | str) -> LeftOut:
        return directory.write(self.tree, self.tars.__getitem__, str(folder))

    def after(self, before: Made, old: Path | str, new: Path | str) -> list[int]:
        """Writes the tree as what follows `before`, which the folder `old` holds. Gives the numbers of the layers
        that were needed."""
        asked: list[int] = []

        def tar(number: int) -> str:
            asked.append(number)
            return self.tars[number]

        previous = Previous(str(old), difference.compare(before.tree, self.tree, before.same_content(self)).kept)
        directory.write(self.tree, tar, str(new), previous)
        return sorted(asked)

    def same_content(self, other: Made) -> SameContent:
        def same(old: Content, new: Content, length: int) -> bool:
            one, another = self.contents[old.layer][old.offset :], other.contents[new.layer][new.offset :]
            return one[:length] == another[:length]

        return same


class Making:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def at(cls, folder: Path) -> Making:
        folder.mkdir()
        return cls(folder)

    def __call__(self, *layers: bytes) -> Made:
        root = model.new_directory()
        for number, layer in enumerate(layers):
            apply(root, read_entries(layer), number)
            (self.folder / f"{number}.tar").write_bytes(layer)
        diff_ids = [digest_of(layer) for layer in layers]
        tree = treefile.flatten(root, diff_ids, default_mtime_ns=DEFAULT_MTIME)
        return Made(tree, layers, tuple(str(self.folder / f"{number}.tar") for number in range(len(layers))))


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners, devices, another user")


# Trees of few words: where nothing is said, they are of root's and TIME old.


def flat(children: dict[bytes, Inode], **root: object) -> TreeFile:
    top = Inode(DIRECTORY, 0o755, children=children, mtime_ns=TIME, **root)  # type: ignore[arg-type]
    return treefile.flatten(top, [], default_mtime_ns=TIME)


def subfolder(children: dict[bytes, Inode] | None = None, **fields: object) -> Inode:
    return Inode(DIRECTORY, 0o755, children=children or {}, **fields)  # type: ignore[arg-type]


def empty(**fields: object) -> Inode:
    return Inode(FILE, 0o644, mtime_ns=TIME, **fields)  # type: ignore[arg-type]


def filled(tar: Path, sizes: Sequence[int], **fields: object) -> list[Inode]:
    """Files of these sizes, with their content put in `tar`."""
    made, offset = [], 0
    with tar.open("wb") as stream:
        for size in sizes:
            stream.write(random.Random(offset).randbytes(size))
            made.append(empty(size=size, content=Content(0, offset, None), **fields))
            offset += size
    return made


def as_linux_has_it(tree: TreeFile) -> TreeFile:
    """Without the xattrs that it does not take."""

    def taken(node: Node, name: bytes) -> bool:
        return name.startswith((b"trusted.", b"security.", b"system.")) or (
            name.startswith(b"user.") and node.kind in "fd"
        )

    return TreeFile(
        tree.layers,
        [
            msgspec.structs.replace(node, xattrs=tuple(pair for pair in node.xattrs if taken(node, pair[0])))
            for node in tree.nodes
        ],
    )


def with_copies(tree: TreeFile, most: int) -> TreeFile:
    """With what is a copy where a file has more names than `most`."""
    nodes: list[Node] = []
    names: Counter[int] = Counter()
    current: dict[int, int] = {}
    for index, node in enumerate(tree.nodes):
        if node.link >= 0:
            link = current.get(node.link, node.link)
            names[link] += 1
            node = msgspec.structs.replace(node, link=link)
            if names[link] == most:
                current[tree.nodes[index].link] = index
                first = tree.nodes[tree.nodes[index].link]
                node = msgspec.structs.replace(first, parent=node.parent, name=node.name)
        nodes.append(node)
    return TreeFile(tree.layers, nodes)
