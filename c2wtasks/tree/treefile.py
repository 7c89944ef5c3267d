"""The merged tree of a bundle as a flat list: what writers read, and what is recorded between runs."""

from __future__ import annotations

import msgspec

from c2wtasks.oci.digest import Digest
from c2wtasks.sealed import seal, unseal
from c2wtasks.tree.model import DIRECTORY, FILE, Content, Inode

MAX_SIZE = 1 << 30  # bytes: a longer one is none of ours
MAGIC = b"c2wtree\x02"
ROOT = 0


class Node(msgspec.Struct, array_like=True, gc=False):
    """One name in the tree. `parent` is the index of its directory's node; `link` that of the first name of the
    same inode, or -1: of a node with a link only `parent`, `name`, `kind` count.

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


class TreeFile(msgspec.Struct, array_like=True):
    """`layers` are the diffIDs, lowest first; `nodes` the root (index 0) and all below it, parents first, the
    names of a directory in byte order."""

    layers: list[str]
    nodes: list[Node]

    def diff_ids(self) -> list[Digest]:
        return [Digest.parse(layer) for layer in self.layers]

    @property
    def entry_count(self) -> int:
        """How many names there are below the root."""
        return len(self.nodes) - 1

    @property
    def size(self) -> int:
        """The bytes of all files, each once however many names it has."""
        return sum(node.size for node in self.nodes if node.link < 0)


_DECODER = msgspec.msgpack.Decoder(TreeFile)


def flatten(root: Inode, layers: list[str], *, default_mtime_ns: int) -> TreeFile:
    """The tree below `root`; directories that no entry names get `default_mtime_ns`."""
    nodes: list[Node] = []
    seen: dict[int, int] = {}
    stack = [(0, b"", root)]
    while stack:
        parent, name, inode = stack.pop()
        index = len(nodes)
        first = seen.setdefault(id(inode), index)
        if first != index:
            nodes.append(Node(parent, name, inode.kind, first))
            continue
        nodes.append(
            Node(
                parent,
                name,
                inode.kind,
                -1,
                inode.mode,
                inode.uid,
                inode.gid,
                default_mtime_ns if inode.mtime_ns is None else inode.mtime_ns,
                inode.size,
                inode.content,
                inode.target,
                inode.device,
                tuple(sorted(inode.xattrs.items())) if inode.xattrs else (),
            )
        )
        if inode.children:
            children = inode.children
            stack.extend((index, child, children[child]) for child in sorted(children, reverse=True))
    return TreeFile(layers, nodes)


def grow(tree: TreeFile) -> Inode:
    """The tree in memory again."""
    inodes: list[Inode] = []
    for node in tree.nodes:
        if node.link >= 0:
            inode = inodes[node.link]
        else:
            inode = Inode(
                node.kind,
                node.mode,
                node.uid,
                node.gid,
                node.mtime_ns,
                node.size,
                node.content,
                node.target,
                node.device,
                dict(node.xattrs) or None,
                {} if node.kind == DIRECTORY else None,
            )
        if inodes:
            inodes[node.parent].names()[node.name] = inode
        inodes.append(inode)
    return inodes[ROOT]


def encode(tree: TreeFile) -> bytes:
    """The content of a tree file: equal bytes for equal trees."""
    return seal(MAGIC, tree)


def decode(content: bytes) -> TreeFile:
    """Raises ValueError: of another version, or damaged."""
    return unseal(MAGIC, content, _DECODER)


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
