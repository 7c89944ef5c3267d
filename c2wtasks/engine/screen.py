"""What a run shows on a terminal: the lines of `Report`, and below them a block that tells how far it is."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO, cast

from c2wtasks import notices, progress
from c2wtasks.engine.report import Report

if TYPE_CHECKING:
    from rich.console import Console

_TICK = 0.2  # seconds
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


def suits(stream: Any, environ: Mapping[str, str]) -> bool:
    """Whether the stream is a terminal on which lines can be written anew."""
    try:
        return environ.get("TERM", "dumb") != "dumb" and os.isatty(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False


class Screen(Report):
    """One thread alone writes while tasks are at work: what others write, workers too, is handed to it. So a signal
    leaves no line half written. The cursor is never hidden, so there is nothing to put right however a run ends.
    """

    def __init__(self, outstream: Any, options: dict[str, Any]) -> None:
        super().__init__(outstream, options)
        self._pending: deque[str] = deque()
        self._widths: list[int] = []  # of the lines of the block that is there
        self._last = ""
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
        if sys.stdout is self._streams[0] and not self._ended.is_set():
            same = _is_same_terminal(self.outstream, sys.stderr)
            sys.stdout, sys.stderr = cast(TextIO, _Above(self)), cast(TextIO, _Above(self)) if same else sys.stderr

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
        from rich.console import Console

        console = Console(file=self.outstream)
        try:
            while not self._ended.wait(_TICK):
                self._draw(console)
        finally:
            self._put(self._taken(), [], [])

    def _draw(self, console: Console) -> None:
        from c2wtasks.engine.block import View, in_codes, lines

        now = time.monotonic()
        amount = self.work.amount(now, self.times.ended(), progress.jobs())
        view = View(len(self.tally.products), self.wanted, amount, now - self.began, self.at_work())
        size = self._size()
        block = lines(view, *size)
        self._put(self._taken(), [in_codes(one, console) for one in block], [one.cell_len for one in block])

    def _size(self) -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(self.outstream.fileno())
        except (OSError, ValueError):
            return 80, 24
        return columns or 80, rows or 24

    def _put(self, above: str, block: list[str], widths: list[int]) -> None:
        """Replaces the block that is there: first the lines that stay, then the new one. One write, so that nothing
        flickers."""
        columns, _ = self._size()
        text = "\n".join(f"{line}{_CLEAR_LINE}" for line in block)
        if not above and text == self._last:
            return
        # A terminal that has become narrower shows a line of the block on several.
        rows = sum(max(1, -(-width // columns)) for width in self._widths)
        back = "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "")
        above = "".join(f"{line}{_CLEAR_LINE}\n" for line in above.splitlines())
        self._widths, self._last = widths, text
        with self._lock:
            self.outstream.write(f"{back}{above}{text}{_CLEAR_BELOW}")
            self.outstream.flush()

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


class _Above:
    """A stream whose whole lines come to stand above the block."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._begun = ""

    def write(self, text: str) -> int:
        whole, end, self._begun = (self._begun + text).rpartition("\n")
        if end:
            self._screen.write(f"{whole}\n")
        return len(text)

    def flush(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._screen.outstream, name)


def _is_same_terminal(one: Any, other: Any) -> bool:
    try:
        found = [os.fstat(stream.fileno()) for stream in (one, other)]
    except (AttributeError, OSError, ValueError):
        return False
    return all(stat.S_ISCHR(each.st_mode) for each in found) and found[0].st_rdev == found[1].st_rdev
