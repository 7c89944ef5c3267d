"""Processes that a worker forks to help it with what it does, while other workers have nothing to do."""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import socket
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from c2wtasks.errors import UserError
from c2wtasks.process import seats
from c2wtasks.process.calling import answer
from c2wtasks.process.forking import forked, held

T = TypeVar("T")
MOST = 256
"""Pieces: the number of one fits into a byte, and all of them into a pipe."""


class _Helper(NamedTuple):
    pid: int
    socket: socket.socket
    seat: int


class Helpers(Generic[T]):
    """Shares out pieces of work, by their numbers, among this process and those that it forks: each takes the next
    one when it is done with its last. They have in memory what this process has then, and give back a result each.

    A helper is forked while a worker of the run is idle, and ends when more processes are at work than there are
    workers; so a run with many tasks is not slower for it. All end with this process.
    """

    def __init__(self, count: int, help_out: Callable[[], T]) -> None:
        """There are `count` pieces. `help_out` is called in each helper: it does what `work` gives it there, and
        returns the helper's result."""
        self._help_out = help_out
        self._reader, writer = os.pipe()  # what one takes out of it no other finds there
        os.write(writer, bytes(range(count)))
        os.close(writer)
        self._helpers: list[_Helper] = []

    def work(self) -> Iterator[int]:
        """The pieces that this process is to do."""
        while piece := os.read(self._reader, 1):
            self._grow()
            yield piece[0]

    def _work_of_helper(self) -> Iterator[int]:
        while not seats.is_crowded() and (piece := os.read(self._reader, 1)):
            yield piece[0]

    def _grow(self) -> None:
        # To fork may take longer than a helper that finds nothing to do: its seat would be claimed again and again.
        while self._is_left() and threading.active_count() == 1 and (seat := seats.claim()) is not None:
            try:
                with held():
                    self._helpers.append(_Helper(*forked(partial(self._serve, seat)), seat))
            except OSError:  # no more processes are to be had
                seats.give_back(seat)
                return

    def _is_left(self) -> bool:
        """Whether there are pieces that nobody has taken."""
        return any(fcntl.ioctl(self._reader, termios.FIONREAD, bytes(4)))

    def _serve(self, seat: int, calls: socket.socket) -> None:
        seats.sit(None)
        self.work = self._work_of_helper  # type: ignore[method-assign]
        said = answer(self._help_out)
        seats.give_back(seat)
        with calls.makefile("wb") as stream, suppress(OSError):
            stream.write(said)

    def results(self) -> list[T]:
        """What the helpers return, when they are done.

        Raises UserError: what one of them has raised, or that it was killed.
        """
        found = []
        while self._helpers:
            helper = self._helpers[0]
            with helper.socket.makefile("rb") as stream:
                said = stream.read()
            self._end(self._helpers.pop(0))
            try:
                error, result = pickle.loads(said)
            except (EOFError, pickle.UnpicklingError):
                seats.give_back(helper.seat)
                raise UserError("a process that helped with it was killed", hint="run again") from None
            if error is not None:
                raise error
            found.append(result)
        return found

    def close(self) -> None:
        """Kills the helpers that are still at work, and waits for their end."""
        for helper in self._helpers:
            os.kill(helper.pid, signal.SIGKILL)
            self._end(helper)
            seats.give_back(helper.seat)
        self._helpers.clear()
        os.close(self._reader)

    @staticmethod
    def _end(helper: _Helper) -> None:
        helper.socket.close()
        os.waitpid(helper.pid, 0)
