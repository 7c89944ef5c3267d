"""When something in the cache was last used: a small file beside it says so, in nanoseconds.

The times that the file system keeps do not: whoever restores a cache (tar, rsync, zip) gives its files others. What
is not known, since nothing was noted or the clock was wrong then, counts as used just now: to lose what is noted
never makes anything go too early.
"""

from __future__ import annotations

import os
import time

from c2wtasks.cachedir import layout as cachedir
from c2wtasks.disk import safely

SUFFIX = ".used"
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS

_LENGTH = 19  # digits, until the year 2286


def noted(path: str, now_ns: int) -> int | None:
    """When `path` was last used; None where that is not known."""
    try:
        descriptor = safely.open_file(path + SUFFIX)
    except OSError:
        return None
    try:
        text = os.read(descriptor, _LENGTH + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if len(text) < _LENGTH or not text[:_LENGTH].isdigit():
        return None
    used_ns = int(text[:_LENGTH])
    return used_ns if used_ns <= now_ns + DAY_NS else None  # the clocks of machines differ, but not by so much


def note(cache: str, path: str, *, every_ns: int = SECOND_NS) -> None:
    """Notes that `path`, which lies in the folder `cache`, is used now, unless that was noted less than `every_ns`
    ago.

    Raises OutputError.
    """
    now_ns = time.time_ns()
    used_ns = noted(path, now_ns)
    if used_ns is not None and abs(now_ns - used_ns) < every_ns:
        return
    cachedir.write(cache, path + SUFFIX, f"{now_ns:0{_LENGTH}}\n".encode())


def forget(path: str) -> None:
    """Removes what was noted of something that is gone."""
    try:
        safely.unlink(path + SUFFIX)
    except OSError:  # nothing was noted, or the next who clears up may do it
        pass
