"""Reaching files in folders that others may write to: through none of their links, regular files only, no more than
asked.

Each function takes a path. Where a part of it is a symbolic link, that is followed only if nobody but root and
ourselves can have put it there, as a user's own `cache` that is a link to another disk; and the last part never is.
So whoever may write in a folder on the way can lead us nowhere else. What is changed is changed by way of the
descriptor of its folder: what somebody does to the path meanwhile does not matter.

What lies in the folder that we `keep_to` is reached by way of that very folder, wherever it is moved, and through no
link at all.

`openat2` looks at all parts of a path in one call. Where it finds a link, and where it is missing (before Linux 5.6,
or kept away by seccomp), each part is opened by itself.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

_OPENAT2 = 437  # the same number on all architectures
_AT_FDCWD = -100
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_NO_LINKS = _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
_STAYING_INSIDE = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS
_FILE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
_SMALL = 1 << 16
_MAX_LINKS = 40  # as in Linux
_FEW = 2  # slashes: such parts are opened as fast one by one, and a run with nothing to do need not load `ctypes`
_LINK = "a symbolic link lies there, which is not followed"
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


@dataclass(frozen=True, slots=True)
class _Kept:
    """A folder that is held open. `prefix` is its path, with a slash, as seen from the folder `seen_from` (empty
    where it is absolute). Of what lies in it, only files of `owners` count, where these are told. Where there is an
    `error`, nothing in it can be reached, and there is no descriptor."""

    prefix: str
    seen_from: str
    descriptor: int = -1
    owners: frozenset[int] | None = None
    error: OSError | None = None

    def below(self, path: str) -> str | None:
        """The path as seen from this folder; None where it does not lead into it."""
        if not path.startswith(self.prefix) or (self.seen_from and os.getcwd() != self.seen_from):
            return None
        return path[len(self.prefix) :].lstrip("/") or "."


_kept: _Kept | None = None


def keep_to(path: str, owners: frozenset[int] | None = None) -> os.stat_result:
    """From now on all paths that begin with `path` lead into the folder that this is now, and through no link. With
    `owners`, files in it that belong to others cannot be opened. One folder can be kept to at a time.

    Raises OSError.
    """
    global _kept
    keep_to_none()
    descriptor = _open(f"{path}/.", _FOLDER | os.O_PATH, 0)
    _kept = _Kept(f"{path}/", _seen_from(path), descriptor, owners)
    return os.fstat(descriptor)


def keep_out_of(path: str, error: OSError) -> None:
    """From now on whatever is to be reached below `path` fails with `error`, though it may be there by then."""
    global _kept
    keep_to_none()
    _kept = _Kept(f"{path}/", _seen_from(path), error=error)


def keep_to_none() -> None:
    """Ends what `keep_to` or `keep_out_of` has begun."""
    global _kept
    if _kept is not None and _kept.error is None:
        os.close(_kept.descriptor)
    _kept = None


def _seen_from(path: str) -> str:
    return "" if path.startswith("/") else os.getcwd()


def open_file(path: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
    """A descriptor of the regular file `path`.

    Raises OSError: ELOOP for a link in the path, NotRegular for what is no file, PermissionError for a file of
    another user where `keep_to` forbids that.
    """
    descriptor = _open(path, flags | _FILE, mode)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise NotRegular(found.st_mode, path)
    kept = _kept
    if kept is not None and kept.owners is not None and found.st_uid not in kept.owners and kept.below(path):
        os.close(descriptor)
        raise PermissionError(errno.EACCES, f"it belongs to another user (uid {found.st_uid})", path)
    return descriptor


def size(path: str) -> int | None:
    """The bytes of the regular file `path`; None where it is none, or cannot be opened."""
    try:
        descriptor = open_file(path)
    except OSError:
        return None
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


class LeadsOut(OSError):
    """A link leads out of a folder, and another user may have put it there."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ELOOP, "a link leads out of the folder, and another user may have put it there", path)


def open_below(top: str, name: str, *, leave: bool) -> tuple[int, bool]:
    """A descriptor of the regular file `name` below the folder `top`, and whether links lead out of that.

    Links are followed as long as they stay in the folder. Those that lead out are followed where that is told by
    `leave`, and if nobody but root and ourselves can have put them there.

    Raises OSError: LeadsOut, NotRegular for what is no file.
    """
    descriptor, out = _below(top, name, _FILE & ~os.O_NOFOLLOW, leave=leave)
    found = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(found):
        os.close(descriptor)
        raise NotRegular(found, f"{top}/{name}")
    return descriptor, out


def stat_below(top: str, name: str) -> tuple[os.stat_result, bool]:
    """What `name` below the folder `top` is, as `open_below` would find it, and whether links lead out.

    Raises OSError: LeadsOut.
    """
    descriptor, out = _below(top, name, os.O_PATH | os.O_CLOEXEC, leave=True)
    try:
        return os.fstat(descriptor), out
    finally:
        os.close(descriptor)


