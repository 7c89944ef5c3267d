"""Ending early without losing what was done: Ctrl-C, SIGTERM, SIGHUP."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from c2wtasks.engine import early

_SAME = 1.0  # seconds within which signals mean one request: a terminal sends them to all, and so does `timeout`


class Stopped(KeyboardInterrupt):
    """Raised in the main thread by a signal that asks us to end."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit status of a process that the signal ends, as shells give it."""
        return 128 + self.number


class Signals:
    """SIGINT, SIGTERM and SIGHUP, which raise Stopped from `catch` on, but for those that are ignored (nohup).

    It is raised at any point of the main thread, so in one, too, that lets no exception pass (a destructor): what
    then seems to be lost is raised again by `check`.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._asked: int | None = None
        self._at = 0.0

    def catch(self) -> None:
        """Makes the signals raise Stopped from now on."""
        _hush()
        for number, handler in early.USUAL.items():
            if signal.getsignal(number) in (handler, early.stop):
                self._before[number] = handler
                signal.signal(number, self._stop)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked is not None and now - self._at < _SAME:
            return
        self._asked, self._at = number, now
        raise Stopped(number)

    def check(self) -> None:
        """Raises Stopped, if a signal has asked for it."""
        if self._asked is not None:
            raise Stopped(self._asked)

    def ignore(self) -> None:
        """Makes the signals do nothing from now on: all that is left to do takes moments."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def heed(self) -> None:
        """Makes the signals raise Stopped again, after `ignore`."""
        for number in self._before:
            signal.signal(number, self._stop)

    def restore(self) -> None:
        """Makes the signals do again what they did before `catch`."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)


signals = Signals()
"""The signals of this process."""


@contextmanager
def shielded() -> Iterator[None]:
    """These signals do nothing within the block: for what takes moments and must not be left half done."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in early.ALL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_threads(threads: Sequence[threading.Thread], within: float) -> None:
    """Raises Stopped in each of `threads`, so that their cleanups run, and waits up to `within` seconds for them.

    One that sits in a long system call does not notice in time; it dies with the process.
    """
    import ctypes  # only ever needed here

    for thread in threads:
        if thread.is_alive() and thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped))
    deadline = time.monotonic() + within
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _hush() -> None:
    """Makes Python say nothing of a Stopped that strikes where nobody can catch it."""
    unraisable, in_thread = sys.unraisablehook, threading.excepthook

    def unraisable_hook(args: Any) -> None:
        if not isinstance(args.exc_value, Stopped):
            unraisable(args)

    def thread_hook(args: Any) -> None:
        if args.exc_type is not Stopped:
            in_thread(args)

    sys.unraisablehook, threading.excepthook = unraisable_hook, thread_hook
