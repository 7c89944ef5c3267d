"""How far the steps of a run are: `step` begins one, `advance` counts its bytes. The numbers lie in memory that the
run shares with its workers, so that they cost nothing to pass on; what they are of is known to the run alone.

Where nobody looks (`begin` was not called, or a thread works on its own account) nothing is counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

STEPS = ("", "fetching", "reading", "merging", "writing", "syncing", "publishing", "waiting for a lock")
"""What a step is called."""
_STEP, _DONE, _TOTAL, _BEFORE, _SIZE = range(5)  # the numbers of a slot; and how many there are
_SLOTS = 256


class Progress(NamedTuple):
    """Of a job: its step, the bytes done of it, of how many (0 where that is not known), and the bytes of all its
    steps so far."""

    step: str
    done: int
    total: int
    moved: int


class _Board:
    def __init__(self) -> None:
        import mmap

        self.numbers = memoryview(mmap.mmap(-1, _SLOTS * _SIZE * 8)).cast("Q")
        self.free = list(range(0, _SLOTS * _SIZE, _SIZE))
        self.jobs: dict[str, int] = {}

    def look(self, at: int) -> Progress:
        step, done, total, before = self.numbers[at : at + _SIZE]
        return Progress(STEPS[step], done, total, before + done)


_board: _Board | None = None
_here = threading.local()  # `at`: the slot of the job of this thread


def begin() -> None:
    """Makes jobs be counted from now on: here, and in processes that are forked later."""
    global _board
    _board = _board or _Board()


def step(name: str, total: int = 0) -> None:
    """Begins a step, one of STEPS, of `total` bytes, as far as that is known."""
    at = getattr(_here, "at", -1)
    if _board is not None and at >= 0:
        numbers = _board.numbers
        numbers[at + _BEFORE] += numbers[at + _DONE]
        numbers[at + _DONE], numbers[at + _TOTAL], numbers[at + _STEP] = 0, total, STEPS.index(name)


def advance(count: int) -> None:
    """So many bytes more of the step are done."""
    at = getattr(_here, "at", -1)
    if _board is not None and at >= 0:
        _board.numbers[at + _DONE] += count


@contextmanager
def job(name: str) -> Iterator[int]:
    """The block is a job, which `jobs` has meanwhile. Gives the number for `within`, -1 where none is to be had."""
    board = _board
    if board is None or not board.free:
        yield -1
        return
    at = board.free.pop()
    board.numbers[at : at + _SIZE] = memoryview(bytes(_SIZE * 8)).cast("Q")
    board.jobs[name] = at
    try:
        yield at
    finally:
        del board.jobs[name]
        board.free.append(at)


def within(at: int, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the function returns or raises; what it does, in this thread, is counted for the job with that number."""
    _here.at = at
    try:
        return function(*args, **kwargs)
    finally:
        _here.at = -1


def jobs() -> dict[str, Progress]:
    """How far each job is that is at work, by its name."""
    board = _board
    return {name: board.look(at) for name, at in board.jobs.copy().items()} if board is not None else {}
