"""Writes a tree as an EROFS image: plans it, then goes through it once, from the first block to the last."""

from __future__ import annotations

from c2wtasks.errors import OutputError
from c2wtasks.layers.fragments import in_tar, unpack
from c2wtasks.rootfs.erofs import dirents, records, xattrs
from c2wtasks.rootfs.erofs.dirents import Entry
from c2wtasks.rootfs.erofs.plan import SMALL, Plan, plan
from c2wtasks.rootfs.erofs.records import BLOCK, CHUNKED, INLINE, SLOT
from c2wtasks.rootfs.writing.copying import TarByNumber, copy, read
from c2wtasks.rootfs.writing.gathering import Gathered
from c2wtasks.rootfs.writing.imagefile import ImageFile, image_file
from c2wtasks.rootfs.writing.linuxfs import device_number
from c2wtasks.tree.model import DIRECTORY, DIRENT_TYPES, FIFO, FILE, SYMLINK
from c2wtasks.tree.treefile import ROOT, TreeFile


def write(tree: TreeFile, tars: TarByNumber, path: str, *, key: bytes, created_ns: int = 0) -> None:
    """Makes the file `path`, 0644, the image of the tree. The same arguments give the same bytes, whoever calls and
    when.

    The UUID follows from `key`; `created_ns` is the time of creation that the superblock tells.

    Raises OutputError, which names what in the tree EROFS cannot hold, and what `tars` raises.
    """
    try:
        what = plan(tree)
    except OutputError as error:
        raise OutputError(f"{path}: {error.message}", hint=error.hint) from None
    with image_file(path, what.blocks * BLOCK, what.nodes, tars) as target:
        _Writer(what, target).image(key, created_ns)


class _Writer:
    def __init__(self, what: Plan, target: ImageFile) -> None:
        self.plan = what
        self.target = target

    def image(self, key: bytes, created_ns: int) -> None:
        what = self.plan
        order = what.order()
        out = Gathered(self.target.descriptor, BLOCK)
        first_block = records.first_block(
            root=what.inodes[ROOT],
            inodes=len(order),
            blocks=what.blocks,
            chunked=bool(what.chunks),
            key=key,
            created_ns=created_ns,
        )
        out.put(0, first_block)
        for number, index in enumerate(order, 1):
            self.target.at = index
            out.put(what.inodes[index] * SLOT, self.inode(index, number))
        for index in what.parts:
            self.target.at = index
            self.directory(out, index)
        for index, node in enumerate(what.nodes):
            if node.link < 0 and node.kind in (FILE, SYMLINK):
                self.target.at = index
                self.content(out, index)
        out.flush()

    def inode(self, index: int, number: int) -> bytes:
        """The inode, with what lies behind it."""
        what = self.plan
        node = what.nodes[index]
        layout, size = what.layouts[index], what.size(index)
        packed = xattrs.pack(node.kind, node.xattrs) if node.xattrs else b""
        leads_to, rest = what.starts[index], b""
        if layout == CHUNKED:
            chunks = what.chunks[index]
            leads_to, rest = chunks.bits, chunks.listed(leads_to)
        elif layout == INLINE:
            rest = self.tail(index, size % BLOCK)
        elif node.kind not in (FILE, DIRECTORY, SYMLINK, FIFO):
            leads_to = device_number(node.device)
        return records.inode(node, number, what.links[index], layout, size, leads_to, len(packed)) + packed + rest

    def tail(self, index: int, length: int) -> bytes:
        """The last bytes of the content."""
        node = self.plan.nodes[index]
        if node.kind == DIRECTORY:
            parts = self.plan.parts[index]
            return dirents.block(self.entries(index, parts.slice(len(parts.ends) - 1)))
        if node.kind == SYMLINK:
            return node.target
        assert node.content is not None
        layer, offset, _ = node.content
        return read(self.target.layers.descriptor(layer), offset + node.size - length, length)

    def entries(self, index: int, part: slice) -> list[Entry]:
        """The entries of a directory that have the numbers `part`."""
        nodes, inodes, children = self.plan.nodes, self.plan.inodes, self.plan.children
        dot, dots = self.plan.parts[index].dots
        made: list[Entry] = []
        for number in range(part.start, part.stop):
            if number == dot:
                made.append((b".", inodes[index], DIRENT_TYPES[DIRECTORY]))
            elif number == dots:
                made.append((b"..", inodes[nodes[index].parent], DIRENT_TYPES[DIRECTORY]))
            else:
                child = children.at(index, number - (number > dot) - (number > dots))
                node = nodes[child]
                made.append((node.name, inodes[child], DIRENT_TYPES[node.kind]))
        return made

    def directory(self, out: Gathered, index: int) -> None:
        """Puts the blocks of a directory that do not lie behind the inode."""
        parts = self.plan.parts[index]
        count = len(parts.ends) - (self.plan.layouts[index] == INLINE)
        if not count:
            return
        for number in range(count):
            block = dirents.block(self.entries(index, parts.slice(number)))
            out.put((self.plan.starts[index] + number) * BLOCK, block)

    def content(self, out: Gathered, index: int) -> None:
        """Puts what of a content does not lie behind the inode."""
        node = self.plan.nodes[index]
        position = self.plan.starts[index] * BLOCK
        layout = self.plan.layouts[index]
        size = self.plan.size(index)
        whole = size - size % BLOCK if layout == INLINE else size
        if not whole:
            return
        if node.kind == SYMLINK:
            out.put(position, node.target)
            return
        assert node.content is not None
        layer, offset, sparse = node.content
        tar = self.target.layers.descriptor(layer)
        if sparse is None:
            if whole <= SMALL:
                out.put(position, read(tar, offset, whole))
            else:
                copy(tar, offset, self.target.descriptor, whole, position)
            return
        own = unpack(sparse)
        placed = self.plan.chunks[index].placed(own) if layout == CHUNKED else own
        for at, length, start in in_tar(offset, placed):
            copy(tar, start, self.target.descriptor, length, position + at)
