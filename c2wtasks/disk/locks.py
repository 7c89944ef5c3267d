"""Locks between processes, on files: they end with the process that holds them, however that ends (flock).

A lock's file is there while the lock is held, and stays where its holder died: so whoever comes next knows that
work was left unfinished. Its last line says who holds the lock, for those who wait: `pid 123 on host-a`. Those before
it are of holders that died, until somebody has seen to what they left.

Whoever may open a file may lock it, and keep others waiting: so only who may write in its folder may open it. In a
folder that others may write to, nothing that lies in a lock's place is followed, changed or waited for unless it can
be a lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from c2wtasks.disk import safely
from c2wtasks.errors import OutputError, os_reason, printable

_MAX_HOLDERS = 1 << 16
_HOURS = 6  # that we wait at most: longer than any night's work on one layer, or on a catalog beside ours
_LONGEST_PAUSE_S = 0.25
_TRIES = 10

_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # Lustre without -o flock, some FUSE, NFS without a server

_acting_for = 0


class _NoLocksError(Exception):
    """The file system has no locks. `str()` is the system's word for it."""


def act_for(pid: int) -> None:
    """From now on this process holds locks in the name of another, whose helper it is."""
    global _acting_for
    _acting_for = pid


def myself() -> str:
    """Who holds the locks that this process takes."""
    return f"pid {_acting_for or os.getpid()} on {os.uname().nodename}"


@dataclass(slots=True)
class Held:
    """A lock that we hold: as long as `descriptor` is open, here or in a process that has inherited it.

    `died` are those who held it before and died. With `unfinished` set it is left as if we had died: what is
    unfinished is then for the next holder to see to.
    """

    descriptor: int
    died: tuple[str, ...]
    unfinished: bool = False

    def recovered(self) -> None:
        """Forgets the dead: what they left has been seen to."""
        _write(self.descriptor, ())  # first: else half a line of theirs may be the last for a moment
        _write(self.descriptor, (myself(),))


@contextmanager
def locked(path: str, announce: Callable[[str], None] | None, *, elsewhere: str | None = None) -> Iterator[Held]:
    """Holds the lock `path`, whose folder must exist, waiting for it for hours if need be.

    `announce` is called once with whom we wait for, if that is not ourselves. `elsewhere` is how to have the lock on
    another file system, where this one has none or is read-only.

    Raises OutputError: the file cannot be made, or not be locked.
    """
    with _explained(path, elsewhere):
        descriptor = _take(path, announce, wait=True)
    assert descriptor is not None
    with _kept(path, descriptor) as held:
        yield held


@contextmanager
def locked_if_free(path: str, *, elsewhere: str | None = None) -> Iterator[Held | None]:
    """Holds the lock `path`; gives None, and does not wait, where somebody else does.

    Raises OutputError.
    """
    with _explained(path, elsewhere):
        descriptor = _take(path, None, wait=False)
    if descriptor is None:
        yield None
        return
    with _kept(path, descriptor) as held:
        yield held


@contextmanager
def _explained(path: str, elsewhere: str | None) -> Iterator[None]:
    try:
        yield
    except _NoLocksError as error:
        folder = os.path.dirname(os.path.abspath(path))
        raise OutputError(
            f"{folder}: its file system has no locks, which keep two runs from each other's work (flock: {error})",
            hint=elsewhere,
        ) from error
    except OSError as error:
        hint = elsewhere if error.errno in (errno.EROFS, errno.EACCES) else None
        raise OutputError(f"{path}: cannot be locked: {os_reason(error)}", hint=hint) from error


