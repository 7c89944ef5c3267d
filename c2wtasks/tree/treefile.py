"""The merged tree of a bundle as a flat list: what writers read, and what is recorded between runs.

The file of a tree, written and read without all of it being in memory as objects:

8 bytes   magic: kind and version
...       the nodes, in msgpack, one after the other
...       4 bytes for each node: where it begins (from the first one on), least byte first
...       of each layer its diffID and the bytes of its tar, in msgpack
24 bytes  how many bytes the nodes take, how many they are, how many bytes the layers take
16 bytes  xxh3-128 of all before
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from struct import Struct
from typing import overload

import msgspec
import xxhash

from c2wtasks.oci.digest import Digest
from c2wtasks.tree import model
from c2wtasks.tree.model import DIRECTORY, FILE, Content, Inode, Leaf, Linked, Shared

MAX_SIZE = 1 << 30  # bytes: a longer one is none of ours
MAGIC = b"c2wtree\x04"
ROOT = 0
FEW = 1 << 17
"""As many nodes are kept as objects, which is faster; more are taken out of the file as they are asked for."""

_FOOT = Struct("<QQQ")
_SEAL = 16
_PIECE = 1 << 18
_BATCH = 512


class Node(msgspec.Struct, array_like=True, gc=False):
    """One name in the tree. `parent` is the index of its directory's node; `link` that of the first name of the
    same inode, or -1: of a node with a link only `parent`, `name`, `kind` count. `size` is in bytes.

    `xattrs` are (name, value) in byte order; `device` is (major, minor).
    """

    parent: int
    name: bytes
    kind: str
    link: int = -1
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    content: Content | None = None
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode_node = msgspec.msgpack.Decoder(Node).decode
_decode_nodes = msgspec.msgpack.Decoder(list[Node]).decode
_decode_layers = msgspec.msgpack.Decoder(list[tuple[str, int]]).decode
NODE_HEAD = b"\x9d"  # msgpack's array of as many as a Node has fields
_LIST_HEAD = Struct(">BI")
_LIST = 0xDD  # msgpack's array whose length has 4 bytes


class PackedNodes(Sequence[Node]):
    """Nodes as their msgpack, one after the other, and where in it each begins. Those asked for in turn are taken out
    some hundreds at a time."""

    __slots__ = ("_batch", "_content", "_first", "_lone", "_starts")

    def __init__(self, content: memoryview, starts: array[int]) -> None:
        """`starts` tells where in `content` each node begins, and where the last ends."""
        self._content, self._starts = content, starts
        self._batch: list[Node] = []
        self._first = 0  # of the batch
        self._lone: tuple[int, ...] = ()  # the latest that were asked for and not in it

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> list[Node]: ...
    def __getitem__(self, index: int | slice) -> Node | list[Node]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = index - self._first
        if 0 <= at < len(self._batch):
            return self._batch[at]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        if at == len(self._batch) or index - 1 in self._lone:
            self._first, self._batch = index, self._some(index)
            return self._batch[0]
        self._lone = (index, *self._lone[:3])
        return _decode_node(self._content[self._starts[index] : self._starts[index + 1]])

    def __iter__(self) -> Iterator[Node]:
        for first in range(0, len(self), _BATCH):
            yield from self._some(first)

    def _some(self, first: int) -> list[Node]:
        end = min(first + _BATCH, len(self))
        content = self._content[self._starts[first] : self._starts[end]]
        return _decode_nodes(b"".join((_LIST_HEAD.pack(_LIST, end - first), content)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PackedNodes):
            return NotImplemented
        return self._starts == other._starts and self._content == other._content

    __hash__ = None  # type: ignore[assignment]


@dataclass(slots=True)
class TreeFile:
    """A flat tree. `layers` are the diffIDs, lowest first; `nodes` the root (index 0) and all below it, parents
    first, the names of a directory in byte order. `tar_sizes` are the bytes of the layers' tars, of a tree that is to
    be recorded."""

    layers: list[str]
    nodes: Sequence[Node]
    tar_sizes: Sequence[int] = field(default=(), compare=False)

    def diff_ids(self) -> list[Digest]:
        """The diffIDs of the layers, the lowest first."""
        return [Digest.parse(layer) for layer in self.layers]

    @property
    def entry_count(self) -> int:
        """How many names there are below the root."""
        return len(self.nodes) - 1

    @property
    def size(self) -> int:
        """The bytes of all files, each once however many names it has."""
        return sum(node.size for node in self.nodes if node.link < 0)


def of_nodes(layers: list[str], nodes: Iterable[Node], count: int) -> TreeFile:
    """The tree of so many nodes, which need not be in memory together."""
    return TreeFile(layers, list(nodes)) if count <= FEW else decode(b"".join(_file(map(_encode, nodes), layers, ())))


def flatten(root: Inode, layers: list[str], *, default_mtime_ns: int) -> TreeFile:
    """The tree below `root`; directories that no entry names get `default_mtime_ns`."""
    return decode(b"".join(pieces(root, layers, default_mtime_ns=default_mtime_ns)))


def pieces(
    root: Inode, layers: list[str], tar_sizes: Sequence[int] = (), *, default_mtime_ns: int
) -> Iterator[bytes]:
    """The content of the tree file for the tree below `root`, in order. Arguments are as those of `flatten`."""
    return _file(_packed(root, default_mtime_ns), layers, tar_sizes)


def encode(tree: TreeFile) -> bytes:
    """The content of a tree file: equal bytes for equal trees."""
    return b"".join(_file(map(_encode, tree.nodes), tree.layers, tree.tar_sizes))


def _file(nodes: Iterable[bytes], layers: list[str], tar_sizes: Sequence[int]) -> Iterator[bytes]:
    seal = xxhash.xxh3_128()
    starts = array("I")
    size = 0
    piece = bytearray(MAGIC)
    for node in nodes:
        starts.append(size)
        size += len(node)
        piece += node
        if len(piece) >= _PIECE:
            seal.update(piece)
            yield bytes(piece)
            piece.clear()
    named = _encode([(layer, size) for layer, size in zip_longest(layers, tar_sizes, fillvalue=0)])
    for part in (_little_endian(starts).tobytes(), named, _FOOT.pack(size, len(starts), len(named))):
        piece += part
    seal.update(piece)
    yield bytes(piece) + seal.digest()


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers


def _packed(root: Inode, default_mtime_ns: int) -> Iterator[bytes]:
    """The nodes in msgpack. None is made on the way: what is packed in the tree is the end of a node."""
    shared: list[Shared] = []
    seen: dict[int, int] = {}  # of files that are inodes in the tree, which layers do not make
    yield b"".join((NODE_HEAD, _encode(ROOT), _encode(b""), _fields(root, default_mtime_ns)))
    count = 1
    folders = [(root.names(), iter(sorted(root.names())), NODE_HEAD + _encode(ROOT))]
    while folders:
        names, left, head = folders[-1]
        for name in left:
            child = names[name]
            if isinstance(child, bytes):
                rest = model.fields(child)
            elif isinstance(child, Linked):
                file = child.file
                if file.index < 0:
                    file.index = count
                    shared.append(file)
                    rest = model.fields(file.leaf)
                else:
                    rest = model.fields(model.pack_leaf(Leaf(model.kind_of(file.leaf), file.index), b"\0\0"))
            elif child.kind == DIRECTORY or (first := seen.setdefault(id(child), count)) == count:
                rest = _fields(child, default_mtime_ns)
            else:
                rest = model.fields(model.pack_leaf(Leaf(child.kind, first), b"\0\0"))
            yield b"".join((head, _encode(name), rest))
            count += 1
            if isinstance(child, Inode) and child.children:
                folders.append((child.children, iter(sorted(child.children)), NODE_HEAD + _encode(count - 1)))
                break
        else:
            folders.pop()
    for file in shared:
        file.index = -1


def _fields(inode: Inode, default_mtime_ns: int) -> bytes:
    return model.fields(model.pack(inode, default_mtime_ns=default_mtime_ns))


def decode(content: bytes) -> TreeFile:
    """The tree that a tree file holds.

    Raises ValueError: it is of another version, or damaged.
    """
    body, size, count, named = _parts(content)
    packed = body[len(MAGIC) :][:size]
    try:
        layers, tar_sizes = _layers(body[named:])
        if count <= FEW:
            nodes = _decode_nodes(b"".join((_LIST_HEAD.pack(_LIST, count), packed)))
            return TreeFile(layers, nodes, tar_sizes)
        some = PackedNodes(packed, _starts(body, size, named))
        deque(some, maxlen=0)  # what is not as we write it shows now
    except RecursionError:
        raise ValueError("its values are nested too deep") from None
    return TreeFile(layers, some, tar_sizes)


def packed(content: bytes) -> tuple[memoryview, array[int], list[str]]:
    """What `decode` decodes of a tree file: the nodes, and where in them each begins and the last ends; and the
    layers' diffIDs.

    Raises ValueError: it is of another version, or damaged.
    """
    body, size, _, named = _parts(content)
    return body[len(MAGIC) :][:size], _starts(body, size, named), _layers(body[named:])[0]


def tar_sizes(content: bytes) -> Sequence[int]:
    """The bytes of the layers' tars, of a tree file of which no more is asked.

    Raises ValueError: it is of another version, or damaged.
    """
    body, _, _, named = _parts(content)
    return _layers(body[named:])[1]


def _parts(content: bytes) -> tuple[memoryview, int, int, int]:
    """All of a tree file but what tells that it is whole; how many bytes its nodes take, how many they are, and where
    the layers begin.

    Raises ValueError: it is of another version, or damaged.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise ValueError("it is of another version")
    foot = len(content) - _SEAL - _FOOT.size
    body = memoryview(content)
    if foot < len(MAGIC) or xxhash.xxh3_128_digest(body[:-_SEAL]) != content[-_SEAL:]:
        raise ValueError("it is damaged")
    size, count, named = _FOOT.unpack(body[foot:-_SEAL])
    if len(MAGIC) + size + 4 * count + named != foot:
        raise ValueError("it is damaged")
    return body[:foot], size, count, foot - named


