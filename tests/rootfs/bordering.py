"""Random trees around the borders of what ext4 and EROFS cut contents and directories into: blocks, inodes, leaves,
extents, chunks."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from c2wtasks.layers.fragments import pack
from c2wtasks.tree.model import SYMLINK, Content, Inode
from tests.rootfs.making import TIME, empty, flat, subfolder
from tests.rootfs.random_trees import RandomTree

BLOCK = 4096

sizes = st.builds(
    lambda blocks, more: max(0, blocks * BLOCK + more),
    st.sampled_from([0, 0, 1, 2, 15, 16, 17, 700]),
    st.sampled_from([-64, -63, -1, 0, 1, 7, BLOCK - 65, BLOCK - 64, BLOCK - 63]),
)
counts = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 339, 340, 341])
gaps = st.sampled_from([0, 1, BLOCK, BLOCK + 1, 50_000])
lengths = st.sampled_from([1, BLOCK - 1, BLOCK, BLOCK + 1])
after = st.sampled_from([0, 1, 5000, 1 << 20])
name_lengths = st.sampled_from([3, 4, 30, 52, 100, 251, 252, 253, 255])
targets = st.sampled_from([1, 58, 59, 60, 61, *range(BLOCK - 66, BLOCK - 62), BLOCK - 2, BLOCK - 1])
values = st.sampled_from([0, 1, 66, 67, 68, 69, 70, 3000, *range(BLOCK - 84, BLOCK - 78), *range(4035, 4041)])
small_values = st.sampled_from([0, 1, 60, 68])


fragments = st.lists(
    st.tuples(st.one_of(st.integers(0, 9000), st.integers(0, 1 << 20)), st.integers(0, 9000)), max_size=20
).map(
    lambda pairs: [
        (sum(gap + length for gap, length in pairs[:number]) + gap, length)
        for number, (gap, length) in enumerate(pairs)
    ]
)
"""Of a sparse file: (offset, length) in ascending order, some of them empty."""


@st.composite
def regular_fragments(draw: st.DrawFn) -> list[tuple[int, int]]:
    gap, length = draw(gaps), draw(lengths)
    return [(gap + number * (gap + length), length) for number in range(draw(counts))]


@st.composite
def xattrs(draw: st.DrawFn) -> dict[bytes, bytes] | None:
    """None that ext4 has no room for."""
    made = {b"user.a": b"v" * draw(values)} if draw(st.booleans()) else {}
    if draw(st.booleans()):
        made[b"user.b" + b"n" * draw(st.integers(0, 3))] = b"w" * draw(small_values)
    if sum(map(len, made.values())) > 4040:
        del made[b"user.a"]
    return made or None


def ext4_entry(length: int) -> int:
    """The bytes that a name takes in a directory."""
    return 8 + -(-length // 4) * 4


def erofs_entry(length: int) -> int:
    return 12 + length


@st.composite
def bordering(draw: st.DrawFn) -> RandomTree:
    """All contents lie in the one tar."""
    tar = bytearray()

    def content(size: int, sparse: list[tuple[int, int]] | None = None) -> Content:
        offset = len(tar)
        tar.extend(random.Random(offset).randbytes(size))
        return Content(0, offset, None if sparse is None else pack(sparse))

    def leaf() -> Inode:
        match draw(st.sampled_from(["file", "file", "sparse", "symlink"])):
            case "file":
                size = draw(sizes)
                return empty(size=size, content=content(size), xattrs=draw(xattrs()))
            case "sparse":
                sparse = draw(st.one_of(regular_fragments(), fragments))
                size = (sum(sparse[-1]) if sparse else 0) + draw(after)
                written = sum(length for _, length in sparse)
                return empty(size=size, content=content(written, sparse), xattrs=draw(xattrs()))
            case _:
                return Inode(SYMLINK, 0o777, mtime_ns=TIME, target=b"t" * draw(targets))

    def folder(levels: int) -> Inode:
        """Of names that just fill a block, or nearly."""
        entry_size, dots = draw(st.sampled_from([(ext4_entry, 24), (erofs_entry, 27)]))
        length = draw(name_lengths)
        just = (BLOCK - dots) // entry_size(length)
        count = draw(st.sampled_from([0, 1, just - 2, just - 1, just, just + 1, 2 * just]))
        names = {(b"%03d" % number).ljust(length, b"\xe9"): empty() for number in range(count)}
        names |= {b"leaf %d" % number: leaf() for number in range(draw(st.integers(0, 2)))}
        left = BLOCK - dots - sum(entry_size(len(name)) for name in names)
        last = left - entry_size(0) + draw(st.sampled_from([-1, 0, 1]))
        if 0 < last <= 255:
            names[b"\xff" * last] = empty()
        if levels:
            names |= {b"folder %d" % number: folder(levels - 1) for number in range(draw(st.integers(0, 2)))}
        return subfolder(names, xattrs=draw(xattrs()))

    return RandomTree(flat({b"folder": folder(1), b"leaf": leaf()}), bytes(tar))
