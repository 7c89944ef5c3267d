"""Where everything of an image lies, and all of it but the files' contents: a pure function of the tree."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from c2wtasks.errors import OutputError
from c2wtasks.rootfs.iso import names, records, rockridge
from c2wtasks.rootfs.iso.records import BLOCK, DIRECTORY_FLAG, MORE_EXTENTS_FLAG, blocks, record
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


class Layout(NamedTuple):
    """The image is `head` and, after it, the contents of files, each from the start of a block on: that of node N is
    `extents[N]` blocks after `head`, for all nodes that have content and no link. It takes `size` bytes in all, the
    last ones zeros."""

    head: bytearray
    extents: Sequence[int]
    size: int

    def offset(self, index: int) -> int:
        """Where the content of a node begins in the image."""
        return len(self.head) + self.extents[index] * BLOCK


def layout(tree: TreeFile, volume_id: str, created_ns: int) -> Layout:
    """Raises OutputError for what neither the format nor Linux's reading of it can hold."""
    _check(tree.nodes)
    extents, content_blocks = _contents(tree.nodes)
    head = _Head(tree.nodes, extents)
    space = blocks(len(head.content)) + content_blocks + _PADDING
    if space >= 2**32:
        raise OutputError(
            f"it would take {space * BLOCK} bytes, more than an ISO 9660 image can have", hint=_OTHER_FORM
        )
    head.complete(volume_id, created_ns, space)
    return Layout(head.content, extents, space * BLOCK)


def _check(nodes: list[Node]) -> None:
    for index, node in enumerate(nodes):
        if node.size > MAX_SECTIONS * SECTION:
            reason = f"of its {node.size} bytes in an ISO 9660 image Linux reads only {MAX_SECTIONS * SECTION}"
        elif node.device[0] == 0 and node.device[1] > 0xFF:
            reason = f"Linux takes the device 0,{node.device[1]} in an ISO 9660 image for another one"
        else:
            continue
        raise OutputError(f"{shown_path(nodes, index)}: {reason}", hint=_OTHER_FORM)


def _contents(nodes: list[Node]) -> tuple[Sequence[int], int]:
    """For each node the block its content begins at, in the order of the tree, from 0 on; and their number."""
    extents = array("Q", bytes(8 * len(nodes)))
    used = 0
    for index, node in enumerate(nodes):
        if node.size and node.link < 0:
            extents[index] = used
            used += blocks(node.size)
    return extents, used


def _link_counts(nodes: list[Node]) -> list[int]:
    """How many names each file has; of a directory, with `.` in it and `..` in those below, as elsewhere on Linux."""
    counts = [2 if node.kind == DIRECTORY else 1 for node in nodes]
    for index in range(1, len(nodes)):
        node = nodes[index]
        if node.link >= 0:
            counts[node.link] += 1
        elif node.kind == DIRECTORY:
            counts[node.parent] += 1
    return counts


