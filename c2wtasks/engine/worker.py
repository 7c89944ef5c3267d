"""A worker: a process that was forked from the run's, and runs what it is told to, one call after another."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from io import BufferedRWPair
from typing import Any

from c2wtasks.disk import locks
from c2wtasks.errors import UserError
from c2wtasks.process import seats
from c2wtasks.process.calling import answer
from c2wtasks.process.forking import forked
from c2wtasks.process.unexpected import as_user_error

_PIECE = 1 << 16


class Worker:
    """The process, seen from the run. Made in the main thread, while there is no other."""

    def __init__(self, number: int) -> None:
        """`number` is that of its row of seats."""
        self.pid, self._socket = forked(partial(_serve, number))
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
        """Why the worker is gone."""
        # It is only looked at: until `close` its pid is that of no other process, whichever thread is stopped where.
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        if found.si_code == os.CLD_EXITED:
            return f"ended unexpectedly (exit status {found.si_status})"
        why = ", perhaps by the kernel for want of memory" if found.si_status == signal.SIGKILL else ""
        return f"was killed (signal {found.si_status}){why}"

    def kill(self) -> None:
        """Kills the worker. Not to be called after `close`."""
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends the worker, and waits for that. To be called once, in the main thread, when no other asks it."""
        self._socket.shutdown(socket.SHUT_WR)  # to close it is not enough: other workers have inherited it
        with suppress(OSError):
            while self._socket.recv(_PIECE):  # until all have ended who have the other end
                pass
        os.waitpid(self.pid, 0)


def _send(stream: BufferedRWPair, content: bytes) -> None:
    """Sends one message. Raises OSError."""
    stream.write(len(content).to_bytes(8, "big") + content)
    stream.flush()


def _receive(stream: BufferedRWPair) -> bytes:
    """One message. Raises EOFError, OSError."""
    size = int.from_bytes(_exactly(stream, 8), "big")
    return _exactly(stream, size)


def _exactly(stream: BufferedRWPair, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _serve(number: int, calls: socket.socket) -> None:
    """What a worker does until the run ends, or is gone."""
    locks.act_for(os.getppid())
    seats.sit(number)
    stream = calls.makefile("rwb")
    try:
        while True:
            _send(stream, _answer(_receive(stream)))
    except (EOFError, OSError):
        pass


def _answer(call: bytes) -> bytes:
    def made() -> Any:
        function, args, kwargs = pickle.loads(call)
        return function(*args, **kwargs)

    with seats.busy():
        return answer(made)
