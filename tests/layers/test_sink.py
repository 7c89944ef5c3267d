"""Pieces of a tar go to a file and a hash, whatever interrupts whoever puts them, and at whatever point."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import closing
from functools import partial
from types import FrameType
from typing import Any, BinaryIO

import pytest

from c2wtasks.layers.sink import Sink
from tests.support.child import in_child

PIECES = [bytes([number]) * 1000 for number in range(8)]
SOON = 60  # seconds, for what takes a hundredth of one


def put_all(out: BinaryIO) -> bytes:
    hasher = hashlib.sha256()
    with closing(Sink(out, hasher)) as sink:
        for piece in PIECES:
            sink.put(piece)
    return hasher.digest()


def test_all_pieces_are_written_in_order() -> None:
    with tempfile.TemporaryFile() as out:
        assert put_all(out) == hashlib.sha256(b"".join(PIECES)).digest()
        out.seek(0)
        assert out.read() == b"".join(PIECES)


@pytest.mark.parametrize("after", [0, 2])
def test_where_there_are_no_threads(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    usual, asked = threading.Thread.start, []

    def start(self: threading.Thread) -> None:
        asked.append(1)
        if len(asked) <= after:
            raise RuntimeError("can't start new thread")
        usual(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    test_all_pieces_are_written_in_order()


def test_a_start_of_which_an_interrupt_makes_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `with` does, where it lets go of a lock that an interrupt has kept from being taken."""
    usual = threading.Thread.start

    def start(self: threading.Thread) -> None:
        usual(self)
        try:
            raise KeyboardInterrupt
        finally:
            threading.Lock().release()

    monkeypatch.setattr(threading.Thread, "start", start)
    with tempfile.TemporaryFile() as out, pytest.raises(KeyboardInterrupt):
        put_all(out)


def test_a_thread_that_seems_not_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = threading.Thread.start

    def start(self: threading.Thread) -> None:
        usual(self)
        raise RuntimeError("cannot release un-acquired lock")

    monkeypatch.setattr(threading.Thread, "start", start)
    test_all_pieces_are_written_in_order()


def interrupted(step: int) -> str:
    """Puts all, interrupted at so many steps of the interpreter. Says whether it came to its end before; the process
    is killed where it comes to none."""
    left = step

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # another test may have one of its own
    signal.alarm(SOON)
    with tempfile.TemporaryFile() as out:
        sys.settrace(trace)
        try:
            put_all(out)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
    return "ended" if left >= 0 else ""


def test_an_interrupt_at_any_point_ends_it() -> None:
    step = 0
    while not in_child(partial(interrupted, step)):
        step += 7
    assert step > 500


def test_what_is_written_after_an_interrupt_is_written_nowhere_else() -> None:
    """The file is closed by then, and the number of its descriptor is another's."""

    def child() -> None:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        usual, at_work, written = os.write, threading.Event(), []

        def slowly(descriptor: int, content: bytes) -> int:
            at_work.set()
            time.sleep(0.3)
            written.append(usual(descriptor, content))
            return written[-1]

        os.write = slowly
        with tempfile.TemporaryFile() as out:
            sink = Sink(out, None)
            for piece in PIECES[:4]:
                sink.put(piece)
            at_work.wait()
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                sink.close()
            number = out.fileno()
        with tempfile.TemporaryFile() as other:
            assert other.fileno() == number
            deadline = time.monotonic() + SOON
            while len(written) < 4:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert os.fstat(other.fileno()).st_size == 0

    in_child(child)