def read(path: str, limit: int, counts: Callable[[os.stat_result], bool] | None = None) -> bytes:
    """The content of the regular file `path`.

    Raises OSError, of EFBIG where it is longer than `limit` bytes, PermissionError where `counts` says no of it.
    """
    descriptor = open_file(path)
    try:
        pieces = []
        found = os.fstat(descriptor)
        if counts is not None and not counts(found):
            raise PermissionError(errno.EACCES, "others can have written it", path)
        left = 0 if found.st_size > limit else limit + 1
        while left and (piece := os.read(descriptor, min(left, max(_SMALL, found.st_size + 1)))):
            pieces.append(piece)
            left -= len(piece)
        if not left:
            raise OSError(errno.EFBIG, f"it is longer than {limit} bytes", path)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


@contextmanager
def folder(path: str) -> Iterator[int]:
    """A descriptor of the folder `path` (O_PATH), for calls that take `dir_fd`.

    Raises OSError.
    """
    descriptor = _open(f"{path or '.'}/.", _FOLDER | os.O_PATH, 0)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_folder(path: str) -> Iterator[int]:
    """A descriptor of the folder `path`, to read or to sync it.

    Raises OSError.
    """
    descriptor = _open(f"{path or '.'}/.", _FOLDER, 0)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def entry(path: str) -> Iterator[tuple[int, str]]:
    """The folder of `path`, as a descriptor, and the last part of it, which may be anything.

    Raises OSError.
    """
    above, _, name = path.rpartition("/")
    with folder(above or ("/" if path.startswith("/") else ".")) as descriptor:
        yield descriptor, name


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
    """What lies in the folder `path`.

    Raises OSError.
    """
    with open_folder(path) as descriptor:
        return os.listdir(descriptor)


def lstat(path: str) -> os.stat_result:
    """Raises OSError."""
    with entry(path) as (here, name):
        return os.stat(name, dir_fd=here, follow_symlinks=False)


def identity(path: str) -> Identity:
    """What tells a file or folder from all others that are there. Raises OSError."""
    found = lstat(path)
    return found.st_dev, found.st_ino


def unlink(path: str) -> None:
    """Raises OSError."""
    with entry(path) as (here, name):
        os.unlink(name, dir_fd=here)


def rename(old: str, new: str) -> None:
    """Raises OSError."""
    with entry(old) as (there, before), entry(new) as (here, after):
        os.rename(before, after, src_dir_fd=there, dst_dir_fd=here)


def link(old: str, new: str) -> None:
    """A second name for the file `old`.

    Raises OSError.
    """
    with entry(old) as (there, before), entry(new) as (here, after):
        os.link(before, after, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)


def exchange(one: str, other: str) -> bool:
    """Swaps two names in one step (renameat2); False where the file system, or the C library, does not.

    Raises OSError.
    """
    import ctypes  # only ever needed where something was built

    renameat2 = getattr(libc(), "renameat2", None)
    if renameat2 is None:
        return False
    with entry(one) as (there, before), entry(other) as (here, after):
        if renameat2(there, os.fsencode(before), here, os.fsencode(after), _RENAME_EXCHANGE) == 0:
            return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), other)


def create(path: str) -> int:
    """A descriptor of the file `path`, to read and write, which is made, 0600: nothing may lie there.

    Raises OSError.
    """
    with entry(path) as (here, name):
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=here)


def make_folder(path: str) -> None:
    """Makes one folder, of which no more is sure than that it can be worked in.

    Raises OSError.
    """
    with entry(path) as (here, name):
        os.mkdir(name, 0o755, dir_fd=here)


def remove_folder(path: str) -> None:
    """Removes a folder that is empty. Raises OSError."""
    with entry(path) as (here, name):
        os.rmdir(name, dir_fd=here)


def set_times(path: str, mtime_ns: int) -> None:
    """Raises OSError."""
    with entry(path) as (here, name):
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=here, follow_symlinks=False)


def exists(path: str) -> bool:
    """Whether anything lies there, be it a link."""
    try:
        lstat(path)
    except OSError:
        return False
    return True


def is_folder(path: str) -> bool:
    """Whether that is a folder, and no link to one."""
    try:
        return stat.S_ISDIR(lstat(path).st_mode)
    except OSError:
        return False


