"""The form `dir`: the tree as real files in a folder, each created once, straight from the layers' tars."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from c2wtasks.errors import OutputError, os_reason
from c2wtasks.rootfs.builder import Builder
from c2wtasks.rootfs.copying import CANNOT_LINK, OpenTars, Tars, copy
from c2wtasks.tree.model import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, TYPE_BITS
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_MAX = 4096
_SEARCH_AND_WRITE = 0o700
_SET_ID = 0o7000
_ACLS = ("system.posix_acl_default", "system.posix_acl_access")
_DEVICES = (BLOCK, CHARACTER)
_SPECIAL = {SYMLINK: "a symbolic link", FIFO: "a FIFO"}
_NO_SUCH_KIND = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO, errno.EINVAL)
_ELSEWHERE = "name an 'output' on another file system, or a form of the root that is a file, such as ext4 or tar"
_NOT_OF_THE_OLD_ONE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@dataclass(frozen=True, slots=True)
class Previous:
    """A folder that holds another tree, and for each node of the new one what `tree.difference.kept` says."""

    folder: str
    kept: Sequence[bool]


def write(tree: TreeFile, tars: Tars, folder: str, builder: Builder, previous: Previous | None = None) -> None:
    """Makes `folder`, which must not exist, hold the tree.

    A builder who may not chown leaves all to itself and leaves out `security.` xattrs; one who may not mknod
    leaves out devices. Everything else is exact: mode, links, content, mtime in nanoseconds (atime is the same).
    Where a file has more names than the file system allows (65,000 on ext4, one where there are no hard links),
    copies of it take the rest.

    What `previous` holds unchanged becomes a hard link to the file there, unless that is seen to be another one by
    now; nothing is ever written into it.

    Raises OutputError, and what `tars` raises.
    """
    writer = _Writer(builder, tars, previous)
    try:
        writer.tree(tree, folder)
    except OSError as error:
        raise _explained(error, folder, writer.at, tree) from error
    finally:
        writer.close()


def _explained(error: OSError, folder: str, at: int, tree: TreeFile) -> OutputError:
    where, kind = shown_path(tree.nodes, at), tree.nodes[at].kind
    if error.errno == errno.EEXIST and at != ROOT:
        twin = _twin(tree.nodes, at)
        same = f"{twin}, whose name differs in case alone," if twin else "another name that the image has"
        return OutputError(f"{folder}: {where}: this file system takes it for {same}", hint=_ELSEWHERE)
    if kind in _SPECIAL and error.errno in _NO_SUCH_KIND:
        wrong = f"{_SPECIAL[kind]} cannot be made on this file system"
        return OutputError(f"{folder}: {where}: {wrong}: {os_reason(error)}", hint=_ELSEWHERE)
    need = f" (the whole root takes {tree.size} bytes)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return OutputError(f"{folder}: {where}: {os_reason(error)}{need}")


def _twin(nodes: list[Node], at: int) -> str:
    """The path of the node beside node `at` whose name differs in case alone; "" where there is none."""
    node = nodes[at]
    folded = node.name.decode("utf-8", "surrogateescape").casefold()
    for index, other in enumerate(nodes[1:], 1):
        beside = other.parent == node.parent and index != at
        if beside and other.name.decode("utf-8", "surrogateescape").casefold() == folded:
            return shown_path(nodes, index)
    return ""


class _Writer:
    """Walks the nodes with the descriptors of the open directories on a stack: paths are never looked up twice."""

    def __init__(self, builder: Builder, tars: Tars, previous: Previous | None) -> None:
        self.builder = builder
        self.tars = OpenTars(tars)
        self.kept = previous.kept if previous is not None else ()
        self.old = [_opened(previous.folder)] if previous is not None else []  # as `open`, -1 where it has none
        self.root = -1
        self.open: list[tuple[int, int]] = []  # (index of the directory's node, its descriptor)
        self.locked: list[int] = []  # directories whose mode shuts out their owner: it is set last of all
        self.copies: dict[int, int] = {}  # a file with too many names -> the name that the next ones link to
        self.at = 0
        self.own = (os.geteuid(), os.getegid())
        self.not_at_once = _SET_ID | _umask()

    def close(self) -> None:
        folders = (self.root, *self.old, *(descriptor for _, descriptor in self.open))
        self.tars.close()
        for descriptor in folders:
            if descriptor >= 0:
                os.close(descriptor)

    def tree(self, tree: TreeFile, folder: str) -> None:
        nodes = tree.nodes
        os.mkdir(folder, 0o700)
        self.root = os.open(folder, _FOLDER)
        _shed_inherited(self.root)
        self.open.append((ROOT, os.dup(self.root)))
        _allow_descriptors(nodes)
        for index in range(1, len(nodes)):
            node = self.nodes_at(nodes, index)
            parent = self.open[-1][1]
            if node.link >= 0:
                self.link(nodes, index, parent)
            elif node.kind == DIRECTORY:
                self.directory(index, node, parent)
            elif not (self.old and self.kept[index] and self.take(node, parent)):
                self.leaf(node, parent)
        while self.open:
            self.leave(nodes)
        for index in self.locked:  # in the order they were left: inner ones first
            self.lock(nodes, index)

    def directory(self, index: int, node: Node, parent: int) -> None:
        os.mkdir(node.name, 0o700, dir_fd=parent)
        self.open.append((index, os.open(node.name, _FOLDER, dir_fd=parent)))
        if self.old:
            old = self.old[-1]
            self.old.append(_opened(node.name, old) if old >= 0 and self.kept[index] else -1)

    def nodes_at(self, nodes: list[Node], index: int) -> Node:
        """The node to make next, after closing the directories that it does not lie in."""
        node = nodes[index]
        while self.open[-1][0] != node.parent:
            self.leave(nodes)
        self.at = index
        return node

    def leave(self, nodes: list[Node]) -> None:
        """Finishes a directory: only now, since what is made in it changes its mtime."""
        self.at, descriptor = self.open.pop()
        if self.old and (old := self.old.pop()) >= 0:
            os.close(old)
        node = nodes[self.at]
        open_mode = node.mode | _SEARCH_AND_WRITE
        if open_mode != node.mode:
            self.locked.append(self.at)
        try:
            self.metadata(node, descriptor, open_mode)
        finally:
            os.close(descriptor)

    def lock(self, nodes: list[Node], index: int) -> None:
        """Sets the mode of a directory after all its names have been linked to."""
        self.at = index
        if index == ROOT:
            os.fchmod(self.root, nodes[index].mode)
            return
        with _reached(self.root, node_path(nodes, index)) as (folder, path):
            os.chmod(path, nodes[index].mode, dir_fd=folder)

    def metadata(self, node: Node, descriptor: int, mode: int) -> None:
        """Owner first, since a change of it drops set-id bits and capabilities."""
        if self.builder.chown and (node.uid, node.gid) != self.own:
            os.fchown(descriptor, node.uid, node.gid)
        for name, value in node.xattrs:
            self.xattr(descriptor, name, value)
        os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(node.mtime_ns, node.mtime_ns))

    def xattr(self, descriptor: int | bytes, name: bytes, value: bytes) -> None:
        try:
            os.setxattr(descriptor, name, value, follow_symlinks=isinstance(descriptor, int))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # the file system has none: containerd ignores it too
                return
            if error.errno in (errno.EPERM, errno.EACCES) and not self.builder.chown:
                return
            raise

    def link(self, nodes: list[Node], index: int, parent: int) -> None:
        node = nodes[index]
        if node.kind in _DEVICES and not self.builder.mknod:
            return
        source = self.copies.get(node.link, node.link)
        try:
            with _reached(self.root, node_path(nodes, source)) as (folder, path):
                os.link(path, node.name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            self.copies[node.link] = index
            self.leaf(msgspec.structs.replace(nodes[node.link], name=node.name), parent)

    def take(self, node: Node, parent: int) -> bool:
        """Links to the file that the previous root has under this name; says whether it could."""
        old = self.old[-1]
        try:
            if old < 0 or not self.is_as_written(node, os.stat(node.name, dir_fd=old, follow_symlinks=False)):
                return False
            os.link(node.name, node.name, src_dir_fd=old, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOT_OF_THE_OLD_ONE:
                raise
            return False
        return True

    def is_as_written(self, node: Node, found: os.stat_result) -> bool:
        """Whether a file looks as if it had been left alone."""
        return (
            found.st_mtime_ns == node.mtime_ns
            and (node.kind != FILE or found.st_size == node.size)
            and stat.S_IFMT(found.st_mode) == TYPE_BITS[node.kind]
            and (node.kind == SYMLINK or stat.S_IMODE(found.st_mode) == node.mode)
            and (found.st_uid, found.st_gid) == ((node.uid, node.gid) if self.builder.chown else self.own)
        )

    def leaf(self, node: Node, parent: int) -> None:
        if node.kind == FILE:
            self.file(node, parent)
        else:
            self.special(node, parent)

    def file(self, node: Node, parent: int) -> None:
        # Most files are to be our own, with a mode that the umask takes nothing of: made so at once, they need no
        # fchmod, which is one call of five.
        as_made = not (node.mode & self.not_at_once or node.xattrs) and (node.uid, node.gid) == self.own
        descriptor = os.open(node.name, _CREATE, node.mode if as_made else 0o600, dir_fd=parent)
        try:
            if node.size:
                self.content(node, descriptor)
            if as_made:
                os.utime(descriptor, ns=(node.mtime_ns, node.mtime_ns))
            else:
                self.metadata(node, descriptor, node.mode)
        finally:
            os.close(descriptor)

    def content(self, node: Node, descriptor: int) -> None:
        assert node.content is not None
        layer, offset, sparse = node.content
        tar = self.tars.descriptor(layer)
        if sparse is not None:
            os.ftruncate(descriptor, node.size)
            for at, length in sparse:
                os.lseek(descriptor, at, os.SEEK_SET)
                copy(tar, offset, descriptor, length)
                offset += length
        else:
            copy(tar, offset, descriptor, node.size)

    def special(self, node: Node, parent: int) -> None:
        if node.kind == SYMLINK:
            os.symlink(node.target, node.name, dir_fd=parent)
        elif node.kind == FIFO:
            os.mkfifo(node.name, 0o600, dir_fd=parent)
        elif not self.builder.mknod:
            return
        else:
            mode = TYPE_BITS[node.kind] | 0o600
            os.mknod(node.name, mode, os.makedev(*node.device), dir_fd=parent)
        if self.builder.chown and (node.uid, node.gid) != self.own:
            os.chown(node.name, node.uid, node.gid, dir_fd=parent, follow_symlinks=False)
        for name, value in node.xattrs:
            # There is no setxattr relative to a directory; the directory's descriptor has a path in /proc.
            self.xattr(f"/proc/self/fd/{parent}/".encode() + node.name, name, value)
        if node.kind != SYMLINK:
            os.chmod(node.name, node.mode, dir_fd=parent)
        times = (node.mtime_ns, node.mtime_ns)
        os.utime(node.name, ns=times, dir_fd=parent, follow_symlinks=False)


def _umask() -> int:
    """What the process's umask takes away; all there is where that cannot be told without changing it."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))
    except (OSError, StopIteration, ValueError):
        return 0o777