class _Head:
    """All of an image that comes before the contents of files, as `content`: descriptors and path tables, then the
    directories in the order of these tables, of each the records and at once after them the areas that continue these
    (bsdtar, which reads an image as a stream, finds them nowhere else).

    Where a directory or a content lies is filled in last of all, when all of that is known.
    """

    def __init__(self, nodes: list[Node], extents: Sequence[int]) -> None:
        self.nodes = nodes
        self.extents = extents
        self.links = _link_counts(nodes)
        self.order = [ROOT]  # of the path table
        self.number = {ROOT: 1}  # in it, by the index of the node
        self.identifiers = {ROOT: _SELF}
        self.entries = self._sorted_entries()
        self.table_size = records.path_table_size(self.identifiers[index] for index in self.order)
        self.content = bytearray((_FIRST_TABLE + 2 * blocks(self.table_size)) * BLOCK)
        self.extent: dict[int, int] = {}  # of a directory
        self.size: dict[int, int] = {}  # of a directory's records, in bytes
        self.areas = rockridge.Areas()  # of the directory at work
        self.continued: list[int] = []  # where the CEs in its records begin
        self.of_directories: list[tuple[int, int]] = []  # where a record begins, and the directory it is of
        self.of_contents = array("Q"), array("Q")  # where a record begins, and its content's block as in `extents`
        for directory in self.order:
            self._add_directory(directory)

    def _sorted_entries(self) -> dict[int, list[int]]:
        """For each directory its entries in the order of their records; puts the directories in `order`."""
        nodes = self.nodes
        unsorted: dict[int, list[int]] = {}
        for index in range(1, len(nodes)):
            unsorted.setdefault(nodes[index].parent, []).append(index)
        entries: dict[int, list[int]] = {}
        for directory in self.order:  # which grows
            children = unsorted.pop(directory, [])
            keys = names.keys((nodes[index].name, nodes[index].kind == DIRECTORY) for index in children)
            entries[directory] = found = []
            for key, index in sorted(zip(keys, children, strict=True)):
                is_directory = nodes[index].kind == DIRECTORY
                self.identifiers[index] = names.identifier(key, is_directory)
                found.append(index)
                if is_directory:
                    self.order.append(index)
                    self.number[index] = len(self.order)
        return entries

    def _add_directory(self, directory: int) -> None:
        content, nodes = self.content, self.nodes
        start = len(content)
        self._add_reference(_SELF, directory, first=directory == ROOT)
        self._add_reference(_PARENT, nodes[directory].parent)
        for index in self.entries.pop(directory):
            if nodes[index].kind == DIRECTORY:
                self._add_reference(self.identifiers[index], index)
            else:
                self._add_leaf(index)
        records.fill(content)
        self.extent[directory] = start // BLOCK
        self.size[directory] = len(content) - start
        self._add_areas()

    def _add_areas(self) -> None:
        content, areas = self.content, self.areas
        start = len(content)
        content += areas.content
        records.fill(content)
        for at in (*self.continued, *(start + at for at in areas.references)):
            rockridge.place_continuation(content, at, start // BLOCK)
        areas.clear()
        self.continued.clear()

    def _add_reference(self, name: bytes, directory: int, *, first: bool = False) -> None:
        """A record of a directory: in itself, in those below it, or in the one above it."""
        recorded = self._recorded(directory)
        entries = [self._attributes(directory, recorded)]
        if first:
            entries = [rockridge.SHARING_PROTOCOL, *entries, rockridge.EXTENSION_REFERENCE]
        elif name not in (_SELF, _PARENT):
            entries += rockridge.name(self.nodes[directory].name)
        at = self._add(name, DIRECTORY_FLAG, 0, recorded, self.areas.spread(entries))
        self.of_directories.append((at, directory))

    def _add_leaf(self, index: int) -> None:
        """The record of a name that is no directory's; or the records, of a file with more than one extent."""
        nodes, name = self.nodes, self.identifiers[index]
        first = index if nodes[index].link < 0 else nodes[index].link
        node = nodes[first]
        recorded = self._recorded(first)
        entries = [self._attributes(first, recorded), *rockridge.name(nodes[index].name)]
        if node.kind == SYMLINK:
            entries += rockridge.symlink(node.target)
        elif node.kind in (CHARACTER, BLOCK_DEVICE):
            entries.append(rockridge.device(*node.device))
        system_use = self.areas.spread(entries)
        if not node.size:
            self._add(name, 0, 0, recorded, system_use)
            return
        for done in range(0, node.size, SECTION):
            left = node.size - done
            flags = MORE_EXTENTS_FLAG if left > SECTION else 0
            at = self._add(name, flags, min(left, SECTION), recorded, system_use)
            self.of_contents[0].append(at)
            self.of_contents[1].append(self.extents[first] + done // BLOCK)

    def _recorded(self, index: int) -> bytes:
        return records.date(self.nodes[index].mtime_ns // 10**9)

    def _attributes(self, index: int, recorded: bytes) -> bytes:
        node = self.nodes[index]
        mode = TYPE_BITS[node.kind] | node.mode
        return rockridge.attributes(mode, self.links[index], node.uid, node.gid, index + 1, recorded)

    def _add(self, name: bytes, flags: int, size: int, recorded: bytes, system_use: tuple[bytes, int]) -> int:
        """Adds a record, which must not cross the end of a block. Gives where it begins."""
        content, (entries, continued_at) = self.content, system_use
        made = record(name, flags, size, recorded, entries)
        if len(content) % BLOCK + len(made) > BLOCK:
            records.fill(content)
        at = len(content)
        content += made
        if continued_at >= 0:
            self.continued.append(at + records.system_use_at(name) + continued_at)
        return at

    def complete(self, volume_id: str, created_ns: int, space: int) -> None:
        """Fills in what could not be known before. `space` are the blocks of the whole image."""
        content = self.content
        first_content = blocks(len(content))
        for at, directory in self.of_directories:
            records.place_directory(content, at, self.extent[directory], self.size[directory])
        for at, block in zip(*self.of_contents, strict=True):
            records.place(content, at, first_content + block)
        root = bytearray(record(_SELF, DIRECTORY_FLAG, 0, self._recorded(ROOT)))
        records.place_directory(root, 0, self.extent[ROOT], self.size[ROOT])
        self._put(
            _DESCRIPTORS,
            records.primary_descriptor(volume_id, created_ns, space, self.table_size, _FIRST_TABLE, root),
        )
        self._put(_DESCRIPTORS + 1, records.TERMINATOR)
        table = [
            (self.identifiers[index], self.extent[index], self.number[self.nodes[index].parent])
            for index in self.order
        ]
        self._put(_FIRST_TABLE, records.path_table(table, "<"))
        self._put(_FIRST_TABLE + blocks(self.table_size), records.path_table(table, ">"))

    def _put(self, block: int, part: bytes) -> None:
        self.content[block * BLOCK : block * BLOCK + len(part)] = part
