"""One path opened, through no link that others may have made.

`openat2` looks at all parts of a path in one call. Where it finds a link, and where it is missing (before Linux 5.6,
or kept away by seccomp), each part is opened by itself.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from functools import cache

from c2wtasks.disk import clib
from c2wtasks.disk.clib import CURRENT_FOLDER
from c2wtasks.errors import MachineError, of_the_machine

FOLDER = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
MAX_LINKS = 40  # as in Linux
_FEW = 2  # slashes: such parts are opened one by one, so that a run with nothing to do need not load `ctypes`
_LINK = "a symbolic link lies there, which is not followed"


def open_way(way: str, flags: int, mode: int, at: int, path: str) -> int:
    """A descriptor of what `way` leads to, as seen from the folder `at`; errors name it as `path`. Where `at` is the
    current folder, links are followed that only root or ourselves can have made; else none is.

    Raises OSError, of ELOOP for a link that is not followed; MachineError.
    """
    if "/" not in way:
        return _open_part(way or ".", flags, mode, at, path)
    few = way.count("/") <= _FEW and "ctypes" not in sys.modules
    call = None if few else clib.openat2()
    if call is None:
        return _open_by_parts(way, flags, mode, at, path)
    while (descriptor := call(at, os.fsencode(way), flags, mode)) in (-errno.EINTR, -errno.EAGAIN):
        pass
    if descriptor == -errno.ELOOP and at == CURRENT_FOLDER:  # a link, which may be one of our own
        return _open_by_parts(way, flags, mode, at, path)
    if descriptor < 0:
        raise explained(OSError(-descriptor, os.strerror(-descriptor)), path)
    return int(descriptor)


def _open_part(name: str, flags: int, mode: int, at: int, path: str) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=None if at == CURRENT_FOLDER else at)
    except OSError as error:
        raise explained(error, path) from error


def explained(error: OSError, path: str) -> OSError | MachineError:
    """The error of opening `path` by way of a descriptor."""
    if (machine := of_the_machine(error, path)) is not None:
        return machine
    return OSError(error.errno, _LINK if error.errno == errno.ELOOP else error.strerror, path)


def _open_by_parts(way: str, flags: int, mode: int, at: int, path: str) -> int:
    """Opens `way`, part by part, as `open_way` does. Raises OSError."""
    parts = parts_of(way)
    start = "/" if way.startswith("/") else "."
    here = _open_part(start, FOLDER | os.O_PATH, 0, at, path)
    links = 0
    try:
        while len(parts) > 1:
            part = parts.pop()
            try:
                inner = os.open(part, FOLDER | os.O_PATH, dir_fd=here)
            except NotADirectoryError:
                if not stat.S_ISLNK(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode):
                    raise
                target = trusted_link(part, here) if at == CURRENT_FOLDER else None
                if target is None or (links := links + 1) > MAX_LINKS:
                    raise OSError(errno.ELOOP, _LINK) from None
                parts += parts_of(target)
                if not target.startswith("/"):
                    continue
                inner = os.open("/", FOLDER | os.O_PATH)
            os.close(here)
            here = inner
        return os.open(parts[0], flags, mode, dir_fd=here)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        os.close(here)


def parts_of(path: str) -> list[str]:
    """The parts of a path, the last one first."""
    *above, last = path.split("/")
    return [last or ".", *(part for part in reversed(above) if part not in ("", "."))]


def trusted_link(name: str, folder: int) -> str | None:
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
