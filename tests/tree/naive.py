"""What containerd's `archive.Apply` does to a directory, told with the plain system calls that it makes: the judge of
`tree.apply`. It runs as root in a chroot of that directory, so that a link's absolute target means the same to the
kernel as to the tree.

Two things are ours, as ARCHITECTURE says: what AUFS kept for itself is removed at the end of a layer, and the mtime
of a directory is that of the last entry that names it, the root too. A real directory's mtime changes with every
file in it, so that one is kept in the xattr MTIME.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Sequence

from c2wtasks.layers.entry import TarEntry
from tests.support.child import in_child

MTIME = b"user.mtime-by-entry"
AT_END = -1

Layer = tuple[Sequence[TarEntry], bytes]
"""The entries of a layer and its tar."""


def apply_layers(root: str, layers: Sequence[Layer], *, same_owner: bool = True) -> tuple[int, int] | None:
    """Applies `layers` to the directory `root`; where that fails, tells the numbers of the layer and of the entry."""
    failed = in_child(lambda: _apply_in_chroot(root, layers, same_owner))
    if not failed:
        return None
    layer, entry = failed.split()
    return int(layer), int(entry)


def _apply_in_chroot(root: str, layers: Sequence[Layer], same_owner: bool) -> str:
    os.umask(0o027)
    os.chroot(root)
    os.chdir("/")
    for number, (entries, tar) in enumerate(layers):
        applied = _Applied(tar, same_owner)
        reached = AT_END
        try:
            for reached, entry in enumerate(entries):  # noqa: B007
                applied.entry(entry)
            reached = AT_END
            applied.finish()
        except OSError:
            return f"{number} {reached}"
    return ""


class _Applied:
    def __init__(self, tar: bytes, same_owner: bool) -> None:
        self.tar = tar
        self.same_owner = same_owner
        self.unpacked: set[bytes] = set()
        self.directories: list[tuple[bytes, int]] = []

    def entry(self, entry: TarEntry) -> None:
        name = clean(entry.name)
        parent, base = split(name)
        parent = root_path(parent)
        path = join(parent, join(b"/", base))
        if path == b"/":
            if entry.kind == "5":
                os.setxattr(b"/", MTIME, b"%d" % entry.mtime_ns)
            return
        make_parents(parent)
        if base == b".wh..wh..opq":
            self.clear(parent)
            return
        if base.startswith(b".wh."):
            hidden = base[len(b".wh.") :]
            if hidden in (b"", b".", b".."):
                raise OSError(errno.EINVAL, "invalid archive")
            remove_all(join(parent, hidden))
            return
        try:
            found = os.lstat(path)
            if not (stat.S_ISDIR(found.st_mode) and entry.kind == "5"):
                remove_all(path)
        except OSError:
            pass
        self.create(path, entry)
        if entry.kind == "5":
            self.directories.append((name, entry.mtime_ns))
        self.unpacked.add(path)

    def clear(self, directory: bytes) -> None:
        for name in sorted(os.listdir(directory)):
            path = join(directory, name)
            if path not in self.unpacked:
                remove_all(path)
            elif is_directory(path):
                self.clear(path)

    def create(self, path: bytes, entry: TarEntry) -> None:
        match entry.kind:
            case "5":
                if not is_directory(path):
                    os.mkdir(path, entry.mode)
                    os.chmod(path, entry.mode)
            case "0":
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, entry.mode)
                os.fchmod(descriptor, entry.mode)
                os.write(descriptor, self.tar[entry.offset : entry.offset + entry.size])
                os.close(descriptor)
            case "3" | "4" | "6":
                kind = {"3": stat.S_IFCHR, "4": stat.S_IFBLK, "6": stat.S_IFIFO}[entry.kind]
                os.mknod(path, kind | entry.mode, os.makedev(entry.major, entry.minor))
            case "1":
                parent, base = split(entry.target)
                os.link(join(root_path(parent), base), path, follow_symlinks=False)
            case "2":
                os.symlink(entry.target, path)
            case "g":
                return
            case _:
                raise OSError(errno.EINVAL, "unhandled tar header type")
        if self.same_owner:
            os.lchown(path, _or_unchanged(entry.uid), _or_unchanged(entry.gid))
        for name, value in (entry.xattrs or {}).items():
            self.xattr(path, name, value)
        found = os.lstat(path)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(path, entry.mode)
        set_mtime(path, entry.mtime_ns)

    def xattr(self, path: bytes, name: bytes, value: bytes) -> None:
        if name.startswith(b"trusted."):
            return
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as error:
            kind = os.lstat(path).st_mode
            has_user = stat.S_ISREG(kind) or stat.S_ISDIR(kind)
            if error.errno == errno.EPERM and name.startswith(b"user.") and not has_user:
                return
            if error.errno != errno.ENOTSUP:
                raise

    def finish(self) -> None:
        for name, mtime_ns in self.directories:
            set_mtime(root_path(name), mtime_ns)
        for base, folders, _ in os.walk(b"/"):
            for name in [name for name in folders if name.startswith(b".wh..wh.")]:
                shutil.rmtree(join(base, name))
                folders.remove(name)


def set_mtime(path: bytes, mtime_ns: int) -> None:
    os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
    if is_directory(path):
        os.setxattr(path, MTIME, b"%d" % mtime_ns)


def make_parents(path: bytes) -> None:
    """Each directory that is not there is made with mode 0755."""
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise OSError(errno.ENOTDIR, "mkparent")
        return
    except FileNotFoundError:
        pass
    make_parents(posixpath.dirname(path))
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)


def remove_all(path: bytes) -> None:
    """A path that is not there is as good as removed; a parent that is no directory is an error."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def root_path(path: bytes) -> bytes:
    """A path with its links followed, over and over until none is left. What does not exist is no link."""
    if not path:
        return b"/"
    followed = 0

    def step(at: bytes) -> tuple[bytes, bool]:
        nonlocal followed
        if followed > 255:
            raise OSError(errno.ELOOP, "too many links")
        at = join(b"/", at)
        try:
            if at == b"/" or not stat.S_ISLNK(os.lstat(at).st_mode):
                return at, False
        except FileNotFoundError:
            return at, False
        followed += 1
        return os.readlink(at), True

    def walk(at: bytes) -> bytes:
        folder, name = split(at)
        if not folder:
            return step(name)[0]
        if not name:
            return folder if folder == b"/" else walk(folder[:-1])
        inside = walk(folder)
        found, is_link = step(join(inside, name))
        return join(inside, found) if is_link and not found.startswith(b"/") else found

    while True:
        before = followed
        path = walk(path)
        if followed == before:
            absolute = join(b"/", path)
            if absolute == path:
                return path
            path = absolute


def split(path: bytes) -> tuple[bytes, bytes]:
    """What ends in the last slash, and what follows it."""
    at = path.rfind(b"/") + 1
    return path[:at], path[at:]


def clean(path: bytes) -> bytes:
    short = posixpath.normpath(path)
    return short[1:] if short.startswith(b"//") else short


def join(*parts: bytes) -> bytes:
    return clean(b"/".join(part for part in parts if part))


def is_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _or_unchanged(number: int) -> int:
    return -1 if number == 0xFFFF_FFFF else number
