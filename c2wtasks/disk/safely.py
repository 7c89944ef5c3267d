"""Reaching files in folders that others may write to: through none of their links, regular files only, no more than
asked.

Each function takes a path. Where a part of it is a symbolic link, that is followed only if nobody but root and
ourselves can have put it there, as a user's own `cache` that is a link to another disk; and the last part never is.
So whoever may write in a folder on the way can lead us nowhere else. What is changed is changed by way of the
descriptor of its folder: what somebody does to the path meanwhile does not matter.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO

from c2wtasks.disk import clib
from c2wtasks.disk.holding import descriptor_of, open_path
from c2wtasks.disk.keeping import check_owner
from c2wtasks.disk.opening import FOLDER, MAX_LINKS, trusted_link

CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
FILE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_SMALL = 1 << 16
_RENAME_EXCHANGE = 2
# How file systems refuse an exchange. SFTP, CIFS and others have few words: some mean by the last ones that they know
# none, and some know none and refuse it as a rename to a name that is taken.
_NO_EXCHANGE = (
    *(errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP),
    *(errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EPERM, errno.EACCES, errno.EIO),
)

Identity = tuple[int, int]


class NotRegular(OSError):
    """Something else than a regular file lies there. (A link is an OSError of ELOOP.)"""

    def __init__(self, mode: int, path: str) -> None:
        kinds = {
            stat.S_IFDIR: "a folder",
            stat.S_IFIFO: "a FIFO",
            stat.S_IFSOCK: "a socket",
            stat.S_IFCHR: "a device",
            stat.S_IFBLK: "a device",
        }
        super().__init__(errno.EINVAL, f"it is {kinds.get(stat.S_IFMT(mode), 'no regular file')}", path)


def open_file(path: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
    """A descriptor of the regular file `path`.

    Raises OSError: ELOOP for a link in the path, NotRegular for what is no file, PermissionError for a file of
    another user where `keep_to` forbids that.
    """
    return _opened(path, flags, mode)[0]


def _opened(path: str, flags: int = os.O_RDONLY, mode: int = 0) -> tuple[int, os.stat_result]:
    descriptor = open_path(path, flags | FILE, mode)
    found = os.fstat(descriptor)
    try:
        if not stat.S_ISREG(found.st_mode):
            raise NotRegular(found.st_mode, path)
        check_owner(found, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor, found


def size(path: str) -> int | None:
    """The bytes of the regular file `path`; None where it is none, or cannot be opened."""
    try:
        descriptor, found = _opened(path)
    except OSError:
        return None
    os.close(descriptor)
    return found.st_size


def open_quietly(path: str | bytes, folder: int | None = None) -> FileIO:
    """A regular file for reading, without a trace in its atime where we may do that: what was read last is kept
    longest, and an audit reads all.

    Raises OSError, also for what is not a regular file.
    """
    if folder is None:
        try:
            return FileIO(open_file(os.fsdecode(path), os.O_RDONLY | os.O_NOATIME), "rb")
        except PermissionError:  # another user's file: the same, but for the trace
            return FileIO(open_file(os.fsdecode(path)), "rb")
    try:
        descriptor = os.open(path, os.O_RDONLY | FILE | os.O_NOATIME, dir_fd=folder)
    except PermissionError:
        descriptor = os.open(path, os.O_RDONLY | FILE, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "not a regular file", path)
    return FileIO(descriptor, "rb")


def read(path: str, limit: int, counts: Callable[[os.stat_result], bool] | None = None) -> bytes:
    """The content of the regular file `path`.

    Raises OSError, of EFBIG where it is longer than `limit` bytes, PermissionError where `counts` says no of it.
    """
    descriptor, found = _opened(path)
    try:
        pieces: list[bytes] = []
        if counts is not None and not counts(found):
            raise PermissionError(errno.EACCES, "others can have written it", path)
        left = 0 if found.st_size > limit else limit + 1
        while left and (piece := os.read(descriptor, min(left, max(_SMALL, found.st_size + 1)))):
            if len(piece) == found.st_size and not pieces:  # all that there was when it was opened
                return piece
            pieces.append(piece)
            left -= len(piece)
        if not left:
            raise OSError(errno.EFBIG, f"it is longer than {limit} bytes", path)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


class _Folder:
    """A folder that is open in a `with` block: opened for it, unless this thread holds it (`holding`)."""

    __slots__ = ("_opened", "_path")

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> int:
        found = descriptor_of(self._path)
        self._opened = open_path(f"{self._path}/.", FOLDER | os.O_PATH) if found is None else -1
        return self._opened if found is None else found

    def __exit__(self, *_error: object) -> None:
        if self._opened >= 0:
            os.close(self._opened)


class _Entry:
    """A `_Folder` with a name in it. An error about that name tells its path, of two names the second."""

    __slots__ = ("_folder", "_name", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        above, _, self._name = path.rpartition("/")
        self._folder = _Folder(above or ("/" if path.startswith("/") else "."))

    def __enter__(self) -> tuple[int, str]:
        return self._folder.__enter__(), self._name

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        self._folder.__exit__()
        if isinstance(error, OSError) and self._name in (error.filename, error.filename2):
            error.filename, error.filename2 = self._path, None


def folder(path: str) -> _Folder:
    """A descriptor (O_PATH) of a folder, for calls that take `dir_fd`: for a `with` block. Raises OSError."""
    return _Folder(path or ".")


@contextmanager
def open_folder(path: str) -> Iterator[int]:
    """A descriptor of the folder `path`, to read or to sync it.

    Raises OSError.
    """
    descriptor = open_path(f"{path or '.'}/.", FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def entry(path: str) -> _Entry:
    """The folder of `path`, as a descriptor, and the last part of it, which may be anything: for a `with` block.
    Raises OSError."""
    return _Entry(path)


def scan(path: str) -> list[tuple[str, os.stat_result]]:
    """What lies in the folder `path`, by name, with what `lstat` says of it.

    Raises OSError.
    """
    found = []
    with open_folder(path) as descriptor, os.scandir(descriptor) as entries:
        for one in entries:
            try:
                found.append((one.name, one.stat(follow_symlinks=False)))
            except FileNotFoundError:  # another run's temporary file
                continue
    return sorted(found, key=lambda one: one[0])


def names(path: str) -> list[str]:
    """The names of what lies in the folder `path`.

    Raises OSError.
    """
    with open_folder(path) as descriptor:
        return os.listdir(descriptor)


def lstat(path: str) -> os.stat_result:
    """What stat(2) says of what lies at `path` itself, be it a link.

    Raises OSError.
    """
    above, _, name = path.rpartition("/")
    if (held := descriptor_of(above)) is not None:  # as a rule, where many are looked at
        return os.stat(name, dir_fd=held, follow_symlinks=False)
    with entry(path) as (here, name):
        return os.stat(name, dir_fd=here, follow_symlinks=False)


def identity(path: str) -> Identity:
    """What tells a file or folder from all others that are there. Raises OSError."""
    found = lstat(path)
    return found.st_dev, found.st_ino


def identity_of(descriptor: int) -> Identity:
    """What tells the file or folder that is open from all others that are there."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def unlink(path: str) -> None:
    """Removes a file or a link.

    Raises OSError.
    """
    with entry(path) as (here, name):
        os.unlink(name, dir_fd=here)


