"""Where a layer's tar goes as it is decompressed: into a hash and a file, beside who decompresses it."""

from __future__ import annotations

import os
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, BinaryIO

from c2wtasks.disk import syncing
from c2wtasks.errors import os_reason
from c2wtasks.process.beginning import started

if TYPE_CHECKING:
    from hashlib import _Hash

_WAITING = 4  # pieces, of a few MiB each, between decompressing and hashing
_BEGUN_AT_ONCE = 8 << 20  # bytes


class Sink:
    """Takes the layer's tar in pieces: hashes them, by `hash`, if any, and writes them to `out`, if any, in a thread
    of its own, beside the one that reads and decompresses. Both let go of the interpreter, so both cores work, even
    on a single layer.

    An interrupt may come at any point of the one that puts pieces. So there is no lock that it could leave locked
    (but in C, where none is left so); a thread that it cuts off as it starts writes nothing; and one that is at work
    still writes to a descriptor of its own, whatever the number of another is by then.
    """

    def __init__(self, out: BinaryIO | None, hasher: _Hash | None) -> None:
        self.size = 0
        self.hash = hasher
        self._out = os.dup(out.fileno()) if out is not None else -1
        self._written = self._begun = 0  # bytes, and those of them that the disk was told to write
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._room: SimpleQueue[None] = _tokens(_WAITING)
        self._turn: SimpleQueue[None] = _tokens(1)  # who has it writes
        self._ended: SimpleQueue[None] = _tokens(0)
        self._is_beside = False  # the thread is there
        self._is_cut_off = False
        self._failed: Exception | None = None

    def put(self, piece: bytes) -> None:
        """Takes a piece. Raises OSError, or whatever went wrong: a piece before it could not be written."""
        if self._failed is not None:
            raise self._failed
        is_first = not self.size  # many a layer has just one piece, which is done at the end, without a thread
        if not is_first and not self._is_beside:
            self._begin()
        self._room.get()
        self.size += len(piece)
        self._pieces.put(piece)
        if not is_first and not self._is_beside:
            self._write_alone()

    def close(self) -> None:
        """Waits for the last piece. Raises OSError, or whatever went wrong: one could not be written."""
        self._pieces.put(None)
        try:
            self._turn.get_nowait()
        except Empty:
            if not self._is_cut_off:
                self._ended.get()
        else:
            self._run()
            self._end()
        if self._failed is not None:
            raise self._failed

    def _begin(self) -> None:
        thread = threading.Thread(target=self._beside, name="writer of a layer", daemon=True)
        self._is_beside = started(thread)  # else what is put is done at once

    def _write_alone(self) -> None:
        """Writes what was put, unless the thread is there, though it did not seem so."""
        self._is_cut_off = True  # if an interrupt comes now: then nobody knows who has the turn
        try:
            self._turn.get_nowait()
        except Empty:
            self._is_beside = True
        else:
            self._pieces.put(None)
            self._run()
            self._turn.put(None)
        self._is_cut_off = False

    def _beside(self) -> None:
        try:
            self._turn.get_nowait()
        except Empty:
            return
        self._run()
        self._end()
        self._ended.put(None)

    def _end(self) -> None:
        if self._out >= 0:
            os.close(self._out)

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._failed is None:
                self._take(piece)
            self._room.put(None)

    def _take(self, piece: bytes) -> None:
        try:
            if self.hash is not None:
                self.hash.update(piece)
            if self._out >= 0:
                self._write(piece)
        except OSError as error:
            self._failed = OSError(error.errno, f"{os_reason(error)} (after {self._written} bytes of its tar)")
        except Exception as error:  # else whoever puts pieces would wait for ever
            self._failed = error

    def _write(self, piece: bytes) -> None:
        with memoryview(piece) as left:
            done = 0
            while done < len(left):
                count = os.write(self._out, left[done:])
                done, self._written = done + count, self._written + count
        if self._written - self._begun >= _BEGUN_AT_ONCE:
            syncing.start_writing(self._out, self._begun)
            self._begun = self._written


def _tokens(count: int) -> SimpleQueue[None]:
    """A queue that gives something so many times, and then what is given back."""
    found: SimpleQueue[None] = SimpleQueue()
    for _ in range(count):
        found.put(None)
    return found
