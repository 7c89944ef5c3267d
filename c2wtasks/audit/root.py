"""The form `dir` held against its tree: everything that was written there, name by name. Nothing is changed."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from c2wtasks.audit.finding import MISSING, PRESENT, Finding, shown
from c2wtasks.disk import files, safely
from c2wtasks.disk.safely import open_quietly
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.rootfs import dir as directory
from c2wtasks.rootfs.rights import SET_IDS, LeftOut, mode_and_owner, xattr_name
from c2wtasks.rootfs.writing.pieces import fragments
from c2wtasks.tree.model import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK
from c2wtasks.tree.paths import node_path
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_KINDS = {
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFREG: FILE,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
    stat.S_IFIFO: FIFO,
}
_WORDS = {
    DIRECTORY: "directory",
    FILE: "file",
    SYMLINK: "symlink",
    CHARACTER: "character device",
    BLOCK: "block device",
    FIFO: "fifo",
}
_DEVICES = (CHARACTER, BLOCK)

# Others appear by themselves: labels of security modules, an overlay's or a file system's own.
_ACL = b"system.posix_acl_"
_OURS = (b"user.", b"security.capability", _ACL)

# Where a file has more names than the file system allows, copies take the rest; the least that any allows.
_FULL_OF_LINKS = 32_000

Xattrs = dict[bytes, bytes]


@dataclass(slots=True)
class Inspection:
    """`unread` are the paths of files and folders whose content could not be looked at, each with the reason."""

    findings: list[Finding] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def inspect(
    tree: TreeFile,
    tars: Sequence[str | None],
    folder: str,
    left_out: LeftOut,
    *,
    builder: int,
    scratch: str,
) -> Inspection:
    """Compares `folder` with the tree that was written there, but for what was `left_out`; save modes: one that is
    wrong is found, whoever is at fault.

    `tars` are the paths of the layers' tars, lowest first; None for one whose files cannot be compared. `builder` is
    the uid that files have whose owner was left out. `scratch` is a name on the same file system that nobody uses:
    where something differs, a sample is written there, since a file system may not keep all that it is told (whole
    seconds only, another ACL, no hard links).
    """
    walk = _Walk(tree, folder, left_out, builder, scratch)
    try:
        for tar in tars:
            walk.open_tar(tar)
        walk.run()
    finally:
        walk.close()
    return walk.result


class _Walk:
    """Goes through the folders with one descriptor at a time, down by name and up by "..", however deep they lie."""

    def __init__(self, tree: TreeFile, folder: str, left_out: LeftOut, builder: int, scratch: str) -> None:
        self.nodes = tree.nodes
        self.folder = folder
        self.left_out = left_out
        self.builder = builder
        self.group: int | None = None  # of the builder
        self.devices: tuple[list[int], list[int]] = [], []  # that are there, and that are not
        self.sampler = _Sampler(scratch)
        self.tars: list[BinaryIO | None] = []
        self.result = Inspection()
        self.children: list[list[int]] = [[] for _ in tree.nodes]
        for index in range(1, len(self.nodes)):
            self.children[self.nodes[index].parent].append(index)
        self.inodes: dict[int, tuple[int, int]] = {}  # a node with several names -> the inode that they name
        self.links = Counter(node.link for node in self.nodes if node.link >= 0)
        self.holders: dict[tuple[int, int], int] = {}  # an inode with several names -> its node

    def open_tar(self, path: str | None) -> None:
        try:
            self.tars.append(open_quietly(path) if path is not None else None)
        except OSError:
            self.tars.append(None)

    def close(self) -> None:
        for tar in self.tars:
            if tar is not None:
                tar.close()

    def path(self, index: int) -> str:
        inner = node_path(self.nodes, index)
        return shown(self.folder) + (f"/{shown(inner)}" if inner else "")

    def find(self, index: int, what: str, want: str, have: str) -> None:
        self.result.findings.append(Finding(self.path(index), what, want, have))

    def unread(self, index: int, why: str) -> None:
        self.result.unread.append(f"{self.path(index)}: {why}")

    def run(self) -> None:
        try:
            with safely.folder(self.folder) as top:
                here = os.open(".", _FOLDER, dir_fd=top)
        except OSError as error:
            self.find(ROOT, "folder", PRESENT, MISSING if error.errno == errno.ENOENT else os_reason(error))
            return
        try:
            self.compare(ROOT, self.nodes[ROOT], os.fstat(here), here, b".")
            levels = [self.names(ROOT, here)]
            above: list[tuple[int, int]] = []  # what tells each folder that we came through from others
            while levels:
                if not levels[-1]:
                    levels.pop()
                    if levels:
                        here = _moved(here, "..")
                        if safely.identity_of(here) != above.pop():
                            self.unread(ROOT, "somebody moves the folders in it")
                            return
                    continue
                index = levels[-1].pop()
                inside = safely.identity_of(here)
                try:
                    here = _moved(here, self.nodes[index].name)
                except OSError as error:
                    self.unread(index, os_reason(error))
                    continue
                above.append(inside)
                levels.append(self.names(index, here))
        finally:
            os.close(here)
        self.count_devices()

    def count_devices(self) -> None:
        present, gone = self.devices
        if len(gone) > self.left_out.devices:
            for index in gone:
                self.find(index, _WORDS[self.nodes[index].kind], PRESENT, MISSING)
        elif len(gone) < self.left_out.devices:
            for index in present:
                self.find(index, "entry", "none", "an extra one")

    def names(self, index: int, here: int) -> list[int]:
        """Compares all that lies in a folder; gives the folders to go into, the first one last."""
        children = self.children[index]
        present = set(map(os.fsencode, os.listdir(here)))
        folders = [child for child in children if self.name(child, here)]
        for name in sorted(present.difference(self.nodes[child].name for child in children)):
            self.result.findings.append(Finding(f"{self.path(index)}/{shown(name)}", "entry", "none", "an extra one"))
        return folders[::-1]

    def name(self, index: int, here: int) -> bool:
        """Compares a name with its node; says whether it is a folder to go into."""
        node = self.nodes[index]
        try:
            found = os.stat(node.name, dir_fd=here, follow_symlinks=False)
        except FileNotFoundError:
            if node.kind in _DEVICES:
                self.devices[1].append(index)
            else:
                self.find(index, _WORDS[node.kind], PRESENT, MISSING)
            return False
        except OSError as error:
            self.unread(index, os_reason(error))
            return False
        if node.kind == DIRECTORY:
            return self.compare(index, node, found, here, node.name)
        if node.kind in _DEVICES:
            self.devices[0].append(index)
        first = node.link if node.link >= 0 else index
        inode = (found.st_dev, found.st_ino)
        if self.inodes.get(first) == inode:
            return False
        if first in self.inodes and self.links[first] < _FULL_OF_LINKS and not self.left_out.hard_links:
            self.find(index, "links", f"one file with {self.path(first)}", "another file")
            return False
        if first in self.links:
            self.inodes[first] = inode
        if found.st_nlink > 1 and (holder := self.holders.setdefault(inode, first)) != first:
            self.find(index, "links", "a file of its own", f"one file with {self.path(holder)}")
        self.compare(index, self.nodes[first], found, here, node.name)
        return False

    def compare(self, index: int, node: Node, found: os.stat_result, here: int, name: bytes) -> bool:
        """Compares one file with its node; says whether they are of one kind, and that a folder."""
        kind = _KINDS.get(stat.S_IFMT(found.st_mode))
        if kind != node.kind:
            self.find(index, "kind", _WORDS[node.kind], _WORDS[kind] if kind else "socket")
            return False
        self.metadata(index, node, found, f"/proc/self/fd/{here}/".encode() + name)
        if kind == SYMLINK:
            target = os.readlink(name, dir_fd=here)
            if target != node.target:
                self.find(index, "target", shown(node.target), shown(target))
        elif kind in _DEVICES:
            device = (os.major(found.st_rdev), os.minor(found.st_rdev))
            if device != node.device:
                self.find(index, "device", "{},{}".format(*node.device), "{},{}".format(*device))
        elif kind == FILE:
            if found.st_size != node.size:
                self.find(index, "size", str(node.size), str(found.st_size))
            elif node.size:
                self.content(index, node, here, name)
        return kind == DIRECTORY

    def metadata(self, index: int, node: Node, found: os.stat_result, path: bytes) -> None:
        self.owner(index, node, found)
        mode = stat.S_IMODE(found.st_mode)
        if node.kind != SYMLINK and mode != node.mode and not self.lost_set_ids(node, mode):
            self.find(index, "mode", f"{node.mode:04o}", f"{mode:04o}")
        if found.st_mtime_ns != node.mtime_ns and found.st_mtime_ns != (mtime := self.sampler.mtime_ns(node)):
            self.find(index, "mtime", _seconds(mtime), _seconds(found.st_mtime_ns))
        try:
            have = _xattrs(path)
        except OSError as error:
            self.unread(index, f"xattrs: {os_reason(error)}")
            return
        want = self.xattrs(node, have)
        for key in sorted({*have, *want}):
            if have.get(key) != want.get(key):
                self.find(index, f"xattr {shown(key)}", _hex(want.get(key)), _hex(have.get(key)))

    def owner(self, index: int, node: Node, found: os.stat_result) -> None:
        want, have = (node.uid, node.gid), (found.st_uid, found.st_gid)
        if want == have:
            return
        if "{}:{}".format(*want) in self.left_out.owners:  # a file system may know one of both
            if self.group is None and found.st_gid != node.gid:
                self.group = found.st_gid
            uid, gid = self.builder, node.gid if self.group is None else self.group
            want = (node.uid if found.st_uid == node.uid else uid, node.gid if found.st_gid == node.gid else gid)
        if want != have:
            self.find(index, "owner", "{}:{}".format(*want), "{}:{}".format(*have))

    def lost_set_ids(self, node: Node, mode: int) -> bool:
        """Whether the mode is what the record tells of."""
        lost = node.mode & ~mode
        known = mode_and_owner(node.mode, node.uid, node.gid) in self.left_out.set_ids
        return known and mode | lost == node.mode and not lost & ~SET_IDS

    def xattrs(self, node: Node, have: Xattrs) -> Xattrs:
        """What the file should have, where it differs: of its ACLs what the file system makes of them, and not what
        was left out."""
        want = {
            name: value
            for name, value in node.xattrs
            if name in have or (name.startswith(_OURS) and xattr_name(name) not in self.left_out.xattrs)
        }
        if have == want:
            return want
        of_acls = {name: value for name, value in self.sampler.xattrs(node).items() if name.startswith(_ACL)}
        return {name: value for name, value in want.items() if not name.startswith(_ACL)} | of_acls

    def content(self, index: int, node: Node, here: int, name: bytes) -> None:
        assert node.content is not None
        tar = self.tars[node.content.layer]
        if tar is None:
            self.unread(index, "its layer's tar is not at hand")
            return
        try:
            with open_quietly(name, here) as stream:
                at = _first_difference(stream.fileno(), tar.fileno(), node)
        except OSError as error:
            self.unread(index, os_reason(error))
            return
        if at is not None:
            self.find(index, "content", f"that of layer {node.content.layer + 1}", f"another from byte {at} on")


class _Sampler:
    """What the file system makes of a node's metadata: that of a like file, written by the code that writes all."""

    def __init__(self, scratch: str) -> None:
        self.scratch = scratch
        self._made: dict[object, tuple[os.stat_result, Xattrs] | None] = {}

    def mtime_ns(self, node: Node) -> int:
        sample = self._sample(node)
        return sample[0].st_mtime_ns if sample else node.mtime_ns

    def xattrs(self, node: Node) -> Xattrs:
        sample = self._sample(node)
        return sample[1] if sample else dict(node.xattrs)

    def _sample(self, node: Node) -> tuple[os.stat_result, Xattrs] | None:
        key = (node.kind, node.mode, node.uid, node.gid, node.mtime_ns, node.xattrs)
        if key not in self._made:
            self._made[key] = self._make(node)
        return self._made[key]

    def _make(self, node: Node) -> tuple[os.stat_result, Xattrs] | None:
        alike = Node(
            ROOT,
            b"sample",
            node.kind,
            mode=node.mode,
            uid=node.uid,
            gid=node.gid,
            mtime_ns=node.mtime_ns,
            target=node.target,
            device=node.device,
            xattrs=node.xattrs,
        )
        tree = TreeFile([], [Node(ROOT, b"", DIRECTORY, mode=0o700, uid=os.geteuid(), gid=os.getegid()), alike])
        try:
            files.make_folders(os.path.dirname(self.scratch))
            directory.write(tree, [].__getitem__, self.scratch)
            with safely.folder(self.scratch) as here:
                found = os.stat("sample", dir_fd=here, follow_symlinks=False)
                return found, _xattrs(f"/proc/self/fd/{here}/sample".encode())
        except (OSError, OutputError):  # one who may not write here gets to know what the tree says
            return None
        finally:
            try:
                files.remove_tree(self.scratch)
            except OutputError:
                pass


