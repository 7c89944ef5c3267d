"""The form `dir`: the tree as real files in a folder, each created once, straight from the layers' tars."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Sequence

from c2wtasks.errors import OutputError, os_reason
from c2wtasks.rootfs.builder import Builder
from c2wtasks.tree.model import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK
from c2wtasks.tree.treefile import Node, TreeFile

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL = 1 << 16
_DEVICE_TYPE = {CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK}
_UNSUPPORTED = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def write(tree: TreeFile, tars: Sequence[str], folder: str, builder: Builder) -> None:
    """Makes `folder`, which must not exist, hold the tree. `tars` are the paths of its layers' tars, lowest first.

    A builder who may not chown leaves all to itself and leaves out `security.` xattrs; one who may not mknod
    leaves out devices. Everything else is exact: mode, links, content, mtime in nanoseconds (atime is the same).

    Raises OutputError.
    """
    writer = _Writer(builder)
    try:
        for tar in tars:
            writer.open_tar(tar)
        writer.tree(tree, folder)
    except OSError as error:
        raise _explained(error, folder, writer.where(tree), tree) from error
    finally:
        writer.close()


def _explained(error: OSError, folder: str, where: str, tree: TreeFile) -> OutputError:
    need = f" (the whole root takes {tree.size} bytes)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return OutputError(f"{folder}: {where}: {os_reason(error)}{need}")


def link(tree: TreeFile, old: str, folder: str, builder: Builder) -> bool:
    """Makes `folder`, which must not exist, hold the tree that the folder `old` holds already: new directories, and
    hard links to everything else, which nothing ever writes into.

    Says whether it could; if not, what it left in `folder` is of no use.

    Raises OutputError: the file system is full, or the like.
    """
    linker = _Linker(builder, old)
    try:
        linker.tree(tree, folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
            raise _explained(error, folder, linker.where(tree), tree) from error
        return False
    finally:
        linker.close()
    return True


class _Writer:
    """Walks the nodes with the descriptors of the open directories on a stack: paths are never looked up twice."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.tars: list[int] = []
        self.open: list[tuple[int, int]] = []  # (index of the directory's node, its descriptor)
        self.at = 0
        self.own = (os.geteuid(), os.getegid())

    def close(self) -> None:
        for descriptor in [*self.tars, *(descriptor for _, descriptor in self.open)]:
            os.close(descriptor)

    def open_tar(self, path: str) -> None:
        self.tars.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def where(self, tree: TreeFile) -> str:
        """The path of the node at work, for messages."""
        return node_path(tree.nodes, self.at).decode("utf-8", "backslashreplace") or "/"

    def tree(self, tree: TreeFile, folder: str) -> None:
        nodes = tree.nodes
        os.mkdir(folder, 0o700)
        self.open.append((0, os.open(folder, _FOLDER)))
        _allow_descriptors(nodes)
        for index in range(1, len(nodes)):
            node = self.nodes_at(nodes, index)
            parent = self.open[-1][1]
            if node.link >= 0:
                self.link(nodes, node, parent)
            elif node.kind == DIRECTORY:
                self.directory(index, node, parent)
            elif node.kind == FILE:
                self.file(node, parent)
            else:
                self.special(node, parent)
        while self.open:
            self.leave(nodes)

    def directory(self, index: int, node: Node, parent: int) -> None:
        os.mkdir(node.name, 0o700, dir_fd=parent)
        self.open.append((index, os.open(node.name, _FOLDER, dir_fd=parent)))

    def nodes_at(self, nodes: list[Node], index: int) -> Node:
        """The node to make next, after closing the directories that it does not lie in."""
        self.at = index
        node = nodes[index]
        while self.open[-1][0] != node.parent:
            self.leave(nodes)
        return node

    def leave(self, nodes: list[Node]) -> None:
        """Finishes a directory: only now, since what is made in it changes its mtime, and its mode may forbid it."""
        index, descriptor = self.open.pop()
        try:
            self.metadata(nodes[index], descriptor)
        finally:
            os.close(descriptor)

    def metadata(self, node: Node, descriptor: int) -> None:
        """Owner first, since a change of it drops set-id bits and capabilities."""
        if self.builder.chown and (node.uid, node.gid) != self.own:
            os.fchown(descriptor, node.uid, node.gid)
        for name, value in node.xattrs:
            self.xattr(descriptor, name, value)
        os.fchmod(descriptor, node.mode)
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

    def link(self, nodes: list[Node], node: Node, parent: int) -> None:
        if node.kind in _DEVICE_TYPE and not self.builder.mknod:
            return
        source = node_path(nodes, node.link)
        os.link(source, node.name, src_dir_fd=self.open[0][1], dst_dir_fd=parent, follow_symlinks=False)

    def file(self, node: Node, parent: int) -> None:
        descriptor = os.open(node.name, _CREATE, 0o600, dir_fd=parent)
        try:
            if node.size:
                self.content(node, descriptor)
            self.metadata(node, descriptor)
        finally:
            os.close(descriptor)

    def content(self, node: Node, descriptor: int) -> None:
        assert node.content is not None
        layer, offset, sparse = node.content
        tar = self.tars[layer]
        if sparse is not None:
            os.ftruncate(descriptor, node.size)
            for at, length in sparse:
                os.lseek(descriptor, at, os.SEEK_SET)
                _copy(tar, offset, descriptor, length)
                offset += length
        else:
            _copy(tar, offset, descriptor, node.size)

    def special(self, node: Node, parent: int) -> None:
        if node.kind == SYMLINK:
            os.symlink(node.target, node.name, dir_fd=parent)
        elif node.kind == FIFO:
            os.mkfifo(node.name, 0o600, dir_fd=parent)
        elif not self.builder.mknod:
            return
        else:
            mode = _DEVICE_TYPE[node.kind] | 0o600
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


