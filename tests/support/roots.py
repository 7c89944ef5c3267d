"""A root as lines of text, in the words of `treefile.dump` and with each file's content: what lies in a folder, and
what a tree says, so that the one can be held against the other."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import stat
from collections.abc import Sequence

from c2wtasks.layers.fragments import unpack
from c2wtasks.tree import treefile
from c2wtasks.tree.model import FILE
from c2wtasks.tree.treefile import Node, TreeFile

_KINDS = {
    stat.S_IFDIR: "d",
    stat.S_IFREG: "f",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def of_tree(tree: TreeFile, tars: Sequence[bytes]) -> list[str]:
    """`tars` are the layers'."""
    return [
        f"{line} {_digest(content_of(node, tars))}" if node.kind == FILE and node.link < 0 else line
        for line, node in zip(treefile.dump(tree), tree.nodes, strict=True)
    ]


def content_of(node: Node, tars: Sequence[bytes]) -> bytes:
    content = bytearray(node.size)
    if node.content is not None:
        layer, offset, sparse = node.content
        for at, length in [(0, node.size)] if sparse is None else unpack(sparse):
            content[at : at + length] = tars[layer][offset : offset + length]
            offset += length
    return bytes(content)


def value_of(path: str | bytes, key: str) -> bytes:
    """An xattr of a file; b"" for an empty security.capability, which may be set but not read."""
    try:
        return os.getxattr(path, key, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return b""


def of_folder(root: str | bytes, *, directory_mtimes: tuple[bytes, int] | None = None) -> list[str]:
    """Whatever depth and names the folder has. With `directory_mtimes` the mtime of a directory is the number in the
    xattr of that name, which is not shown; or the given number, where it has none."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    walk = _Walk(directory_mtimes)
    walk.folder(os.open(root, _FOLDER))
    return walk.lines


class _Walk:
    def __init__(self, directory_mtimes: tuple[bytes, int] | None) -> None:
        self.lines: list[str] = []
        self.first: dict[int, str] = {}
        self.directory_mtimes = directory_mtimes

    def folder(self, top: int) -> None:
        self.one(top, b".", b".")
        open_folders = [(top, b"", _names(top))]
        while open_folders:
            here, path, names = open_folders[-1]
            if not names:
                os.close(here)
                open_folders.pop()
                continue
            name = names.pop()
            full = path + b"/" + name if path else name
            if self.one(here, name, full):
                inner = os.open(name, _FOLDER, dir_fd=here)
                open_folders.append((inner, full, _names(inner)))

    def one(self, folder: int, name: bytes, path: bytes) -> bool:
        """Adds the line of a name, and says whether it is a directory."""
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        shown = path.decode("utf-8", "backslashreplace")
        kind = _KINDS[stat.S_IFMT(found.st_mode)]
        if kind != "d" and found.st_ino in self.first:
            self.lines.append(f"{shown} = {self.first[found.st_ino]}")
            return False
        self.first[found.st_ino] = shown
        at = f"/proc/self/fd/{folder}/".encode() + name
        xattrs = {os.fsencode(key): value_of(at, key) for key in _keys(at)}
        mtime_ns = found.st_mtime_ns
        if kind == "d" and self.directory_mtimes is not None:
            key, default = self.directory_mtimes
            mtime_ns = int(xattrs.pop(key, str(default)))
        line = f"{shown} {kind} {stat.S_IMODE(found.st_mode):04o} {found.st_uid}:{found.st_gid} {mtime_ns}"
        if kind == "f":
            line += f" {found.st_size}"
        if kind == "l":
            target = os.readlink(name, dir_fd=folder)
            line += f" -> {target.decode('utf-8', 'backslashreplace')}"
        if kind in "cb":
            line += f" {os.major(found.st_rdev)},{os.minor(found.st_rdev)}"
        for key, value in sorted(xattrs.items()):
            line += f" {key.decode('utf-8', 'backslashreplace')}={value.hex()}"
        if kind == "f":
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as stream:
                line += f" {_digest(stream.read())}"
        self.lines.append(line)
        return kind == "d"


def _names(folder: int) -> list[bytes]:
    return sorted(map(os.fsencode, os.listdir(folder)), reverse=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _keys(path: bytes) -> list[str]:
    """The names of a file's xattrs; none where the file system has none."""
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return []
