"""The folder of a root, put into another output as it is: by hard links where they can be, else copied."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from c2wtasks.disk import safely
from c2wtasks.disk.opening import FOLDER
from c2wtasks.rootfs.dir.attributes import shed_inherited
from c2wtasks.rootfs.dir.folders import allow_depth, reached
from c2wtasks.rootfs.writing import copying

_NO_XATTRS = (errno.EOPNOTSUPP, errno.ENOSYS)


def duplicate(source: str, target: str) -> None:
    """Makes the folder `target`, which is not there yet, and puts all in it that `source` holds, however deep, with
    owners, modes, mtimes, xattrs, and hard links among files as they are there. No link is followed, and none is
    `source`.

    Raises OSError, also where one who is not root cannot give something its owner; it names a path in the root.
    """
    with safely.entry(source) as (around, folder), safely.entry(target) as (above, name):
        there = os.open(folder, FOLDER, dir_fd=around)
        try:
            os.mkdir(name, 0o700, dir_fd=above)
            here = os.open(name, FOLDER, dir_fd=above)
        except OSError:
            os.close(there)
            raise
        shed_inherited(here)
        _Duplicate(there, here).fill()


class _Level(NamedTuple):
    """A folder that is gone through: open in both roots, with its path below them, and the names of the folders in it
    that are left."""

    there: int
    here: int
    path: str
    folders: list[str]


class _Duplicate:
    """What is put below the open folder `here`, which is closed in the end, as `there` is. `copied` has the files of
    more than one name that were copied: their paths, by device and inode."""

    def __init__(self, there: int, here: int) -> None:
        self.top = here
        self.levels = [_Level(there, here, "", [])]
        self.has_links = True
        self.copied: dict[tuple[int, int], str] = {}

    def fill(self) -> None:
        """Goes through all levels, without recursion: images can be deeper than Python's stack. Raises OSError."""
        try:
            self._put_files()
            while self.levels:
                level = self.levels[-1]
                if level.folders:
                    self._enter(level.folders.pop(), level)
                    self._put_files()
                else:
                    _give(level.there, level.here)
                    self._leave()
        finally:
            while self.levels:
                self._leave()

    def _leave(self) -> None:
        level = self.levels.pop()
        os.close(level.there)
        os.close(level.here)

    def _put_files(self) -> None:
        """Puts all there that is no folder; the folders are left. Most of a root's names are files, and a link needs
        no look at what it is to."""
        level, name = self.levels[-1], ""
        try:
            with os.scandir(level.there) as entries:
                for one in entries:
                    name = one.name
                    if one.is_dir(follow_symlinks=False):
                        level.folders.append(name)
                    elif not self._link(name, level.there, level.here):
                        self._copy(name, level)
        except OSError as error:
            error.filename = f"{level.path}{name}"
            raise

    def _enter(self, name: str, level: _Level) -> None:
        path, there = f"{level.path}{name}", -1
        try:
            allow_depth(len(self.levels) + 1)
            os.mkdir(name, 0o700, dir_fd=level.here)
            there = os.open(name, FOLDER, dir_fd=level.there)
            here = os.open(name, FOLDER, dir_fd=level.here)
        except OSError as error:
            if there >= 0:
                os.close(there)
            error.filename = path
            raise
        self.levels.append(_Level(there, here, f"{path}/", []))

    def _link(self, name: str, there: int, here: int) -> bool:
        """Whether a hard link does for it."""
        if not self.has_links:
            return False
        try:
            os.link(name, name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
        except OSError as error:
            if error.errno not in copying.CANNOT_LINK:
                raise
            self.has_links = error.errno == errno.EMLINK
            return False
        return True

    def _copy(self, name: str, level: _Level) -> None:
        found = os.stat(name, dir_fd=level.there, follow_symlinks=False)
        key = found.st_dev, found.st_ino
        if key in self.copied:
            with reached(self.top, os.fsencode(self.copied[key])) as (folder, path):
                os.link(path, os.fsencode(name), src_dir_fd=folder, dst_dir_fd=level.here, follow_symlinks=False)
            return
        if stat.S_ISREG(found.st_mode):
            _copy_file(name, level.there, level.here)
        else:
            _make(name, found, level.there, level.here)
        if found.st_nlink > 1:
            self.copied[key] = f"{level.path}{name}"


def _copy_file(name: str, there: int, here: int) -> None:
    have = os.open(name, os.O_RDONLY | safely.FILE, dir_fd=there)
    try:
        found = os.fstat(have)
        if not stat.S_ISREG(found.st_mode):
            raise safely.NotRegular(found.st_mode, name)
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | safely.FILE, 0o600, dir_fd=here)
        try:
            os.ftruncate(made, found.st_size)
            for offset, length in copying.data_of(have, found.st_size):
                os.lseek(made, offset, os.SEEK_SET)
                copying.copy(have, offset, made, length)
            _give(have, made)
        finally:
            os.close(made)
    finally:
        os.close(have)


def _give(have: int, made: int) -> None:
    """Gives what is open as `made` the owner, xattrs, mode and mtime of `have`: the owner first, since a change of it
    drops set-id bits and capabilities."""
    found = os.fstat(have)
    if (found.st_uid, found.st_gid) != _owner(os.fstat(made)):
        os.fchown(made, found.st_uid, found.st_gid)
    _give_xattrs(have, made)
    os.fchmod(made, stat.S_IMODE(found.st_mode))
    os.utime(made, ns=(found.st_mtime_ns, found.st_mtime_ns))


def _make(name: str, found: os.stat_result, there: int, here: int) -> None:
    """Makes what is never opened: a symlink, a device, a FIFO, a socket."""
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=there), name, dir_fd=here)
    else:
        os.mknod(name, found.st_mode, found.st_rdev, dir_fd=here)
    if _owner(found) != _owner(os.stat(name, dir_fd=here, follow_symlinks=False)):
        os.chown(name, found.st_uid, found.st_gid, dir_fd=here, follow_symlinks=False)
    _give_xattrs(f"/proc/self/fd/{there}/{name}", f"/proc/self/fd/{here}/{name}")
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=here)
    os.utime(name, ns=(found.st_mtime_ns, found.st_mtime_ns), dir_fd=here, follow_symlinks=False)


def _give_xattrs(source: int | str, target: int | str) -> None:
    """Of what is open, or of what lies at a path itself, be it a link."""
    follow = isinstance(source, int)
    try:
        names = os.listxattr(source, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in _NO_XATTRS:
            raise
        return
    for name in names:
        os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=follow), follow_symlinks=follow)


def _owner(found: os.stat_result) -> tuple[int, int]:
    return found.st_uid, found.st_gid
