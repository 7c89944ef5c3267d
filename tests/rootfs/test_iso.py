"""The form `iso`: what Linux and others read in an image is the tree, as far as ISO 9660 with Rock Ridge can hold it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from c2wtasks.rootfs import iso
from c2wtasks.tree import treefile
from c2wtasks.tree.model import DIRECTORY, Inode
from c2wtasks.tree.treefile import Node, TreeFile
from tests.rootfs import isoreader
from tests.support import roots
from tests.support.nasty import nasty

SECOND = 10**9
FIRST_SECOND, LAST_SECOND = -2_208_988_800, 5_869_583_999  # of 1900 and of 2155
LINUX_NAME_MAX = 253


def held(tree: TreeFile) -> TreeFile:
    """What an image can hold of a tree: seconds, and no xattrs."""
    return TreeFile(tree.layers, [held_of(node) for node in tree.nodes])


def held_of(node: Node) -> Node:
    seconds = min(max(node.mtime_ns // SECOND, FIRST_SECOND), LAST_SECOND)
    return msgspec.structs.replace(node, mtime_ns=seconds * SECOND, xattrs=())


def shown_by_linux(tree: TreeFile) -> TreeFile:
    """What Linux shows of that: each name of a file as a file of its own, and long names cut."""
    nodes = held(tree).nodes
    files = [node if node.link < 0 else nodes[node.link] for node in nodes]
    return TreeFile(
        tree.layers,
        [
            msgspec.structs.replace(file, parent=node.parent, name=node.name[:LINUX_NAME_MAX])
            for node, file in zip(nodes, files, strict=True)
        ],
    )


def link_counts(tree: TreeFile) -> list[int]:
    firsts = [node.link if node.link >= 0 else index for index, node in enumerate(tree.nodes)]
    counts = [2 if node.kind == DIRECTORY else 0 for node in tree.nodes]
    for index, node in enumerate(tree.nodes):
        if node.kind != DIRECTORY:
            counts[firsts[index]] += 1
        elif index:
            counts[node.parent] += 1
    return [counts[first] for first in firsts]


def without(tree: TreeFile, unwanted: Callable[[bytes, Inode], bool]) -> TreeFile:
    """The tree less some names, given with their files."""
    root = treefile.grow(tree)
    stack = [root]
    while stack:
        names = stack.pop().names()
        for name, inode in list(names.items()):
            if unwanted(name, inode):
                del names[name]
            elif inode.kind == DIRECTORY:
                stack.append(inode)
    return treefile.flatten(root, tree.layers, default_mtime_ns=0)


def not_found_by_linux(name: bytes, inode: Inode) -> bool:
    """Linux lists such a name, and then finds no file of it, whoever wrote the image."""
    return len(name) == 1 and (name[0] >= 0x80 or name[0] == 1)


def in_32_bits(lines: list[str]) -> list[str]:
    """Kernels up to 6.1 at least show the low 32 bits of the seconds; the images have all."""

    def cut(found: re.Match[str]) -> str:
        return f"{found[1]}{int(found[2]) // SECOND % 2**32} "

    return [re.sub(r"( [dflcbp] [0-7]{4} \d+:\d+ )(-?\d+)( |$)", cut, line) for line in lines]


def write(tree: TreeFile, tars: Sequence[str], image: Path, **options: object) -> Path:
    iso.write(tree, tars.__getitem__, str(image), **options)  # type: ignore[arg-type]
    return image


def contents(tars: Sequence[str]) -> list[bytes]:
    return [Path(tar).read_bytes() for tar in tars]


def test_linux_shows_the_nasty_tree(tmp_path: Path) -> None:
    tree, tars = nasty(tmp_path)
    tree = without(tree, not_found_by_linux)
    lines, links = isoreader.linux(write(tree, tars, tmp_path / "root.iso"))
    shown = shown_by_linux(tree)
    assert in_32_bits(lines) == in_32_bits(roots.of_tree(shown, contents(tars)))
    assert links == link_counts(tree)
