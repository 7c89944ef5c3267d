"""One file of a root held against the node of the tree that it was written from."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from c2wtasks.audit.content import first_difference
from c2wtasks.audit.finding import Findings, shown
from c2wtasks.audit.sample import ACL, OURS, Sampler, Xattrs, xattrs_of
from c2wtasks.disk.safely import open_quietly
from c2wtasks.errors import os_reason
from c2wtasks.process.rights import SET_IDS, LeftOut, mode_and_owner, xattr_name
from c2wtasks.tree.model import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK
from c2wtasks.tree.paths import node_path
from c2wtasks.tree.treefile import Node, TreeFile

_KINDS = {
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFREG: FILE,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
    stat.S_IFIFO: FIFO,
}
WORDS = {
    DIRECTORY: "directory",
    FILE: "file",
    SYMLINK: "symlink",
    CHARACTER: "character device",
    BLOCK: "block device",
    FIFO: "fifo",
}
DEVICES = (CHARACTER, BLOCK)
NOT_COMPARED = -1
MOST_KNOWN = 1 << 20

Contents = dict[tuple[object, ...], int | None]
"""The first byte at which a file differs from what it should be, or None; by what tells its state from all others,
and where its content lies."""


class NodeAudit:
    """Compares files of the root in `folder` with nodes of its tree, and gathers what it finds in `result`.

    `left_out` is what the root was recorded to lack, `builder` the uid that files have whose owner was left out.
    `known` has what was found of the contents of files with several names, for the next roots that have them.
    """

    def __init__(
        self, tree: TreeFile, folder: str, left_out: LeftOut, builder: int, scratch: str, known: Contents
    ) -> None:
        self.nodes = tree.nodes
        self._layers = tree.layers
        self._known = known
        self.left_out = left_out
        self.result = Findings()
        self._folder = folder
        self._builder = builder
        self._group: int | None = None  # of the builder
        self._sampler = Sampler(scratch)
        self._tars: list[BinaryIO | None] = []

    def open_tar(self, path: str | None) -> None:
        """Opens the tar of the next layer; None, or one that cannot be opened, is not at hand."""
        try:
            self._tars.append(open_quietly(path) if path is not None else None)
        except OSError:
            self._tars.append(None)

    def close(self) -> None:
        """Closes the tars."""
        for tar in self._tars:
            if tar is not None:
                tar.close()

    def path(self, index: int) -> str:
        """The path of a node in the output, printable."""
        inner = node_path(self.nodes, index)
        return shown(self._folder) + (f"/{shown(inner)}" if inner else "")

    def find(self, index: int, what: str, want: str, have: str) -> None:
        """Adds a finding of the file that a node names."""
        self.result.find(self.path(index), what, want, have)

    def unread(self, index: int, why: str) -> None:
        """Notes that something of the file that a node names could not be looked at."""
        self.result.unread.append(f"{self.path(index)}: {why}")

    def compare(self, index: int, node: Node, found: os.stat_result, here: int, name: bytes) -> bool:
        """Compares one file with its node; says whether they are of one kind, and that a folder."""
        before = len(self.result.findings)
        is_folder = self._compare(index, node, found, here, name)
        if len(self.result.findings) > before and found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
            self.result.linked[found.st_dev, found.st_ino] = self.result.findings[before:]
        return is_folder

    def _compare(self, index: int, node: Node, found: os.stat_result, here: int, name: bytes) -> bool:
        kind = _KINDS.get(stat.S_IFMT(found.st_mode))
        if kind != node.kind:
            self.find(index, "kind", WORDS[node.kind], WORDS[kind] if kind else "socket")
            return False
        self._metadata(index, node, found, f"/proc/self/fd/{here}/".encode() + name)
        if kind == SYMLINK:
            target = os.readlink(name, dir_fd=here)
            if target != node.target:
                self.find(index, "target", shown(node.target), shown(target))
        elif kind in DEVICES:
            device = (os.major(found.st_rdev), os.minor(found.st_rdev))
            if device != node.device:
                self.find(index, "device", "{},{}".format(*node.device), "{},{}".format(*device))
        elif kind == FILE:
            if found.st_size != node.size:
                self.find(index, "size", str(node.size), str(found.st_size))
            elif node.size:
                self._content(index, node, found, here, name)
        return kind == DIRECTORY

    def _metadata(self, index: int, node: Node, found: os.stat_result, path: bytes) -> None:
        self._owner(index, node, found)
        mode = stat.S_IMODE(found.st_mode)
        if node.kind != SYMLINK and mode != node.mode and not self._lost_set_ids(node, mode):
            self.find(index, "mode", f"{node.mode:04o}", f"{mode:04o}")
        if found.st_mtime_ns != node.mtime_ns and found.st_mtime_ns != (mtime := self._sampler.mtime_ns(node)):
            self.find(index, "mtime", _seconds(mtime), _seconds(found.st_mtime_ns))
        try:
            have = xattrs_of(path)
        except OSError as error:
            self.unread(index, f"xattrs: {os_reason(error)}")
            return
        want = self._xattrs(node, have)
        for key in sorted({*have, *want}):
            if have.get(key) != want.get(key):
                self.find(index, f"xattr {shown(key)}", _hex(want.get(key)), _hex(have.get(key)))

    def _owner(self, index: int, node: Node, found: os.stat_result) -> None:
        want, have = (node.uid, node.gid), (found.st_uid, found.st_gid)
        if want == have:
            return
        if "{}:{}".format(*want) in self.left_out.owners:  # a file system may know one of both
            if self._group is None and found.st_gid != node.gid:
                self._group = found.st_gid
            uid, gid = self._builder, node.gid if self._group is None else self._group
            want = (node.uid if found.st_uid == node.uid else uid, node.gid if found.st_gid == node.gid else gid)
        if want != have:
            self.find(index, "owner", "{}:{}".format(*want), "{}:{}".format(*have))

    def _lost_set_ids(self, node: Node, mode: int) -> bool:
        """Whether the mode lacks no more than the set-id bits that the record says were left out."""
        lost = node.mode & ~mode
        known = mode_and_owner(node.mode, node.uid, node.gid) in self.left_out.set_ids
        return known and mode | lost == node.mode and not lost & ~SET_IDS

    def _xattrs(self, node: Node, have: Xattrs) -> Xattrs:
        """What the file should have, where it differs: of its ACLs what the file system makes of them, and not what
        was left out."""
        want = {
            name: value
            for name, value in node.xattrs
            if name in have or (name.startswith(OURS) and xattr_name(name) not in self.left_out.xattrs)
        }
        if have == want:
            return want
        of_acls = {name: value for name, value in self._sampler.xattrs(node).items() if name.startswith(ACL)}
        return {name: value for name, value in want.items() if not name.startswith(ACL)} | of_acls

    def _content(self, index: int, node: Node, found: os.stat_result, here: int, name: bytes) -> None:
        assert node.content is not None
        layer, offset, sparse = node.content
        tar = self._tars[layer]
        if tar is None:
            self.unread(index, "its layer's tar is not at hand")
            return
        state = found.st_dev, found.st_ino, found.st_ctime_ns
        key = (*state, self._layers[layer], offset, node.size, sparse)
        if (at := self._known.get(key, NOT_COMPARED)) == NOT_COMPARED:
            try:
                with open_quietly(name, here) as stream:
                    at = first_difference(stream.fileno(), tar.fileno(), node)
            except OSError as error:
                self.unread(index, os_reason(error))
                return
            if found.st_nlink > 1 and len(self._known) < MOST_KNOWN:
                self._known[key] = at
        if at is not None:
            self.find(index, "content", f"that of layer {layer + 1}", f"another from byte {at} on")


def _hex(value: bytes | None) -> str:
    return "none" if value is None else f"0x{value.hex()}"


def _seconds(nanoseconds: int) -> str:
    return "{}.{:09}".format(*divmod(nanoseconds, 10**9))