def rename(old: str, new: str) -> None:
    """Gives what is called `old` the name `new`; a file that has that name is replaced.

    Raises OSError.
    """
    with entry(old) as (there, before), entry(new) as (here, after):
        os.rename(before, after, src_dir_fd=there, dst_dir_fd=here)


def link(old: str, new: str) -> None:
    """Gives the file `old` a second name, `new`.

    Raises OSError.
    """
    with entry(old) as (there, before), entry(new) as (here, after):
        os.link(before, after, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)


def exchange(one: str, other: str) -> bool:
    """Swaps two names in one step (renameat2); False where the file system, or the C library, does not.

    Raises OSError.
    """
    import ctypes  # only ever needed where something was built

    renameat2 = getattr(clib.libc(), "renameat2", None)
    if renameat2 is None:
        return False
    with entry(one) as (there, before), entry(other) as (here, after):
        if renameat2(there, os.fsencode(before), here, os.fsencode(after), _RENAME_EXCHANGE) == 0:
            return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), other)


def create(path: str, mode: int = 0o644) -> int:
    """A descriptor of the file `path`, to read and write, which is made: nothing may lie there. The umask counts.

    Raises OSError.
    """
    with entry(path) as (here, name):
        return os.open(name, CREATE, mode, dir_fd=here)


def make_folder(path: str) -> None:
    """Makes one folder. Its mode is 0755, less what the umask takes.

    Raises OSError.
    """
    with entry(path) as (here, name):
        os.mkdir(name, 0o755, dir_fd=here)


def remove_folder(path: str) -> None:
    """Removes a folder that is empty. Raises OSError."""
    with entry(path) as (here, name):
        os.rmdir(name, dir_fd=here)


def set_times(path: str, mtime_ns: int) -> None:
    """Gives a file or folder an mtime (and atime) in nanoseconds since 1970.

    Raises OSError.
    """
    with entry(path) as (here, name):
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=here, follow_symlinks=False)


def exists(path: str) -> bool:
    """Whether anything lies at `path`, be it a link."""
    try:
        lstat(path)
    except OSError:
        return False
    return True


def is_folder(path: str) -> bool:
    """Whether a folder lies at `path`, and no link to one."""
    try:
        return stat.S_ISDIR(lstat(path).st_mode)
    except OSError:
        return False


def followed(path: str) -> str:
    """Where `path` leads, for what opens files by their names: `path` itself, or the target where its last part is a
    link, which only root or ourselves can have put there. Nothing needs to be there.

    Raises OSError, of ELOOP for another's link.
    """
    for _ in range(MAX_LINKS):
        with entry(path) as (here, name):
            try:
                if not stat.S_ISLNK(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
                    return path
            except FileNotFoundError:
                return path
            target = trusted_link(name, here)
        if target is None:
            raise OSError(errno.ELOOP, "it is a link that another user may have put there", path)
        path = os.path.join(os.path.dirname(path), target)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
