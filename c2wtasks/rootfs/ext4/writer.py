"""Writes a tree as an ext4 image: plans it, finds the geometry that holds it, and goes through it once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from c2wtasks.errors import OutputError
from c2wtasks.layers.fragments import in_tar
from c2wtasks.rootfs.ext4 import folders, inodes, xattrs
from c2wtasks.rootfs.ext4.extents import Extent, placed
from c2wtasks.rootfs.ext4.extents import tree as extent_tree
from c2wtasks.rootfs.ext4.geometry import (
    BLOCK,
    INODE,
    MAX_BLOCKS,
    MAX_SIZE,
    Geometry,
    Space,
    TooLarge,
    TooSmall,
    fit,
    groups_with_copy,
)
from c2wtasks.rootfs.ext4.inodes import InodeBody
from c2wtasks.rootfs.ext4.plan import Plan, file_runs, plan
from c2wtasks.rootfs.ext4.superblock import (
    OFFSET,
    Group,
    Identity,
    bitmaps,
    descriptors,
    journal_blocks,
    journal_superblock,
    superblock,
)
from c2wtasks.rootfs.writing.copying import SMALL, TarByNumber, copy, read
from c2wtasks.rootfs.writing.gathering import Gathered
from c2wtasks.rootfs.writing.imagefile import ImageFile, image_file
from c2wtasks.rootfs.writing.linuxfs import Xattr
from c2wtasks.rootfs.writing.pieces import fragments
from c2wtasks.tree.model import DIRECTORY, DIRENT_TYPES, FIFO, FILE, SYMLINK
from c2wtasks.tree.treefile import ROOT, Node, TreeFile


def write(
    tree: TreeFile, tars: TarByNumber, path: str, *, key: bytes, size: int | None = None, journal: bool = False
) -> None:
    """Makes the file `path` an image of the tree, sparse where nothing is in it. The same arguments give the same
    bytes, whoever calls and when.

    UUID and hash seed follow from `key`. The image has `size` bytes, or as few as hold the tree with a twentieth and
    1 MiB to spare. With `journal` it has one, which takes 4 MiB to 64 MiB more.

    Raises OutputError, which names what in the tree ext4 cannot hold, or how many bytes a `size` must have at least
    or at most; and what `tars` raises.
    """
    if size is not None and size > MAX_SIZE:
        raise OutputError(f"{path}: {size} bytes are too many for an image of ext4, which has at most {MAX_SIZE}")
    identity = Identity.of(key)
    try:
        what = plan(tree, identity.hash_seed)
        geometry, journal_length = _fit(what, size, journal)
    except TooSmall as error:
        raise OutputError(
            f"{path}: {size} bytes are too few for this root, which takes at least {error.needed}"
        ) from None
    except TooLarge:
        raise OutputError(f"{path}: the root is too large for an image of {MAX_BLOCKS * BLOCK} bytes") from None
    except OutputError as error:
        raise OutputError(f"{path}: {error.message}", hint=error.hint) from None
    with image_file(path, geometry.blocks * BLOCK if size is None else size, what.nodes, tars) as target:
        _Writer(what, geometry, identity, target).image(journal_length)


def _fit(what: Plan, size: int | None, journal: bool) -> tuple[Geometry, int]:
    """The geometry, and how many blocks the journal has: as many as is usual for `size`, or, if they do not fit or
    there is no size, for the contents.

    Raises TooSmall and TooLarge.
    """
    if not journal:
        return fit(what.blocks, what.inodes, size), 0
    least = journal_blocks(what.blocks)
    usual = journal_blocks(size // BLOCK) if size is not None else least
    if usual > least:
        with suppress(TooSmall):
            return fit(what.blocks + usual, what.inodes, size), usual
    return fit(what.blocks + least, what.inodes, size), least


class _Writer:
    """Goes through the plan in the order of blocks and of inodes, which is that of nodes."""

    def __init__(self, what: Plan, geometry: Geometry, identity: Identity, target: ImageFile) -> None:
        self.plan = what
        self.geometry = geometry
        self.identity = identity
        self.target = target
        self.space = Space(geometry)
        self.data = Gathered(target.descriptor, BLOCK)
        self.table = Gathered(target.descriptor, BLOCK)
        self.tables = [geometry.inode_table(group) * BLOCK for group in range(geometry.groups)]
        self.directories: dict[int, InodeBody] = {}
        self.waiting = dict(what.sharers)  # of the xattr blocks: inodes that none was written for yet
        self.shared: dict[tuple[Xattr, ...], tuple[int, int]] = {}  # block, sharers that it still takes

    def image(self, journal_length: int) -> None:
        """Directories lie first, so that looking for files reads one part of the image."""
        for index in self.plan.children:
            self.target.at = index
            self.directories[index] = self.directory(index)
        journal = self.journal(journal_length) if journal_length else None
        self.inode(inodes.ROOT, ROOT)
        if journal is not None:
            self.record(inodes.JOURNAL, inodes.record(Node(ROOT, b"", FILE, mode=0o600), 1, journal))
        for number, index in enumerate(self.plan.holders, inodes.FIRST):
            self.inode(number, index)
        self.data.flush()
        self.table.flush()
        self.target.at = ROOT
        self.whole(journal)

    def directory(self, index: int) -> InodeBody:
        nodes, numbers = self.plan.nodes, self.plan.numbers
        children = self.plan.children[index]
        names: list[bytes] = []
        types = bytearray()
        for node in map(nodes.__getitem__, children):
            names.append(node.name)
            types.append(DIRENT_TYPES[node.kind])

        def entry(number: int) -> folders.Dirent:
            return folders.Dirent(numbers[children[number]], types[number], names[number])

        own, parent = numbers[index], numbers[nodes[index].parent]
        shape = self.plan.trees.get(index)
        if shape is None:
            return self.laid([folders.linear(own, parent, map(entry, range(len(children))))], 1)
        return self.laid(folders.tree(own, parent, entry, shape), shape.blocks, inodes.HASH_TREE)

    def laid(self, blocks: Iterable[bytes], count: int, flags: int = 0) -> InodeBody:
        """Puts something of whole blocks; gives what an inode is to lead to."""
        extents = self.place([(0, count)])
        places = (start + number for _, length, start in extents for number in range(length))
        for where, content in zip(places, blocks, strict=True):
            self.data.put(where * BLOCK, content)
        return self.mapped(extents, count * BLOCK, flags)

    def journal(self, count: int) -> InodeBody:
        """Puts the first block of the journal, and no other: the image is sparse."""
        extents = self.place([(0, count)])
        self.data.put(extents[0].start * BLOCK, journal_superblock(count, self.identity))
        return self.mapped(extents, count * BLOCK)

    def place(self, runs: list[tuple[int, int]]) -> list[Extent]:
        """Takes blocks for the (first block, length) of a file."""
        extents = []
        for block, count in runs:
            for start, length in self.space.take(count):
                extents.append(Extent(block, length, start))
                block += length
        return extents

    def mapped(self, extents: list[Extent], size: int, flags: int = 0) -> InodeBody:
        made = extent_tree(extents, self.one_block)
        for where, content in made.nodes:
            self.data.put(where * BLOCK, content)
        blocks = sum([extent.length for extent in extents]) + len(made.nodes)
        return InodeBody(made.root, size, blocks, inodes.EXTENTS | flags)

    def one_block(self) -> int:
        return self.space.take(1)[0][0]

    def inode(self, number: int, index: int) -> None:
        self.target.at = index
        node = self.plan.nodes[index]
        if node.link >= 0:
            node = self.plan.nodes[node.link]
        body = self.directories[index] if node.kind == DIRECTORY else self.body(node)
        inline, block = b"", 0
        if node.xattrs:
            packed = xattrs.pack(node.kind, node.xattrs)
            inline, block = packed.inline, self.xattr_block(packed.block) if packed.block else 0
        self.record(number, inodes.record(node, self.plan.links[number], body, inline, block))

    def record(self, number: int, content: bytes) -> None:
        group, place = divmod(number - 1, self.geometry.inodes_per_group)
        self.table.put(self.tables[group] + place * INODE, content)

    def body(self, node: Node) -> InodeBody:
        if node.kind == FILE:
            return self.file(node) if node.size else inodes.EMPTY_FILE
        if node.kind == SYMLINK:
            size = len(node.target)
            if size < inodes.INLINE_TARGET:
                return InodeBody(node.target, size)
            extents = self.place([(0, 1)])
            self.data.put(extents[0].start * BLOCK, node.target)
            return self.mapped(extents, size)
        return InodeBody(b"" if node.kind == FIFO else inodes.device(node.device))

    def file(self, node: Node) -> InodeBody:
        extents = self.place(file_runs(node))
        if node.content is not None and extents:
            layer, offset, sparse = node.content
            tar = self.target.layers.descriptor(layer)
            if sparse is None and node.size <= SMALL and len(extents) == 1:
                self.data.put(extents[0].start * BLOCK, read(tar, offset, node.size))
            else:
                for position, length, start in in_tar(offset, placed(extents, fragments(node))):
                    copy(tar, start, self.target.descriptor, length, position)
        return self.mapped(extents, node.size)

    def xattr_block(self, needed: tuple[Xattr, ...]) -> int:
        block, left = self.shared.get(needed, (0, 0))
        if not left:
            block = self.one_block()
            left = min(xattrs.MOST_SHARERS, self.waiting[needed])
            self.waiting[needed] -= left
            self.data.put(block * BLOCK, xattrs.block(needed, left))
        self.shared[needed] = (block, left - 1)
        return block

    def whole(self, journal: InodeBody | None) -> None:
        """Puts bitmaps, group descriptors and superblocks, now that all that they count is known."""
        geometry = self.geometry
        groups = self.groups()
        for number, group in enumerate(groups):
            self.data.put(geometry.block_bitmap(number) * BLOCK, bitmaps(geometry, number, group))
        self.data.flush()
        described = descriptors(geometry, groups)
        for number in groups_with_copy(len(groups)):
            block = number * geometry.blocks_per_group
            content = superblock(geometry, groups, self.identity, journal, number)
            self.data.put(block * BLOCK + (0 if number else OFFSET), content)
            self.data.put((block + 1) * BLOCK, described)
        self.data.flush()

    def groups(self) -> list[Group]:
        per_group = self.geometry.inodes_per_group
        numbers = self.plan.numbers
        directories = Counter((numbers[index] - 1) // per_group for index in self.plan.children)
        return [
            Group(
                self.space.used(number),
                max(0, min(per_group, self.plan.inodes - number * per_group)),
                directories[number],
            )
            for number in range(self.geometry.groups)
        ]
