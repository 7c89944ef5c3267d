"""A sign of life of a run while no task is at work: what it is at (`stages`), on a line that is written anew on a
terminal, and now and then on one more line elsewhere.

A timer's signal writes it, and no thread: workers are forked while there is none.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from c2wtasks.engine.tally import clock, duration, line
from c2wtasks.errors import one_line
from c2wtasks.telling import notices, stages

SILENCE = 15.0
"""Seconds without a line, after which one says what is at work."""
_FIRST = 0.5  # seconds after the run began, on a terminal
_TICK = 0.5  # seconds
_QUIET = 0.2  # seconds after other output in which none is written, so that a signal comes between no two halves
_COLUMNS, _ROOM = 80, 4  # where it is not known how many there are; those that stay free
_CLEAR = b"\r\x1b[K"


class Sign:
    """That of this process. It does nothing before `follow`, and where the timer's signal is used by others."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._on_terminal = False
        self._began = 0.0
        self._pid = 0  # of the process whose timer runs
        self._shown = False
        self._mute = False
        self._quiet_until = 0.0

    def follow(self, stream: Any, began: float, *, on_terminal: bool) -> None:
        """Writes to the stream from now on. `began` is when the run did, on the monotonic clock."""
        try:
            self._descriptor = stream.fileno()
        except (AttributeError, OSError, ValueError):
            return
        self._on_terminal, self._began = on_terminal, began
        self.begin()

    def begin(self) -> None:
        """Begins, or goes on, if it may."""
        free = self._descriptor >= 0 and threading.current_thread() is threading.main_thread()
        if self._pid or not free or signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, self._write):
            return
        self._pid, self._mute = os.getpid(), False
        signal.signal(signal.SIGALRM, self._write)
        signal.siginterrupt(signal.SIGALRM, False)
        notices.precede(self.clear)
        self._wait(self._began + _FIRST - time.monotonic())

    def clear(self) -> None:
        """Makes room for other output, which follows at once: from the beginning of a line on."""
        if not self._pid:
            return
        self._quiet_until = time.monotonic() + _QUIET
        if self._pid != os.getpid():  # forked from the one that writes
            self._erase()
            return
        if self._shown:
            self._erase()
            self._shown = False  # only now: an interrupt may come between the two
        self._wait(_TICK)

    def end(self) -> None:
        """Writes no more. A signal that is on its way already finds nothing to do."""
        if self._pid != os.getpid():
            return
        self._mute = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._shown:
            self._erase()
            self._shown = False
        notices.precede(None)
        self._pid = 0

    def leave(self) -> None:
        """Writes no more, and never again."""
        self.end()
        self._descriptor = -1
        if signal.getsignal(signal.SIGALRM) == self._write:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _wait(self, seconds: float) -> None:
        first, then = (max(0.01, seconds), _TICK) if self._on_terminal else (SILENCE, SILENCE)
        signal.setitimer(signal.ITIMER_REAL, first, then)

    def _erase(self) -> None:
        if self._on_terminal:
            self._put(_CLEAR)

    def _write(self, _number: int, _frame: object) -> None:
        now, stage = time.monotonic(), stages.now()
        if self._mute or stage is None or now < self._quiet_until:
            return
        if not self._on_terminal:
            self._put(line("working", f"{stage} ({duration(now - stage.since)})").encode() + b"\n")
            return
        try:
            columns = os.get_terminal_size(self._descriptor).columns or _COLUMNS
        except OSError:
            columns = _COLUMNS
        text = one_line(f"{stage}  {clock(now - self._began)}")[: max(8, columns - _ROOM)]
        self._shown = True
        # The cursor waits at the left: what others print comes there.
        self._put(_CLEAR + text.encode() + b"\r")

    def _put(self, content: bytes) -> None:
        try:
            os.write(self._descriptor, content)
        except OSError:  # nobody reads it
            pass


sign = Sign()
"""That of this process."""
