"""Locks between processes, on files: they end with the process that holds them, however that ends (flock).

A lock's file is there while the lock is held, and stays where its holder died: so whoever comes next knows that
work was left unfinished. Its last line says who holds the lock, for those who wait: `pid 123 on host-a`. Those before
it are of holders that died, until somebody has seen to what they left.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EACCES, ENOLCK, ENOSYS, EOPNOTSUPP, EROFS

from c2wtasks.errors import OutputError, os_reason, printable

_MAX_HOLDERS = 1 << 16
_SHARED = 0o022  # whoever may write in the folder may take the lock

_NO_LOCKS = (ENOSYS, EOPNOTSUPP, ENOLCK)  # Lustre without -o flock, some FUSE, NFS without a lock server

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
        _write(self.descriptor, (myself(),))


@contextmanager
def locked(path: str, announce: Callable[[str], None] | None, *, elsewhere: str | None = None) -> Iterator[Held]:
    """Holds the lock `path`, whose folder must exist, waiting for it as long as need be.

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
        hint = elsewhere if error.errno in (EROFS, EACCES) else None
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
                _flock(descriptor, fcntl.LOCK_EX)
            if _has_name(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who held it has removed it meanwhile: another file may be the lock by now


def _open(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    mode = 0o644 | os.stat(os.path.dirname(path) or ".").st_mode & _SHARED
    found = os.fstat(descriptor)
    if found.st_uid == os.geteuid() and found.st_mode & 0o777 != mode:
        try:
            os.fchmod(descriptor, mode)
        except OSError:  # a file system without modes
            pass
    return descriptor


def _try(descriptor: int) -> bool:
    try:
        _flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flock(descriptor: int, operation: int) -> None:
    """Raises OSError, _NoLocksError."""
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
            return holders[-1]
        time.sleep(0.01)
    return "another process"


def _write(descriptor: int, holders: tuple[str, ...]) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, "".join(f"{holder}\n" for holder in holders).encode(), 0)
    except OSError:  # the disk is full: those who wait will not know for whom
        pass


def _has_name(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
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
                os.unlink(path)
            except OSError:  # the folder is no longer ours to write
                pass
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # for those who have inherited it, too
        os.close(descriptor)
