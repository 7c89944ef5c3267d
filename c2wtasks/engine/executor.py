"""Where the heavy steps of tasks run: in this process, or in processes of their own.

What is handed over, function, arguments and result, must be picklable. Layers and trees do not pass: the steps read
and write files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from c2wtasks.errors import UserError

if TYPE_CHECKING:
    from c2wtasks.engine.worker import Worker

_WORTH = 16 << 20


def worthwhile(size: int) -> bool:
    """Whether worker processes, each of which takes about 10 ms to start, will save more time than they cost, in a
    run whose steps have so many bytes of blobs to do with."""
    return size >= _WORTH


class Executor(Protocol):
    """Runs the heavy steps of tasks."""

    @property
    def lost(self) -> bool:
        """Whether steps were cut short, and have left something unfinished."""

    def prepare(self, size: int) -> None:
        """Called before the first step, in the main thread and while there is no other: `size` is how many bytes of
        blobs the steps of the run have to do with."""

    def run(self, label: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the function returns or raises.

        Raises UserError, which begins with `label`, where its process was killed.
        """

    def stop(self) -> None:
        """Ends at once what is running, as far as that is possible."""

    def close(self) -> None:
        """Ends the processes, which have nothing left to do."""


class InProcess:
    """Runs steps where they are called."""

    lost = False

    def prepare(self, size: int) -> None:
        """Does nothing: there are no processes to start."""

    def run(self, label: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the function returns or raises."""
        return function(*args, **kwargs)

    def stop(self) -> None:
        """Does nothing: what runs here ends with this process."""

    def close(self) -> None:
        """Does nothing: there are no processes to end."""


class Workers:
    """Runs steps in up to `count` worker processes, each called from a thread of its own.

    Each worker has a socket for itself, so that one which is killed fails its own step and no other; what would have
    been its next steps then run in this process. Workers are forked while this process has one thread, when nothing
    can be held that they would wait for: that takes a twentieth of the time of starting an interpreter.

    They inherit all descriptors, that of the lock of the run, too: nobody else begins before the last of them is
    gone.
    """

    def __init__(self, count: int) -> None:
        self.lost = False
        self._count = count
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []  # no queue: a thread that is stopped may keep its lock

    def prepare(self, size: int) -> None:
        """Starts the workers, where steps with `size` bytes of blobs are worth it and no other thread runs."""
        if worthwhile(size) and not self._workers and threading.active_count() == 1:
            from c2wtasks.engine.worker import Worker
            from c2wtasks.process import seats

            try:
                seats.set_out(self._count)
                while len(self._workers) < self._count:
                    self._workers.append(Worker(len(self._workers)))
            except OSError:  # no more processes to be had: what they would have done is done here
                pass
            self._idle += self._workers

    def run(self, label: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the function returns or raises, from an idle worker; from this process if there is none.

        Raises UserError, which begins with `label`, where its worker was killed.
        """
        try:
            worker = self._idle.pop()
        except IndexError:
            return function(*args, **kwargs)
        answer = worker.ask(function, args, kwargs)
        if answer is None:
            self.lost = True
            raise UserError(f"{label}: its worker {worker.cause()}", hint="run again")
        error, result = answer
        self._idle.append(worker)
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """Kills all workers."""
        self.lost = bool(self._workers)
        for worker in self._workers:
            worker.kill()

    def close(self) -> None:
        """Ends all workers, which are idle."""
        while self._workers:
            self._workers.pop().close()
