"""What a run itself is at, beside its tasks: reading, looking up, checking. It costs nothing where nobody follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stage:
    """`done` of `total` things; 0 of 0 where they are not counted. `since` is on the monotonic clock."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.done = name, total, 0
        self.since = time.monotonic()

    def __str__(self) -> str:
        return f"{self.name}: {self.done} of {self.total}" if self.done <= self.total > 0 else self.name


_now: Stage | None = None
_follow: Callable[[], None] | None = None


def follow(first: Callable[[], None]) -> None:
    """Has `first` called when the next stage begins, once."""
    global _follow, _now
    _follow, _now = first, None


def begin(name: str, total: int = 0) -> None:
    """Begins a stage; that before it is over."""
    global _follow, _now
    _now = Stage(name, total)
    if _follow is not None:
        first, _follow = _follow, None
        first()


@contextmanager
def meanwhile(name: str, total: int = 0) -> Iterator[None]:
    """The block is a stage; after it, that before it goes on."""
    global _now
    before = _now
    begin(name, total)
    try:
        yield
    finally:
        _now = before


def passed(count: int = 1) -> None:
    """So many things more of the stage are done."""
    if _now is not None:
        _now.done += count


def counted(things: Iterable[T]) -> Iterator[T]:
    """The things, each of which is done when the next one is asked for."""
    for thing in things:
        yield thing
        passed()


def now() -> Stage | None:
    """The stage that has begun last."""
    return _now
