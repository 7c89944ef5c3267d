"""Processes that are forked from this one, and never outlive it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable

from c2wtasks.disk import clib

_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
    # It keeps these blocked: a terminal sends them to all, and who forked it sees to its end.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                ours.close()
                clib.libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() == parent:  # else that has died before we could ask to die with it
                    serve(theirs)
                status = 0
            finally:
                os._exit(status)
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return pid, ours
