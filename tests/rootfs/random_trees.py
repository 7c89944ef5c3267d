"""Random trees with contents: names, links, holes and metadata as any image may have them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from c2wtasks.layers.fragments import pack
from c2wtasks.tree import treefile
from c2wtasks.tree.model import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Content, Inode
from c2wtasks.tree.treefile import TreeFile


class RandomTree(NamedTuple):
    """All contents lie in the one tar."""

    tree: TreeFile
    tar: bytes


parts = st.sampled_from([b"a", b"b", b"A", b"-", b" \n", b"\xff", "é".encode(), b"n" * 99, b"N" * 100, b"m" * 255])
targets = st.sampled_from([b"a", b"/b", b"../\xff", b"t" * 100, b"t" * 101, b"\n" * 4095])
ids = st.sampled_from([0, 1, 2**16, 8**7 - 1, 8**7, 2**32 - 2])
times = st.sampled_from([0, 1, 10**9, 1_500_000_000_120_000_000, (2**32 - 1) * 10**9, 2**63 - 1])
xattrs = st.dictionaries(
    st.sampled_from([b"user.a", b"user.\xff\n", b"user.%", b"security.x"]),
    st.sampled_from([b"", b"\0=\n", b"v" * 600]),
)
devices = st.sampled_from([(0, 0), (1, 3), (4095, 2**20 - 1)])
chunks = st.sampled_from([0, 1, 7, 505, 512, 1000, 70_000])  # of bytes, or of holes


@st.composite
def trees(draw: st.DrawFn) -> RandomTree:
    """With a root of root's, 0755, as images have it."""
    tar = bytearray()

    def metadata() -> dict[str, object]:
        if draw(st.booleans()):
            return {"mtime_ns": 5}
        return {
            "uid": draw(ids),
            "gid": draw(ids),
            "mtime_ns": draw(times),
            "xattrs": dict(sorted(draw(xattrs).items())) or None,
        }

    def file() -> Inode:
        offset, size = len(tar), 0
        sparse: list[tuple[int, int]] | None = [] if draw(st.booleans()) else None
        for length in draw(st.lists(chunks, max_size=6)):
            if sparse is not None:
                size += draw(chunks)
                sparse.append((size, length))
            tar.extend(bytes([1 + len(tar) % 255]) * length)
            size += length
        if sparse is not None:
            size += draw(chunks)
        content = Content(0, offset, None if sparse is None else pack(sparse))
        return Inode(FILE, draw(modes), size=size, content=content, **metadata())  # type: ignore[arg-type]

    def leaf() -> Inode:
        match draw(st.sampled_from([FILE, FILE, FILE, SYMLINK, CHARACTER, BLOCK, FIFO])):
            case "f":
                return file()
            case "l":
                return Inode(SYMLINK, 0o777, mtime_ns=draw(times), uid=draw(ids), target=draw(targets))
            case kind:
                device = (0, 0) if kind == FIFO else draw(devices)
                return Inode(kind, draw(modes), draw(ids), draw(ids), draw(times), device=device)

    modes = st.integers(0, 0o7777)
    root = Inode(DIRECTORY, 0o755, mtime_ns=draw(times), children={})
    folders, leaves = [root], list[Inode]()
    for name in draw(st.lists(parts, max_size=12)):
        folder = draw(st.sampled_from(folders))
        if name in folder.names():
            continue
        made = draw(st.sampled_from(["leaf", "leaf", "folder", "link"]))
        if made == "folder":
            inode = Inode(DIRECTORY, draw(modes), children={}, **metadata())  # type: ignore[arg-type]
            folders.append(inode)
        elif made == "link" and leaves:
            inode = draw(st.sampled_from(leaves))
        else:
            inode = leaf()
            leaves.append(inode)
        folder.names()[name] = inode
    return RandomTree(treefile.flatten(root, [], default_mtime_ns=0), bytes(tar))