class _Linker(_Writer):
    """Makes everything but directories a hard link to its like in another folder that holds the same tree."""

    def __init__(self, builder: Builder, old: str) -> None:
        super().__init__(builder)
        self.old = [os.open(old, _FOLDER)]

    def close(self) -> None:
        super().close()
        for descriptor in self.old:
            os.close(descriptor)

    def directory(self, index: int, node: Node, parent: int) -> None:
        super().directory(index, node, parent)
        self.old.append(os.open(node.name, _FOLDER, dir_fd=self.old[-1]))

    def leave(self, nodes: list[Node]) -> None:
        super().leave(nodes)
        os.close(self.old.pop())

    def link(self, nodes: list[Node], node: Node, parent: int) -> None:
        self.special(node, parent)

    def file(self, node: Node, parent: int) -> None:
        self.special(node, parent)

    def special(self, node: Node, parent: int) -> None:
        if node.kind not in _DEVICE_TYPE or self.builder.mknod:
            os.link(node.name, node.name, src_dir_fd=self.old[-1], dst_dir_fd=parent, follow_symlinks=False)


def node_path(nodes: list[Node], index: int) -> bytes:
    """The path of a node below the root; b"" for the root."""
    parts = []
    while index:
        parts.append(nodes[index].name)
        index = nodes[index].parent
    return b"/".join(reversed(parts))


def _allow_descriptors(nodes: list[Node]) -> None:
    """Each level of directories takes a descriptor; the usual soft limit of 1024 would end at that depth."""
    depths = [0] * len(nodes)
    for index in range(1, len(nodes)):
        depths[index] = depths[nodes[index].parent] + 1
    needed = max(depths) + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard < 0 else min(needed, hard), hard))


def _copy(source: int, offset: int, target: int, length: int) -> None:
    """Copies `length` bytes from `offset` of `source` to where `target` stands.

    A small file is cheapest through a buffer; a larger one stays in the kernel, or is shared by the file system.
    """
    if length > _SMALL:
        try:
            while length:
                count = os.copy_file_range(source, target, length, offset_src=offset)
                if count == 0:
                    raise OSError(errno.EIO, "the layer's tar in the cache is too short; delete it and run again")
                offset += count
                length -= count
            return
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    while length:
        content = os.pread(source, min(length, 1 << 20), offset)
        if not content:
            raise OSError(errno.EIO, "the layer's tar in the cache is too short; delete it and run again")
        offset += len(content)
        length -= len(content)
        while content:
            content = content[os.write(target, content) :]