def _starts(body: memoryview, size: int, end: int) -> array[int]:
    """Where in the nodes, which take `size` bytes, each begins and the last ends. Read from behind them to `end`."""
    starts = array("I")
    starts.frombytes(body[len(MAGIC) + size : end])
    starts = _little_endian(starts)
    starts.append(size)
    return starts


def _layers(text: memoryview) -> tuple[list[str], list[int]]:
    """The diffIDs and the bytes of the layers' tars. Raises ValueError."""
    layers = _decode_layers(text)
    return [diff_id for diff_id, _ in layers], [size for _, size in layers]


def dump(tree: TreeFile) -> list[str]:
    """The tree as text, a line a name: for tests and for people."""
    lines: list[str] = []
    paths: list[bytes] = []
    for index, node in enumerate(tree.nodes):
        path = paths[node.parent] + b"/" + node.name if index and paths[node.parent] != b"." else node.name or b"."
        paths.append(path)
        shown = path.decode("utf-8", "backslashreplace")
        if node.link >= 0:
            lines.append(f"{shown} = {paths[node.link].decode('utf-8', 'backslashreplace')}")
            continue
        line = f"{shown} {node.kind} {node.mode:04o} {node.uid}:{node.gid} {node.mtime_ns}"
        if node.kind == FILE:
            line += f" {node.size}"
        if node.target:
            line += f" -> {node.target.decode('utf-8', 'backslashreplace')}"
        if node.kind in "cb":
            line += f" {node.device[0]},{node.device[1]}"
        lines.append(line + "".join(f" {k.decode('utf-8', 'backslashreplace')}={v.hex()}" for k, v in node.xattrs))
    return lines
