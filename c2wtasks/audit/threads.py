"""Many calls at once, in threads: for what hashes and reads, which lets other threads go on meanwhile."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from c2wtasks.engine.interrupt import stop_threads

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 4  # calls that are begun for each thread before their results are asked for


def each(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`function(item)` of all `items`, in their order, `workers` at a time. What it raises is raised here.

    An interrupt ends those at work, too.
    """
    at_work: set[threading.Thread] = set()

    def call(item: T) -> R:
        at_work.add(threading.current_thread())
        try:
            return function(item)
        finally:
            at_work.discard(threading.current_thread())

    if workers == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers)
    begun: deque[Future[R]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(call, item))
            if len(begun) > workers * _AHEAD:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        stop_threads(list(at_work), within=0.5)
        raise
    pool.shutdown()
