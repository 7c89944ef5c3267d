"""A tree moved below a path of a larger one: what a whole VM root is made of, with the container's root inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import NamedTuple

from c2wtasks.tree import treefile
from c2wtasks.tree.model import DIRECTORY, FILE, Content, Inode
from c2wtasks.tree.treefile import ROOT, Node, TreeFile


class AddedFile(NamedTuple):
    """A file of root's, 0644, whose `size` bytes are all that lies under the layer number `layer`."""

    path: bytes
    size: int
    layer: int


def grafted(
    tree: TreeFile, at: bytes, *, files: Sequence[AddedFile] = (), folders: Sequence[bytes] = (), mtime_ns: int
) -> TreeFile:
    """The tree as what lies at the path `at`, with more `files` and empty `folders` beside it.

    What is new has `mtime_ns`; it and the directories above belong to root, and those are 0755. Paths are relative
    to the new root (b"out/oci/rootfs"), clean, each named once, and none but the tree's own lies below `at`.
    """
    around = Inode(DIRECTORY, 0o755, mtime_ns=mtime_ns, children={})
    place = Inode(DIRECTORY, children={})
    _put(around, at, place)
    for path in folders:
        _put(around, path, Inode(DIRECTORY, 0o755, mtime_ns=mtime_ns, children={}))
    for file in files:
        _put(around, file.path, Inode(FILE, 0o644, 0, 0, mtime_ns, file.size, content=Content(file.layer, 0, None)))
    assert not place.children, f"something else lies below {at!r}"
    outer = treefile.flatten(around, tree.layers, default_mtime_ns=mtime_ns).nodes
    index = _index(outer, at)
    later = len(tree.nodes) - 1
    place_node = outer[index]

    def nodes() -> Iterator[Node]:
        yield from outer[:index]
        inner = iter(tree.nodes)
        top = _moved(next(inner), index)
        top.parent, top.name = place_node.parent, place_node.name
        yield top
        for node in inner:
            yield _moved(node, index)
        for node in outer[index + 1 :]:
            yield _moved(node, later if node.parent > index else 0)

    return treefile.of_nodes(tree.layers, nodes(), len(outer) + later)


def _put(root: Inode, path: bytes, inode: Inode) -> None:
    """Gives `inode` its name, in directories made if need be."""
    *above, name = path.split(b"/")
    folder = root
    for part in above:
        assert part not in (b"", b".", b".."), path
        mtime_ns = root.mtime_ns
        made = folder.names().setdefault(part, Inode(DIRECTORY, 0o755, mtime_ns=mtime_ns, children={}))
        assert isinstance(made, Inode)
        folder = made
    assert name not in (b"", b".", b"..") and name not in folder.names(), path
    folder.names()[name] = inode


def _index(nodes: Sequence[Node], path: bytes) -> int:
    places = {(node.parent, node.name): index for index, node in enumerate(nodes) if index}
    index = ROOT
    for part in path.split(b"/"):
        index = places[index, part]
    return index


def _moved(node: Node, by: int) -> Node:
    """A copy, its directory and its first name `by` places further on."""
    moved = copy(node)
    moved.parent += by
    if moved.link >= 0:
        moved.link += by
    return moved
