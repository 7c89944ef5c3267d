"""doit's own report on the console, made faster: `-r console`, and what dodos that choose it show."""

from __future__ import annotations

import threading
import time
from typing import Any

from doit.reporter import ConsoleReporter

from c2wtasks.engine.failure import UserFailure

_PAUSE = 0.1  # seconds between two writes of lines that nobody waits for


class Console(ConsoleReporter):  # type: ignore[misc]
    """doit's console reporter, with three differences.

    A failure that the closing lines explain takes one line here. The sections on failed tasks at the end are
    left out where they would be empty. Lines on up-to-date tasks are written many at a time, all others at
    once, whatever thread they come from.
    """

    failures: list[dict[str, Any]]

    def __init__(self, outstream: Any, options: dict[str, Any]) -> None:
        super().__init__(outstream, options)
        self._lock = threading.Lock()
        self._pending: list[str] = []
        self._written = 0.0

    def write(self, text: str) -> None:
        """Takes `text`, which is written with the next ones unless some time has passed since the last."""
        with self._lock:
            self._pending.append(text)
        if time.monotonic() - self._written > _PAUSE:
            self._flush()

    def execute_task(self, task: Any) -> None:
        super().execute_task(task)
        self._flush()

    def add_failure(self, task: Any, fail: Any) -> None:
        super().add_failure(task, fail)
        self._flush()

    def complete_run(self) -> None:
        self.failures = [failure for failure in self.failures if has_output(failure["task"])]
        super().complete_run()
        self._flush()

    def _write_failure(self, result: dict[str, Any], write_exception: bool = True) -> None:
        super()._write_failure(result, write_exception and not isinstance(result["exception"], UserFailure))

    def _flush(self) -> None:
        with self._lock:
            self._written = time.monotonic()
            text = "".join(self._pending)
            self._pending.clear()
            if not text:
                return
            self.outstream.write(text)
            self.outstream.flush()


def has_output(task: Any) -> bool:
    """Whether an action of the task has printed something."""
    return any(action.out or action.err for action in task.actions)
