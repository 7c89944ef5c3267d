"""Signals while Python still imports, when there is nothing that could be left half done. So this imports nothing
that is not there when Python begins."""

from __future__ import annotations

import _signal  # what `signal` dresses up, which takes 3 ms to import
import os

ALL = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
USUAL = dict.fromkeys(ALL, _signal.SIG_DFL) | {_signal.SIGINT: _signal.default_int_handler}


def catch() -> None:
    """SIGINT, SIGTERM and SIGHUP end the process in one line, but for those that are ignored (nohup)."""
    for number, handler in USUAL.items():
        if _signal.getsignal(number) == handler:
            _signal.signal(number, stop)


def stop(number: int, _frame: object) -> None:
    """Ends the process with the status 128 + `number`. It is a handler of signals."""
    for other in ALL:
        _signal.signal(other, _signal.SIG_IGN)  # it is said once
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(128 + number)
