"""Ending a run early without losing what it has done: Ctrl-C, SIGTERM, SIGHUP."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """Raised in the main thread by a signal that asks us to end."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        return 128 + self.number


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Stopped within the block, but for those that are ignored (nohup)."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    usual = dict.fromkeys(_STOPPING, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    changed = {number: handler for number, handler in usual.items() if signal.getsignal(number) is handler}
    for number in changed:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)


@contextmanager
def shielded() -> Iterator[None]:
    """These signals do nothing within the block: for what takes moments and must not be left half done."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *_STOPPING)}
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
