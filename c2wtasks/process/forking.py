"""Processes that are forked from this one, and never outlive it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from c2wtasks.disk import clib

_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def held() -> Iterator[None]:
    """Signals that ask us to end wait until the block is left: so whoever forks a process has noted it by then."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_with(parent: int, number: int) -> None:
    """Has this process get the signal `number` when its parent dies, or the thread of it that has made this one."""
    clib.libc().prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it has died before we could ask
        os._exit(128 + number)


def forked(serve: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
    """The pid of a process that calls `serve` with its end of a socket, and ends; and our end of it.

    To be called in the main thread, while there is no other: a process has only the thread that forked it, and would
    wait for good for what others held.

    Raises OSError.
    """
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    sys.stdout.flush()  # what waits there would be printed there, too
    sys.stderr.flush()
    with held():  # the new process keeps it so: a terminal signals all, and who forked it sees to its end
        try:
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    ours.close()
                    die_with(parent, signal.SIGKILL)
                    serve(theirs)
                    status = 0
                finally:
                    os._exit(status)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
    return pid, ours