def _take(path: str, announce: Callable[[str], None] | None, *, wait: bool) -> int | None:
    while True:
        descriptor = _open(path)
        try:
            if not _try(descriptor):
                if not wait:
                    os.close(descriptor)
                    return None
                if announce is not None and (holder := _holder(descriptor)) != myself():
                    announce(holder)
                    announce = None
                _wait(descriptor, path)
            if _has_name(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who held it has removed it meanwhile: another file may be the lock by now


def _wait(descriptor: int, path: str) -> None:
    """Waits for a lock that somebody holds. Raises OSError; OutputError: they hold it for too long."""
    pause = 0.005
    until = time.monotonic() + _HOURS * 3600
    while not _try(descriptor):
        if time.monotonic() > until:
            holder = _holder(descriptor)
            raise OutputError(f"{path}: {holder} has held this lock for {_HOURS} hours", hint="end it, and run again")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _open(path: str) -> int:
    for _ in range(_TRIES):
        try:
            return _make(path)
        except FileExistsError:
            pass
        try:
            return _open_made(path)
        except FileNotFoundError:  # given back meanwhile
            pass
        except PermissionError:  # perhaps it was made just now, and has not its mode yet
            time.sleep(0.01)
    return _open_made(path)


def _make(path: str) -> int:
    with safely.entry(path) as (folder, name):
        above = os.fstat(folder).st_mode
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        os.fchmod(descriptor, 0o600 | (above & 0o020 and 0o060) | (above & 0o002 and 0o006))
    except OSError:  # a file system without modes
        pass
    return descriptor


def _open_made(path: str) -> int:
    """A descriptor of the lock's file, which is there. Raises OSError, also where what lies there is no lock."""
    descriptor = safely.open_file(path, os.O_RDWR)
    found = os.fstat(descriptor)
    if found.st_nlink > 1 or found.st_size > _MAX_HOLDERS:
        os.close(descriptor)
        raise OSError(errno.EEXIST, "another file lies there", path)
    return descriptor


def _try(descriptor: int) -> bool:
    try:
        _flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flock(descriptor: int, operation: int) -> None:
    """Locks a file, or unlocks it (flock(2)). Raises OSError, _NoLocksError."""
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise _NoLocksError(os_reason(error)) from error
        raise


def _holders(descriptor: int) -> tuple[str, ...]:
    lines = os.pread(descriptor, _MAX_HOLDERS, 0).decode("utf-8", "replace").split("\n")
    return tuple(printable(line) for line in lines if line)


def _holder(descriptor: int) -> str:
    """Who holds the lock: it takes its holder a moment to write that, and a full disk keeps it from doing so."""
    for _ in range(20):
        if holders := _holders(descriptor):
            return _true_holder(descriptor, holders[-1])
        time.sleep(0.01)
    return _true_holder(descriptor, "another process")


def _true_holder(descriptor: int, named: str) -> str:
    """Who holds the lock, where the kernel knows that it is another process of this machine than the one `named`."""
    here = os.uname().nodename
    if named != "another process" and not re.fullmatch(rf"pid \d+ on {re.escape(here)}", named):
        return named
    found = os.fstat(descriptor)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as lines:
            for fields in map(str.split, lines):
                if fields[1] == "FLOCK" and fields[5] == place and int(fields[4]) > 0:
                    return f"pid {int(fields[4])} on {here}"
    except (OSError, ValueError, IndexError):  # the kernel does not tell
        pass
    return named


def _write(descriptor: int, holders: tuple[str, ...]) -> None:
    """Notes the holders. Those who stand there first stand there all the time: should we be killed in the middle of
    it, the next holder still knows who has died."""
    content = "".join(f"{holder}\n" for holder in holders).encode()
    try:
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
    except OSError:  # the disk is full: those who wait will not know for whom
        pass


def _has_name(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), safely.lstat(path))
    except OSError:
        return False


@contextmanager
def _kept(path: str, descriptor: int) -> Iterator[Held]:
    given_back = False
    held = Held(descriptor, _holders(descriptor))
    try:
        _write(descriptor, (*held.died, myself()))
        yield held
        given_back = not held.unfinished
    except Exception:
        given_back = not held.unfinished
        raise
    finally:
        # Removed while it is held: whoever waits for this very file finds that it has lost its name.
        if given_back and _has_name(descriptor, path):
            try:
                safely.unlink(path)
            except OSError:  # the folder is no longer ours to write
                pass
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # for those who have inherited it, too
        os.close(descriptor)