def followed(path: str) -> str:
    """Where `path` leads, for who opens files by their names: `path` itself, or the target where its last part is a
    link, which only root or ourselves can have put there. Nothing needs to be there.

    Raises OSError, of ELOOP for another's link.
    """
    for _ in range(_MAX_LINKS):
        with entry(path) as (here, name):
            try:
                if not stat.S_ISLNK(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
                    return path
            except FileNotFoundError:
                return path
            target = _trusted_link(name, here)
        if target is None:
            raise OSError(errno.ELOOP, "it is a link that another user may have put there", path)
        path = os.path.join(os.path.dirname(path), target)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


@cache
def libc() -> Any:
    """The C library, for what Python does not offer; errors are in `ctypes.get_errno`."""
    import ctypes  # only ever needed where something is written

    return ctypes.CDLL(None, use_errno=True)


# Removing.


def remove_tree(path: str) -> None:
    """Removes `path` with all below it, however deep; nothing happens where it, or the folder it is in, is not there.

    Folders that their owner may not write (0o555 in an image) are made writable first. It goes down by descriptors,
    one folder at a time, and up only to the very folder that it came from: so nobody who moves folders meanwhile can
    make it remove what is elsewhere. What is mounted in the tree stays.

    Raises OSError.
    """
    try:
        with entry(path) as (here, name):
            _remove(here, name)
    except (FileNotFoundError, NotADirectoryError):
        pass


def _remove(here: int, name: str) -> None:
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
            self.descriptor = os.open("..", os.O_RDONLY | _FOLDER, dir_fd=inner.descriptor)
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
    found = os.open(name, os.O_PATH | _FOLDER, dir_fd=above)
    try:
        if os.fstat(found).st_dev != os.fstat(above).st_dev:
            raise OSError(errno.EBUSY, "another file system is mounted there", name)
        if not os.access(".", os.R_OK | os.W_OK | os.X_OK, dir_fd=found, effective_ids=True):  # root needs no mode
            os.chmod(f"/proc/self/fd/{found}", 0o700)  # by the descriptor: the name may stand for a link by now
        return os.open(".", os.O_RDONLY | _FOLDER, dir_fd=found)
    finally:
        os.close(found)


def identity_of(descriptor: int) -> Identity:
    """What tells the file or folder that is open from all others that are there."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


# Opening.


@cache
def _caller() -> Any:
    """`openat2` as a function that gives a descriptor, or an error's number below zero; None where there is none."""
    import ctypes

    class How(ctypes.Structure):
        _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))

    syscall = getattr(libc(), "syscall", None)
    if syscall is None:
        return None

    def call(at: int, path: bytes, flags: int, mode: int, resolve: int = _NO_LINKS) -> int:
        how = How(flags, mode if flags & os.O_CREAT else 0, resolve)
        descriptor: int = syscall(_OPENAT2, at, path, ctypes.byref(how), ctypes.sizeof(how))
        return descriptor if descriptor >= 0 else -ctypes.get_errno()

    probe = call(_AT_FDCWD, b".", _FOLDER | os.O_PATH, 0)
    if probe < 0:
        return None
    os.close(probe)
    return call


def _open(path: str, flags: int, mode: int) -> int:
    kept = _kept
    inside = kept.below(path) if kept is not None else None
    if kept is not None and kept.error is not None and inside is not None:
        raise OSError(kept.error.errno, kept.error.strerror, path)
    at, way = (kept.descriptor, inside) if kept is not None and inside is not None else (_AT_FDCWD, path)
    few = way.count("/") <= _FEW
    call = None if few else _caller()
    if call is None:
        return _open_by_parts(path, flags, mode, at, way)
    while (descriptor := call(at, os.fsencode(way), flags, mode)) in (-errno.EINTR, -errno.EAGAIN):
        pass
    if descriptor == -errno.ELOOP and at == _AT_FDCWD:  # a link, which may be one of our own
        return _open_by_parts(path, flags, mode, at, way)
    if descriptor < 0:
        raise OSError(-descriptor, _LINK if descriptor == -errno.ELOOP else os.strerror(-descriptor), path)
    return int(descriptor)


def _below(top: str, name: str, flags: int, *, leave: bool) -> tuple[int, bool]:
    call = _caller()
    start = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if call is not None:
            descriptor = call(start, os.fsencode(name), flags, 0, _STAYING_INSIDE)
            if descriptor >= 0:
                return descriptor, False
            if descriptor not in (-errno.EXDEV, -errno.ELOOP, -errno.EAGAIN):
                raise OSError(-descriptor, os.strerror(-descriptor), f"{top}/{name}")
        return _Inside(top, start, leave).open(name, flags)
    finally:
        os.close(start)


