"""When the tasks of a run were at work: for what it shows, and for what is remembered of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Times:
    """When tasks were at work, in seconds of the monotonic clock. They may be at work in several threads."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self.running: dict[str, tuple[Any, float]] = {}
        """The tasks that are at work, by name, each with when it began."""

    @contextmanager
    def of(self, task: Any) -> Iterator[None]:
        """The block is the work of a doit task."""
        self._began[task.name] = now = time.monotonic()
        self.running[task.name] = task, now
        try:
            yield
        finally:
            self.running.pop(task.name, None)
            self._ended[task.name] = time.monotonic()

    def took(self, task: Any) -> float:
        """The seconds that the last work on a doit task took; 0 where there was none."""
        name = task.name
        return self._ended[name] - self._began[name] if name in self._ended else 0.0

    def ended(self) -> list[str]:
        """The tasks that have been at work and are no longer."""
        return [name for name in list(self._ended) if name not in self.running]

    def seconds(self, task: Any, tasks: dict[str, Any]) -> float:
        """The time from the first to the last moment of work on a doit task, and on those of `tasks` it waited
        for."""
        names, left = {task.name}, [task]
        while left:
            new = set(left.pop().task_dep) - names
            names |= new
            left += [tasks[name] for name in new if name in tasks]
        began = [self._began[name] for name in names if name in self._began]
        ended = [self._ended[name] for name in names if name in self._ended]
        return max(ended) - min(began) if began and ended else 0.0
