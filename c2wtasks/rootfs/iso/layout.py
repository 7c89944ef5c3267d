"""Where everything of an image lies, and all of it but the files' contents: a pure function of the tree."""

from __future__ import annotations

import stat
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from c2wtasks.errors import OutputError
from c2wtasks.rootfs.directory import node_path
from c2wtasks.rootfs.iso import names, records, rockridge
from c2wtasks.rootfs.iso.records import BLOCK, DIRECTORY_FLAG, MORE_EXTENTS_FLAG, blocks, record
from c2wtasks.tree.model import BLOCK as BLOCK_DEVICE
from c2wtasks.tree.model import CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

SECTION = 2**32 - BLOCK
"""The bytes of one extent, at most: they count in 32 bits, and the next extent begins with a block."""
MAX_SECTIONS = 100
"""How many extents of a file Linux reads."""

_SYSTEM_AREA = bytes(16 * BLOCK)
_TYPES = {
    DIRECTORY: stat.S_IFDIR,
    FILE: stat.S_IFREG,
    SYMLINK: stat.S_IFLNK,
    CHARACTER: stat.S_IFCHR,
    BLOCK_DEVICE: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
}
_SELF, _PARENT = b"\0", b"\1"
_OTHER_FORM = "write the root in another form"


class Layout(NamedTuple):
    """The image is `head` and, after it, the contents of files, each from the start of a block on: that of node N is
    `extents[N]` blocks after `head`, for all nodes that have content and no link. It takes `size` bytes in all."""

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
    head = _Directories(tree.nodes, extents).image(volume_id, created_ns, content_blocks)
    return Layout(head, extents, len(head) + content_blocks * BLOCK)


def _check(nodes: list[Node]) -> None:
    for index, node in enumerate(nodes):
        if node.size > MAX_SECTIONS * SECTION:
            reason = f"of its {node.size} bytes in an ISO 9660 image Linux reads only {MAX_SECTIONS * SECTION}"
        elif node.device[0] == 0 and node.device[1] > 0xFF:
            reason = f"Linux takes the device 0,{node.device[1]} in an ISO 9660 image for another one"
        else:
            continue
        path = node_path(nodes, index).decode("utf-8", "backslashreplace")
        raise OutputError(f"{path}: {reason}", hint=_OTHER_FORM)


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


class _Directories:
    """The directories in the order of the path table: of each its records and, at once after them, the areas that
    continue these. (bsdtar, which reads an image as a stream, finds them nowhere else.)

    What is where in the image is filled in last of all, when it is known how much there is in front of it.
    """

    def __init__(self, nodes: list[Node], extents: Sequence[int]) -> None:
        self.nodes = nodes
        self.extents = extents
        self.links = _link_counts(nodes)
        self.order = [ROOT]
        self.number = {ROOT: 1}  # in the path table, by the index of the node
        self.identifiers = {ROOT: _SELF}
        self.entries = self._sorted_entries()
        self.content = bytearray()
        self.start: dict[int, int] = {}  # of a directory, the block from the first directory's on
        self.size: dict[int, int] = {}  # in bytes, without the areas
        self.areas = rockridge.Areas()  # of the directory at work
        self.continued: list[int] = []  # where the CEs in its records begin
        self.of_directories: list[tuple[int, int]] = []  # where a record begins, and the directory it is of
        self.of_contents = array("Q"), array("Q")  # where a record begins, and its content's block as in `extents`
        self.of_areas: list[tuple[int, int]] = []  # where a CE begins, and the block that it counts from
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
        self.start[directory] = len(content) // BLOCK
        self._add_reference(_SELF, directory, first=directory == ROOT)
        self._add_reference(_PARENT, nodes[directory].parent)
        for index in self.entries.pop(directory):
            if nodes[index].kind == DIRECTORY:
                self._add_reference(self.identifiers[index], index)
            else:
                self._add_leaf(index)
        records.fill(content)
        areas_at = len(content)
        self.size[directory] = areas_at - self.start[directory] * BLOCK
        self.continued += [areas_at + at for at in self.areas.references]
        self.of_areas += [(at, areas_at // BLOCK) for at in self.continued]
        content += self.areas.content
        records.fill(content)
        self.areas.clear()
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
        mode = _TYPES[node.kind] | node.mode
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

    def image(self, volume_id: str, created_ns: int, content_blocks: int) -> bytearray:
        """All of the image up to the first content, of `content_blocks`."""
        table_size = records.path_table_size(self.identifiers[index] for index in self.order)
        table_blocks = blocks(table_size)
        first_table = blocks(len(_SYSTEM_AREA)) + 2
        first_directory = first_table + 2 * table_blocks
        first_content = first_directory + blocks(len(self.content))
        space = first_content + content_blocks
        if space >= 2**32:
            raise OutputError(
                f"it would take {space * BLOCK} bytes, more than an ISO 9660 image can have", hint=_OTHER_FORM
            )
        self._fill_in(first_directory, first_content)
        table = [
            (self.identifiers[index], first_directory + self.start[index], self.number[self.nodes[index].parent])
            for index in self.order
        ]
        root = bytearray(record(_SELF, DIRECTORY_FLAG, 0, self._recorded(ROOT)))
        records.place_directory(root, 0, first_directory, self.size[ROOT])
        head = bytearray(_SYSTEM_AREA)
        head += records.primary_descriptor(volume_id, created_ns, space, table_size, first_table, root)
        head += records.TERMINATOR
        for order in "<>":
            head += records.path_table(table, order)
            records.fill(head)
        head += self.content
        return head

    def _fill_in(self, first_directory: int, first_content: int) -> None:
        content = self.content
        for at, directory in self.of_directories:
            records.place_directory(content, at, first_directory + self.start[directory], self.size[directory])
        for at, block in zip(*self.of_contents, strict=True):
            records.place(content, at, first_content + block)
        for at, block in self.of_areas:
            rockridge.place_continuation(content, at, first_directory + block)
