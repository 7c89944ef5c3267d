"""What an archive of a tree is made of, in order: pure, with no file content in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from c2wtasks.layers.fragments import unpack, with_holes
from c2wtasks.tree.model import DIRECTORY
from c2wtasks.tree.treefile import ROOT, Node


class TarPiece(msgspec.Struct, frozen=True, gc=False):
    """The `length` bytes from `offset` on of layer number `layer`'s tar; they belong to node number `node`."""

    layer: int
    offset: int
    length: int
    node: int


class Zeros(msgspec.Struct, frozen=True, gc=False):
    """So many zero bytes."""

    length: int


Piece = bytes | TarPiece | Zeros


def size(piece: Piece) -> int:
    """How many bytes a piece has."""
    return len(piece) if isinstance(piece, bytes) else piece.length


def with_paths(nodes: Sequence[Node]) -> Iterator[tuple[bytes, Node]]:
    """Each node in turn with its path, relative to the root, whose own is b"".

    One prefix grows and shrinks, as all paths of a deep tree would take too much memory: what is in a directory comes
    right after it, as `treefile.flatten` has it.
    """
    prefix = b""
    parent = ROOT
    around = [(ROOT, 0)]  # (index of the directory's node, how much of the prefix names what is in it)
    for index, node in enumerate(nodes):
        if not index:
            yield b"", node
            continue
        if node.parent != parent:
            parent = node.parent
            while around[-1][0] != parent:
                around.pop()
            prefix = prefix[: around[-1][1]]
        path = prefix + node.name
        yield path, node
        if node.kind == DIRECTORY:
            prefix = path + b"/"
            parent = index
            around.append((index, len(prefix)))


def fragments(node: Node) -> Iterator[tuple[int, int]]:
    """Where a file has bytes of its own: (offset in the file, length)."""
    assert node.content is not None
    sparse = node.content.sparse
    return iter([(0, node.size)]) if sparse is None else unpack(sparse)


def expanded(node: Node, index: int) -> Iterator[Piece]:
    """The content of a file, as long as its size says."""
    if node.content is None or not node.size:
        return
    layer, start, sparse = node.content
    if sparse is None:  # nearly all
        yield TarPiece(layer, start, node.size, index)
        return
    for _, length, offset in with_holes(node.size, start, sparse):
        yield Zeros(length) if offset is None else TarPiece(layer, offset, length, index)
