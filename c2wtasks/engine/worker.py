"""A worker: a process that was forked from the run's, and runs what it is told to, one call after another."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from io import BufferedRWPair
from typing import Any, NoReturn

from c2wtasks import files, locks
from c2wtasks.errors import UserError
from c2wtasks.unexpected import as_user_error

_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Worker:
    """The process, seen from the run. Made in the main thread, while there is no other."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        parent = os.getpid()
        sys.stdout.flush()  # what waits there would be printed by the worker, too, if that prints
        sys.stderr.flush()
        # It keeps these blocked: a terminal sends them to all, and the run sees to its workers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _serve(theirs, parent)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._stream = self._socket.makefile("rwb")

    def ask(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[UserError | None, Any] | None:
        """What the function raises there, or what it returns; None where the worker has gone without an answer."""
        try:
            call = pickle.dumps((function, args, kwargs))
            try:
                _send(self._stream, call)
                answer = _receive(self._stream)
            except (EOFError, OSError):
                return None
            error, result = pickle.loads(answer)
        except Exception as failure:  # something that cannot pass
            return as_user_error(failure), None
        return error, result

    def cause(self) -> str:
        """Why it is gone."""
        # It is only looked at: until `close` its pid is that of no other process, whichever thread is stopped where.
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        if found.si_code == os.CLD_EXITED:
            return f"ended unexpectedly (exit status {found.si_status})"
        why = ", perhaps by the kernel for want of memory" if found.si_status == signal.SIGKILL else ""
        return f"was killed (signal {found.si_status}){why}"

    def kill(self) -> None:
        """Not to be called after `close`."""
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Waits for its end. To be called once, in the main thread, when no other asks it."""
        self._socket.shutdown(socket.SHUT_RDWR)  # to close it is not enough: other workers have inherited it
        os.waitpid(self.pid, 0)


def _send(stream: BufferedRWPair, content: bytes) -> None:
    """Raises OSError."""
    stream.write(len(content).to_bytes(8, "big") + content)
    stream.flush()


def _receive(stream: BufferedRWPair) -> bytes:
    """Raises EOFError, OSError."""
    size = int.from_bytes(_exactly(stream, 8), "big")
    return _exactly(stream, size)


def _exactly(stream: BufferedRWPair, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _serve(calls: socket.socket, parent: int) -> NoReturn:
    """What a worker does until the run ends, or is gone."""
    status = 1
    try:
        files.libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == parent:  # else it has died before we could ask to die with it
            locks.act_for(parent)
            stream = calls.makefile("rwb")
            while True:
                _send(stream, _answer(_receive(stream)))
    except (EOFError, OSError):
        status = 0
    finally:
        os._exit(status)


def _answer(call: bytes) -> bytes:
    try:
        function, args, kwargs = pickle.loads(call)
        return pickle.dumps((None, function(*args, **kwargs)))
    except BaseException as error:
        return pickle.dumps((as_user_error(error), None))