class _Inside:
    """A way below a folder, part by part, with the descriptors of the folders on it: so that ".." leads back, and
    what leads out is seen."""

    def __init__(self, top: str, start: int, leave: bool) -> None:
        self.top = top
        self.leave = leave
        self.way = [os.dup(start)]
        self.out = False
        self.links = 0
        self.trusted = True  # all links so far

    def open(self, name: str, flags: int) -> tuple[int, bool]:
        """Raises OSError."""
        full = f"{self.top}/{name}"
        parts = _parts(name)
        if name.startswith("/"):
            raise LeadsOut(full)
        try:
            while True:
                part = parts.pop() if parts else "."
                if part == "..":
                    self.up(full)
                    continue
                target = self.link(part)
                if target is not None:
                    parts += self.go(target, full)
                elif parts:
                    self.way.append(os.open(part, _FOLDER | os.O_PATH, dir_fd=self.way[-1]))
                else:
                    return os.open(part, flags | os.O_NOFOLLOW, dir_fd=self.way[-1]), self.out
        finally:
            for descriptor in self.way:
                os.close(descriptor)

    def link(self, name: str) -> str | None:
        """Where the link `name` leads; None where it is none. Raises OSError."""
        here = self.way[-1]
        if not stat.S_ISLNK(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
            return None
        self.links += 1
        self.trusted = self.trusted and _trusted_link(name, here) is not None
        return os.readlink(name, dir_fd=here)

    def go(self, target: str, full: str) -> list[str]:
        """The parts of a link's target that are left, after the jump of one that is absolute. Raises OSError."""
        if self.links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), full)
        self.check(full)
        if not target.startswith("/"):
            return _parts(target)
        inside = os.path.relpath(target, os.path.realpath(self.top))
        if not self.out and inside != os.pardir and not inside.startswith("../"):
            self.back_to(1)
            return _parts(inside)
        self.go_out(full)
        self.back_to(0)
        self.way.append(os.open("/", _FOLDER | os.O_PATH))
        return _parts(target)

    def up(self, full: str) -> None:
        if self.out or len(self.way) == 1:
            self.go_out(full)
            self.way.append(os.open("..", _FOLDER | os.O_PATH, dir_fd=self.way[-1]))
        else:
            os.close(self.way.pop())

    def go_out(self, full: str) -> None:
        self.out = True
        if not self.leave or not self.links:
            raise LeadsOut(full)
        self.check(full)

    def check(self, full: str) -> None:
        if self.out and not self.trusted:
            raise LeadsOut(full)

    def back_to(self, count: int) -> None:
        for descriptor in self.way[count:]:
            os.close(descriptor)
        del self.way[count:]


def _open_by_parts(path: str, flags: int, mode: int, at: int, way: str) -> int:
    """Opens `way`, as seen from the folder `at`; no link on it is followed but where that is the current folder."""
    parts = _parts(way)
    start = "/" if way.startswith("/") else "."
    here = os.open(start, _FOLDER | os.O_PATH, dir_fd=None if at == _AT_FDCWD else at)
    links = 0
    try:
        while len(parts) > 1:
            part = parts.pop()
            try:
                inner = os.open(part, _FOLDER | os.O_PATH, dir_fd=here)
            except NotADirectoryError:
                if not stat.S_ISLNK(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode):
                    raise
                target = _trusted_link(part, here) if at == _AT_FDCWD else None
                if target is None or (links := links + 1) > _MAX_LINKS:
                    raise OSError(errno.ELOOP, _LINK) from None
                parts += _parts(target)
                if not target.startswith("/"):
                    continue
                inner = os.open("/", _FOLDER | os.O_PATH)
            os.close(here)
            here = inner
        return os.open(parts[0], flags, mode, dir_fd=here)
    except OSError as error:
        raise OSError(error.errno, _LINK if error.errno == errno.ELOOP else error.strerror, path) from error
    finally:
        os.close(here)


def _parts(path: str) -> list[str]:
    """Those of a path, the last one first."""
    *above, last = path.split("/")
    return [last or ".", *(part for part in reversed(above) if part not in ("", "."))]


def _trusted_link(name: str, folder: int) -> str | None:
    """Where the link `name` leads; None where it is none, or where others than root and ourselves may have put it."""
    try:
        link = os.stat(name, dir_fd=folder, follow_symlinks=False)
        around = os.fstat(folder)
        ours = (0, os.geteuid())
        if link.st_uid not in ours or around.st_uid not in ours or _is_written_by_others(around):
            return None
        return os.readlink(name, dir_fd=folder)
    except OSError:
        return None


def _is_written_by_others(folder: os.stat_result) -> bool:
    """Whether others may move what is ours in a folder of ours."""
    if folder.st_mode & stat.S_ISVTX:
        return False
    return bool(folder.st_mode & 0o002 or (folder.st_mode & 0o020 and not _is_own_group(folder.st_gid)))


@cache
def _is_own_group(group: int) -> bool:
    """Whether a group is that of our user alone, as systems make one for each user whose umask is then 002."""
    import grp  # not needed where no link is met
    import pwd

    try:
        found, user = grp.getgrgid(group), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}