def _moved(here: int, name: bytes | str) -> int:
    """The folder `name` of the open folder `here`, which is closed."""
    there = os.open(name, _FOLDER, dir_fd=here)
    os.close(here)
    return there


def _xattrs(path: bytes) -> Xattrs:
    """The xattrs of a file that are of the names we write."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return {}
        raise
    return {os.fsencode(name): _value(path, name) for name in names if os.fsencode(name).startswith(_OURS)}


def _value(path: bytes, name: str) -> bytes:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EINVAL:  # so the kernel gives an empty security.capability, which it lets be set
            return b""
        raise


def _hex(value: bytes | None) -> str:
    return "none" if value is None else f"0x{value.hex()}"


def _seconds(nanoseconds: int) -> str:
    return "{}.{:09}".format(*divmod(nanoseconds, 10**9))


def _first_difference(file: int, tar: int, node: Node) -> int | None:
    """The first byte at which a file differs from its content in the tar."""
    for at, length, offset in _pieces(node):
        found = _in_hole(file, at, length) if offset is None else _in_data(file, tar, at, length, offset)
        if found is not None:
            return found
    return None


def _pieces(node: Node) -> Iterator[tuple[int, int, int | None]]:
    """(offset in the file, length, offset in the tar or None for a hole) of all parts of a file."""
    assert node.content is not None
    offset, reached = node.content.offset, 0
    for at, length in fragments(node):
        if at > reached:
            yield reached, at - reached, None
        yield at, length, offset
        offset += length
        reached = at + length
    if reached < node.size:
        yield reached, node.size - reached, None


def _in_data(file: int, tar: int, at: int, length: int, offset: int) -> int | None:
    return _compared(file, at, length, lambda done, count: os.pread(tar, count, offset + done))


def _in_hole(file: int, at: int, length: int) -> int | None:
    """Zeros that are not stored need not be read."""
    end = at + length
    while at < end:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise
        stop = min(end, os.lseek(file, start, os.SEEK_HOLE))
        if start >= end:
            return None
        if (found := _compared(file, start, stop - start, lambda _done, count: bytes(count))) is not None:
            return found
        at = stop
    return None


def _compared(file: int, at: int, length: int, want: Callable[[int, int], bytes]) -> int | None:
    done = 0
    while done < length:
        count = min(_CHUNK, length - done)
        have, wanted = os.pread(file, count, at + done), want(done, count)
        if have != wanted or len(have) != count:
            pairs = zip(have, wanted, strict=False)
            return at + done + next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(have), len(wanted)))
        done += count
    return None
