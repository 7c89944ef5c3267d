"""What a run shows on a terminal: the lines of `Report`, and below them a block that tells how far it is."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import Any, TextIO, cast

from c2wtasks.engine.block import Line, View, lines
from c2wtasks.engine.moving import Above, Moving, is_same_terminal
from c2wtasks.engine.report import Report
from c2wtasks.telling import notices, progress

_TICK = 0.2  # seconds
_AT_A_GLANCE = 15  # bundles with a line of their own


class Screen(Report):
    """One thread alone writes while tasks are at work: what others write, workers too, is handed to it. So a signal
    leaves no line half written.
    """

    def __init__(self, outstream: Any, options: dict[str, Any]) -> None:
        super().__init__(outstream, options)
        self._pending: deque[str] = deque()
        self._moving = Moving(outstream)
        self._streams = sys.stdout, sys.stderr
        self._from_workers, self._to_us = os.pipe()
        os.set_blocking(self._from_workers, False)
        notices.divert(self._to_us)

    def write(self, text: str) -> None:
        """Takes `text`, which is written above the lines that move; at once where none move."""
        if self._alive is not None and self._alive.is_alive():
            self._pending.append(text)
        else:
            super().write(text)

    def execute_task(self, task: Any) -> None:
        super().execute_task(task)
        if self._alive is not None and sys.stdout is self._streams[0] and not self._ended.is_set():
            same = is_same_terminal(self.outstream, sys.stderr)
            above = cast(TextIO, Above(self.outstream, self.write))
            below = cast(TextIO, Above(self.outstream, self.write)) if same else sys.stderr
            sys.stdout, sys.stderr = above, below

    def still_shows(self, text: str) -> bool:
        """A failure stands there already where stderr is this terminal and the report is short: a long one has moved
        on, and says at its end what failed."""
        short = sum(state != "current" for state in self.tally.products.values()) <= _AT_A_GLANCE
        return short and text in self.told_failures and is_same_terminal(self.outstream, sys.stderr)

    def complete_run(self) -> None:
        try:
            super().complete_run()
        finally:
            sys.stdout, sys.stderr = self._streams
            notices.divert(None)
            super().write(self._taken())
            os.close(self._from_workers)
            os.close(self._to_us)

    def _live(self) -> None:
        try:
            while not self._ended.wait(_TICK):
                self._put(self._block())
        finally:
            self._put([])

    def _block(self) -> list[Line]:
        """The lines of the block. Nothing is imported for them: a thread that imports waits for ever where a signal
        has come while the main one held the lock for that."""
        now = time.monotonic()
        amount = self.work.amount(now, self.times.ended(), progress.jobs())
        view = View(len(self.tally.products), self.wanted, amount, now - self.began, self.at_work())
        return lines(view, *self._moving.size())

    def _put(self, block: list[Line]) -> None:
        above = self._taken()
        with self._lock:
            self._moving.put(above, block)

    def _taken(self) -> str:
        """What is to stand above the block from now on."""
        found = []
        while self._pending:
            found.append(self._pending.popleft())
        try:
            while more := os.read(self._from_workers, 1 << 16):
                found.append(more.decode(errors="replace"))
        except OSError:  # nothing there
            pass
        return "".join(found)
