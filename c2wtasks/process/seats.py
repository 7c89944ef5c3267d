"""Which of the run's workers have something to do, in memory that all of them share: so one that has much to do sees
that others have nothing, and may fork helpers in their place.

Each worker has a row of seats: the first is its own, the others are for its helpers. A seat is a byte that one
process writes at a time, so nothing needs a lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmap import mmap

_NO_ROW = -1

_taken: mmap | None = None
_workers = 0
_row = _NO_ROW  # of this process: where it begins


def set_out(workers: int) -> None:
    """Makes room for so many workers, which are forked later."""
    global _taken, _workers
    import mmap

    _taken, _workers = mmap.mmap(-1, workers * workers), workers


def sit(number: int | None) -> None:
    """Makes this process the worker of that number; None makes it one that has no row."""
    global _row
    _row = _NO_ROW if number is None else number * _workers


@contextmanager
def busy() -> Iterator[None]:
    """The worker has something to do while the block runs."""
    if _taken is None or _row == _NO_ROW:
        yield
        return
    _taken[_row] = 1
    try:
        yield
    finally:
        _taken[_row] = 0


def claim() -> int | None:
    """A seat for a helper; None where all workers have something to do, or this process is none."""
    if _taken is None or _row == _NO_ROW or sum(_taken[:]) >= _workers:
        return None
    seat = _taken.find(b"\0", _row + 1, _row + _workers)
    if seat < 0:
        return None
    _taken[seat] = 1
    return seat


def give_back(seat: int) -> None:
    """Says that a helper has ended, or is about to."""
    if _taken is not None:
        _taken[seat] = 0


def is_crowded() -> bool:
    """Whether more processes have something to do than there are workers."""
    return _taken is not None and sum(_taken[:]) > _workers
