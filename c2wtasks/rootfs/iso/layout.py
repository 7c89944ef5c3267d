"""Where everything of an image lies, and all of it but the files' contents: a pure function of the tree."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from c2wtasks.errors import OutputError
from c2wtasks.rootfs.iso import names, records, rockridge
from c2wtasks.rootfs.iso.records import BLOCK, DIRECTORY_FLAG, MORE_EXTENTS_FLAG, blocks, record
from c2wtasks.tree.children import Children
from c2wtasks.tree.model import BLOCK as BLOCK_DEVICE
from c2wtasks.tree.model import CHARACTER, DIRECTORY, SYMLINK, TYPE_BITS
from c2wtasks.tree.paths import shown_path
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

SECTION = 2**32 - BLOCK
"""The bytes of one extent, at most: they count in 32 bits, and the next extent begins with a block."""
MAX_SECTIONS = 100
"""How many extents of a file Linux reads."""

_DESCRIPTORS = 16  # the block after the system area, which nothing is in
_PADDING = 150  # blocks, as mkisofs writes; xorriso reads ahead of a folder, and fails where the image ends within
_FIRST_TABLE = _DESCRIPTORS + 2
_SELF, _PARENT = b"\0", b"\1"
_OTHER_FORM = "write the root in another form"


class IsoLayout(NamedTuple):
    """The image is `head`, of `head_size` bytes, and after it the contents of files, each from the start of a block
    on: that of node N is `extents[N]` blocks after the head, for all nodes that have content and no link. It takes
    `size` bytes in all, the last ones zeros."""

    head: Iterator[bytes]
    head_size: int
    extents: Sequence[int]
    size: int

    def offset(self, index: int) -> int:
        """Where the content of a node begins in the image."""
        return self.head_size + self.extents[index] * BLOCK


def layout(tree: TreeFile, volume_id: str, created_ns: int) -> IsoLayout:
    """The layout of a tree's image. Raises OutputError: the format, or Linux's reading of it, cannot hold the
    tree."""
    _check(tree.nodes)
    extents, content_blocks = _contents(tree.nodes)
    head = _Head(tree.nodes, extents)
    space = head.blocks + content_blocks + _PADDING
    if space >= 2**32:
        raise OutputError(
            f"it would take {space * BLOCK} bytes, more than an ISO 9660 image can have", hint=_OTHER_FORM
        )
    return IsoLayout(head.pieces(volume_id, created_ns, space), head.blocks * BLOCK, extents, space * BLOCK)


def _check(nodes: Sequence[Node]) -> None:
    for index, node in enumerate(nodes):
        if node.size > MAX_SECTIONS * SECTION:
            reason = f"of its {node.size} bytes in an ISO 9660 image Linux reads only {MAX_SECTIONS * SECTION}"
        elif node.device[0] == 0 and node.device[1] > 0xFF:
            reason = f"Linux takes the device 0,{node.device[1]} in an ISO 9660 image for another one"
        else:
            continue
        raise OutputError(f"{shown_path(nodes, index)}: {reason}", hint=_OTHER_FORM)


def _contents(nodes: Sequence[Node]) -> tuple[Sequence[int], int]:
    """For each node the block its content begins at, in the order of the tree, from 0 on; and their number."""
    extents = array("Q", bytes(8 * len(nodes)))
    used = 0
    for index, node in enumerate(nodes):
        if node.size and node.link < 0:
            extents[index] = used
            used += blocks(node.size)
    return extents, used


def _link_counts(nodes: Sequence[Node]) -> Sequence[int]:
    """How many names each file has; of a directory, with `.` in it and `..` in those below, as elsewhere on Linux."""
    counts = array("I", [2 if node.kind == DIRECTORY else 1 for node in nodes])
    for index, node in enumerate(nodes):
        if node.link >= 0:
            counts[node.link] += 1
        elif node.kind == DIRECTORY and index != ROOT:
            counts[node.parent] += 1
    return counts


class _Head:
    """All of an image that comes before the contents of files: descriptors and path tables, then the directories in
    the order of these tables, of each the records and at once after them the areas that continue these (bsdtar, which
    reads an image as a stream, finds them nowhere else).

    First the directories are only measured, as records say where directories and contents lie. All is then made from
    the front to the end, and never in memory together: the records take 150 bytes a name.
    """

    def __init__(self, nodes: Sequence[Node], contents: Sequence[int]) -> None:
        self.nodes = nodes
        self.contents = contents
        self.links = _link_counts(nodes)
        self.children = Children(nodes)
        # Of the names in all directories, one after the other, in the order of their records:
        self.names = names.Identifiers()
        self.indices = array("I")  # of the nodes
        # Of directories in the order of the path table:
        self.order = array("I", [ROOT])
        self.identifiers = [_SELF]
        self.starts = array("Q")  # block from the first of these on
        self.sizes = array("Q")  # of the records, in bytes
        self.number = array("I", bytes(4 * len(nodes)))  # which of them a node is, from 0 on
        used = 0
        for directory in self.order:  # which grows
            areas = rockridge.Areas()
            size = records.filled_size(self._measured(directory, areas))
            self.starts.append(used)
            self.sizes.append(size)
            used += blocks(size) + blocks(len(areas.content))
        self.table_size = records.path_table_size(self.identifiers)
        self.first = _FIRST_TABLE + 2 * blocks(self.table_size)
        self.blocks = self.first + used

    def _measured(self, directory: int, areas: rockridge.Areas) -> Iterator[int]:
        """The sizes of a directory's records. Its names are put at the end of `names` and `indices`, the directories
        among them of `order`."""
        nodes, children = self.nodes, self.children[directory]
        if directory == ROOT:
            yield records.size(_SELF, len(areas.spread(self._of_directory(ROOT, _SELF, True))))
        else:
            yield records.size(_SELF, rockridge.ATTRIBUTES_SIZE)
        yield records.size(_PARENT, rockridge.ATTRIBUTES_SIZE)
        keys = names.keys((node.name, node.kind == DIRECTORY) for node in map(nodes.__getitem__, children))
        for key, place in names.in_order(keys):
            index = children[place]
            node = nodes[index]
            is_directory = node.kind == DIRECTORY
            name = names.identifier(key, is_directory)
            self.names.append(name)
            self.indices.append(index)
            if is_directory:
                self.number[index] = len(self.order)
                self.order.append(index)
                self.identifiers.append(name)
            stored = node if node.link < 0 else nodes[node.link]
            length = rockridge.short_size(stored.kind, node.name)
            if not length:
                first = index if node.link < 0 else node.link
                length = len(areas.spread(self._named(node.name, first, stored, self._recorded(stored))))
            one = records.size(name, length)
            yield one
            if stored.size > SECTION:
                for _ in range(SECTION, stored.size, SECTION):
                    yield one

    def _directory(self, number: int, first: int) -> Iterator[bytes]:
        """The records of a directory and their areas, in large pieces. `first` of all names are in those before."""
        directory, nodes = self.order[number], self.nodes
        areas = rockridge.Areas(self.first + self.starts[number] + blocks(self.sizes[number]))
        out = records.Records()
        out.add(self._reference(_SELF, directory, areas, first=directory == ROOT))
        out.add(self._reference(_PARENT, nodes[directory].parent, areas))
        for at in range(first, first + self.children.count(directory)):
            name, index = self.names[at], self.indices[at]
            node = nodes[index]
            if node.kind == DIRECTORY:
                out.add(self._reference(name, index, areas))
                continue
            text = node.name
            if node.link >= 0:
                index = node.link
                node = nodes[index]
            recorded = records.date(node.mtime_ns // 10**9)
            system_use = areas.spread(self._named(text, index, node, recorded))
            if not node.size:
                out.add(record(name, 0, 0, 0, recorded, system_use))
            for done in range(0, node.size, SECTION):
                left = node.size - done
                flags = MORE_EXTENTS_FLAG if left > SECTION else 0
                extent = self.blocks + self.contents[index] + done // BLOCK
                out.add(record(name, flags, extent, min(left, SECTION), recorded, system_use))
            if len(out.content) >= records.LARGE:
                yield out.full()
        records.fill(out.content)
        records.fill(areas.content)
        yield bytes(out.content + areas.content)

    def _reference(self, name: bytes, directory: int, areas: rockridge.Areas, *, first: bool = False) -> bytes:
        """A record of a directory: in itself, in those below it, or in the one above it."""
        number = self.number[directory]
        system_use = areas.spread(self._of_directory(directory, name, first))
        recorded = self._recorded(self.nodes[directory])
        return record(
            name, DIRECTORY_FLAG, self.first + self.starts[number], self.sizes[number], recorded, system_use
        )

    def _of_directory(self, directory: int, name: bytes, first: bool = False) -> list[bytes]:
        """The system use of a record of a directory."""
        node = self.nodes[directory]
        if name not in (_SELF, _PARENT):
            return self._named(node.name, directory, node, self._recorded(node))
        attributes = self._attributes(directory, node, self._recorded(node))
        return [rockridge.SHARING_PROTOCOL, attributes, rockridge.EXTENSION_REFERENCE] if first else [attributes]

    def _named(self, text: bytes, index: int, node: Node, recorded: bytes) -> list[bytes]:
        """The system use of the record of a name; `node` is that of the file's first name."""
        attributes = self._attributes(index, node, recorded)
        entries = [attributes, *rockridge.name(text)]
        if node.kind == SYMLINK:
            entries += rockridge.symlink(node.target)
        elif node.kind in (CHARACTER, BLOCK_DEVICE):
            entries.append(rockridge.device(*node.device))
        return entries

    @staticmethod
    def _recorded(node: Node) -> bytes:
        return records.date(node.mtime_ns // 10**9)

    def _attributes(self, index: int, node: Node, recorded: bytes) -> bytes:
        mode = TYPE_BITS[node.kind] | node.mode
        return rockridge.attributes(mode, self.links[index], node.uid, node.gid, index + 1, recorded)

    def pieces(self, volume_id: str, created_ns: int, space: int) -> Iterator[bytes]:
        """All of the head, in order. `space` are the blocks of the whole image."""
        yield bytes(_DESCRIPTORS * BLOCK)
        root = record(_SELF, DIRECTORY_FLAG, self.first, self.sizes[0], self._recorded(self.nodes[ROOT]))
        yield records.primary_descriptor(volume_id, created_ns, space, self.table_size, _FIRST_TABLE, root)
        yield records.TERMINATOR
        for order in "<>":
            table = bytearray(records.path_table(self._path_table(), order))
            records.fill(table)
            yield bytes(table)
        first = 0
        for number, directory in enumerate(self.order):
            yield from self._directory(number, first)
            first += self.children.count(directory)

    def _path_table(self) -> Iterator[tuple[bytes, int, int]]:
        for number, directory in enumerate(self.order):
            parent = self.number[self.nodes[directory].parent] + 1
            yield self.identifiers[number], self.first + self.starts[number], parent
