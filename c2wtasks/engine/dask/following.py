"""What the shards of a catalog say while they are built: as lines; on a terminal with a block below these that tells
how far all are."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO, cast

from c2wtasks.engine import streams
from c2wtasks.engine.block import View, lines
from c2wtasks.engine.moving import Above, Moving, is_same_terminal
from c2wtasks.engine.sign import sign
from c2wtasks.engine.work import Amount
from c2wtasks.errors import one_line
from c2wtasks.telling.progress import Progress

_TICK = 0.2  # seconds
_PATIENCE = 5.0  # seconds for the thread that draws to end
_ENDED = ("built", "failed")  # how a line begins that tells of a bundle
Hear = Callable[[str, str], None]


class Followed:
    """How far the shards are that are being built; `sizes` are how many bundles each has."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = dict(sizes)
        self._began = time.monotonic()
        self._since: dict[str, float] = {}  # on the monotonic clock, by shard that is at work
        self._last: dict[str, str] = dict.fromkeys(sizes, "")
        self._done: dict[str, int] = {}

    def heard(self, shard: str, line: str) -> bool:
        """Takes a line of a shard, the first of which is empty; says whether it is to stay, and does not just tell
        that there is life."""
        self._since.setdefault(shard, time.monotonic())
        state, _, rest = line.partition(" ")
        self._done[shard] = min(self._sizes.get(shard, 0), self._done.get(shard, 0) + (state in _ENDED))
        self._last[shard] = " ".join(rest.split() if state == "working" else line.split())
        return bool(line) and state != "working"

    def ended(self, shard: str, *, lost: bool) -> None:
        """A shard is at its end, or lost: then what it has done is told again."""
        self._since.pop(shard, None)
        self._done[shard] = 0 if lost else self._sizes.get(shard, 0)

    def view(self, now: float) -> View:
        """What there is to show at the time `now`, on the monotonic clock."""
        at_work: list[tuple[str, Progress | None, float]] = []
        for shard, since in self._since.copy().items():
            at_work.append((f"{shard}  {self._last[shard]}".rstrip(), None, now - since))
        done = sum(self._done.copy().values())
        return View(done, sum(self._sizes.values()), Amount(0, 0, None, None), now - self._began, at_work)


@contextmanager
def following(stream: Any, followed: Followed, show: Callable[[list[str]], None]) -> Iterator[Hear]:
    """Gives what takes a shard and its line, in any thread. Where the stream is a terminal, a block is below the
    lines while the block of this runs; elsewhere, `show` shows each line."""
    if not streams.suits(stream, os.environ):
        yield lambda shard, line: show([f"{shard}  {line}"]) if line else None
        return
    sign.end()
    drawing = _Drawing(stream, followed)
    before = sys.stderr
    if is_same_terminal(stream, before):
        sys.stderr = cast(TextIO, Above(before, drawing.write))
    drawing.start()
    try:
        yield drawing.heard
    finally:
        sys.stderr = before
        drawing.end()
        sign.begin()


class _Drawing:
    """One thread alone writes to the stream."""

    def __init__(self, stream: Any, followed: Followed) -> None:
        self._moving = Moving(stream)
        self._followed = followed
        self._pending: deque[str] = deque()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join(_PATIENCE)
        self._write_late()

    def write(self, text: str) -> None:
        self._pending.append(text)
        self._write_late()

    def _write_late(self) -> None:
        """Writes what has come after the last that the thread has taken."""
        if self._over.is_set() and not self._thread.is_alive() and self._pending:
            self._moving.put(self._taken(), [])

    def heard(self, shard: str, line: str) -> None:
        if self._followed.heard(shard, line):
            self.write(one_line(f"{shard}  {line}") + "\n")

    def _draw(self) -> None:
        try:
            while not self._over.wait(_TICK):
                view = self._followed.view(time.monotonic())
                self._moving.put(self._taken(), lines(view, *self._moving.size()))
        finally:
            self._moving.put(self._taken(), [])

    def _taken(self) -> str:
        found = []
        while self._pending:
            found.append(self._pending.popleft())
        return "".join(found)
