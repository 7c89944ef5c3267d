"""Removing a folder with all that is in it, in folders that others may write to."""

from __future__ import annotations

import errno
import os
import resource
import stat
from dataclasses import dataclass

from c2wtasks.disk.opening import FOLDER
from c2wtasks.disk.safely import Identity, entry, identity_of


def remove_tree(path: str) -> None:
    """Removes `path` with all below it, however deep; nothing happens where it, or the folder it is in, is not there.

    Folders that their owner may not write (0o555 in an image) are made writable first. It goes down by descriptors,
    one folder at a time, and up only to the very folder that it came from: so nobody who moves folders meanwhile can
    make it remove what is elsewhere. What is mounted in the tree stays.

    Raises OSError.
    """
    try:
        with entry(path) as (here, name):
            remove_in(here, name)
    except (FileNotFoundError, NotADirectoryError):
        pass


def remove_in(here: int, name: str) -> None:
    """Removes what is called `name` in the open folder `here`, as `remove_tree` does.

    Raises OSError.
    """
    try:
        os.unlink(name, dir_fd=here)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
            raise
        if not _was_empty(here, name):
            _empty(here, name)
            os.rmdir(name, dir_fd=here)


def _was_empty(here: int, name: str) -> bool:
    """Removes the folder, if it is empty. A mount is refused whatever is in it, also one of this very file system.

    Raises OSError.
    """
    try:
        os.rmdir(name, dir_fd=here)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise OSError(errno.EBUSY, "a file system is mounted there", name) from error
        return False
    return True


@dataclass(slots=True)
class _Level:
    """A folder that we came through: its name, what tells it from others, and the folders in it that are left.
    `descriptor` is -1 where it is not kept open."""

    name: str
    descriptor: int
    identity: Identity
    folders: list[str]

    @classmethod
    def enter(cls, above: int, name: str) -> _Level:
        """Opens the folder `name` in `above`, and removes all in it that is no folder."""
        descriptor = _open_to_empty(above, name)
        try:
            return cls(name, descriptor, identity_of(descriptor), _unlink_files(descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def back_from(self, inner: _Level) -> None:
        """Opens the folder again, from one in it, if it was not kept open."""
        if self.descriptor < 0:
            self.descriptor = os.open("..", os.O_RDONLY | FOLDER, dir_fd=inner.descriptor)
            if identity_of(self.descriptor) != self.identity:
                raise OSError(errno.ESTALE, "somebody moves what is in it", inner.name)


def _empty(above: int, top: str) -> None:
    """Folders are kept open on the way down, as many as there are descriptors for: some file systems in user space
    give a folder that is opened again another number."""
    kept = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8)
    way = [_Level.enter(above, top)]
    try:
        while way[-1].folders or len(way) > 1:
            at = way[-1]
            if at.folders:
                name = at.folders.pop()
                if _was_empty(at.descriptor, name):
                    continue
                way.append(_Level.enter(at.descriptor, name))
                if len(way) > kept:
                    way[-1 - kept].close()
            else:
                way[-2].back_from(at)
                way.pop().close()
                try:
                    os.rmdir(at.name, dir_fd=way[-1].descriptor)
                except FileNotFoundError:  # somebody has moved it away, empty
                    pass
    finally:
        for level in way:
            level.close()


def _unlink_files(folder: int) -> list[str]:
    """Removes all that is no folder; returns the names of the folders."""
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for one in list(entries):
            if one.is_dir(follow_symlinks=False):
                folders.append(one.name)
            else:
                os.unlink(one.name, dir_fd=folder)
    return folders


def _open_to_empty(above: int, name: str) -> int:
    found = os.open(name, os.O_PATH | FOLDER, dir_fd=above)
    try:
        if os.fstat(found).st_dev != os.fstat(above).st_dev:
            raise OSError(errno.EBUSY, "another file system is mounted there", name)
        if not os.access(".", os.R_OK | os.W_OK | os.X_OK, dir_fd=found, effective_ids=True):  # root needs no mode
            os.chmod(f"/proc/self/fd/{found}", 0o700)  # by the descriptor: the name may stand for a link by now
        return os.open(".", os.O_RDONLY | FOLDER, dir_fd=found)
    finally:
        os.close(found)
