"""How much of a run's bytes are done, how fast they go, and how long the rest will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from c2wtasks.telling.progress import Progress

_WINDOW = 10.0  # seconds over which the rate is taken
_TOO_SHORT = 2.0  # seconds after which it means something


class Amount(NamedTuple):
    """How far a run is: `done` of `total` bytes, at `rate` (bytes a second), with `left` seconds to go: None where
    these cannot be told."""

    done: int
    total: int
    rate: float | None
    left: float | None


class Work:
    """The bytes that a run has to do with, by task."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}
        self._seen: deque[tuple[float, float]] = deque()

    def amount(self, now: float, ended: Iterable[str], jobs: Mapping[str, Progress]) -> Amount:
        """How far the run is at the time `now` (seconds); `jobs` are at work, and those that have `ended` are
        done."""
        total = sum(self.bytes.values())
        done = float(sum(self.bytes.get(name, 0) for name in ended))
        for name, far in jobs.items():
            if far.total:
                done += self.bytes.get(name, 0) * min(1.0, far.done / far.total)
            elif far.step == "syncing":  # the last of its steps
                done += self.bytes.get(name, 0)
        self._seen.append((now, done))
        while now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        if now - since < _TOO_SHORT or done <= before:
            return Amount(int(done), total, None, None)
        rate = (done - before) / (now - since)
        return Amount(int(done), total, rate, max(0.0, total - done) / rate)
