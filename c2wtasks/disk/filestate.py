"""Times as file systems keep them, in nanoseconds since 1970: how coarse their clocks are.

Two changes within one tick of a clock leave a file with the same times.
"""

from __future__ import annotations

_FINE_NS = 20_000_000  # a few ticks of the kernel's coarse clock
_WHOLE_SECONDS_NS = 2_000_000_000  # where the file system keeps whole seconds only
_SECOND_NS = 1_000_000_000


def tick_ns(time_ns: int) -> int:
    """How long after a file's change at `time_ns` (its ctime) another could leave it with the same times."""
    return _FINE_NS if time_ns % _SECOND_NS else _WHOLE_SECONDS_NS
