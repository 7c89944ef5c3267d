"""What file systems keep of a file: the room that it takes, and its times, in nanoseconds since 1970.

Two changes within one tick of a clock leave a file with the same times.
"""

from __future__ import annotations

import os
import time

_FINE_NS = 20_000_000  # a few ticks of the kernel's coarse clock
_WHOLE_SECONDS_NS = 2_000_000_000  # where the file system keeps whole seconds only
_SECOND_NS = 1_000_000_000
_BLOCK = 512  # bytes: what st_blocks counts
_COARSE = 5  # Linux's CLOCK_REALTIME_COARSE, which Python has no name for: the time that files are given


def tick_ns(time_ns: int) -> int:
    """How long after a file's change at `time_ns` (its ctime) another could leave it with the same times."""
    return _FINE_NS if time_ns % _SECOND_NS else _WHOLE_SECONDS_NS


def is_over(time_ns: int) -> bool:
    """Whether the tick is over in which a file was changed, at `time_ns` (its ctime), by the clock of this machine: a
    change from now on gives it another."""
    if time_ns % _SECOND_NS:
        return time.clock_gettime_ns(_COARSE) > time_ns
    return time.time_ns() > time_ns + _WHOLE_SECONDS_NS


def disk_bytes(found: os.stat_result) -> int:
    """The bytes of disk that a file takes: fewer than its size where it has holes."""
    return found.st_blocks * _BLOCK