def _opened(folder: str | bytes, inside: int | None = None) -> int:
    """A descriptor of a directory, -1 where there is none that can be opened."""
    try:
        return os.open(folder, _FOLDER, dir_fd=inside)
    except OSError:
        return -1


def _shed_inherited(folder: int) -> None:
    """Keeps the group of a set-group-id folder around `folder`, and a default ACL, from passing on to all in it."""
    for name in _ACLS:
        try:
            os.removexattr(folder, name)
        except OSError:  # it has none, or the file system knows none
            pass
    if os.fstat(folder).st_gid != os.getegid():
        os.fchown(folder, -1, os.getegid())
    os.fchmod(folder, 0o700)


@contextmanager
def _reached(root: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """An open directory, and the rest of `path` from there, which is as short as a kernel wants it."""
    here = os.dup(root)
    try:
        while len(path) >= _PATH_MAX:
            cut = path.rindex(b"/", 0, _PATH_MAX)
            inner = os.open(path[:cut], _FOLDER, dir_fd=here)
            os.close(here)
            here, path = inner, path[cut + 1 :]
        yield here, path
    finally:
        os.close(here)


def node_path(nodes: list[Node], index: int) -> bytes:
    """The path of a node below the root; b"" for the root."""
    parts = []
    while index:
        parts.append(nodes[index].name)
        index = nodes[index].parent
    return b"/".join(reversed(parts))


def shown_path(nodes: list[Node], index: int) -> str:
    """The path of a node, for messages."""
    return node_path(nodes, index).decode("utf-8", "backslashreplace") or "/"


def _allow_descriptors(nodes: list[Node]) -> None:
    """Each level of directories takes one or two descriptors; the usual soft limit of 1024 would end there."""
    depths = [0] * len(nodes)
    for index in range(1, len(nodes)):
        depths[index] = depths[nodes[index].parent] + 1
    needed = 2 * max(depths) + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard < 0 else min(needed, hard), hard))
