"""What is noted in a cache of when its parts were last used, for tests that cannot wait."""

from __future__ import annotations

import os
import time
from pathlib import Path


def note_use(path: Path, seconds_ago: float) -> None:
    """Makes it known that a tar, or the catalog of a memo, was last used so long ago."""
    path.with_name(f"{path.name}.used").write_text(f"{time.time_ns() - int(seconds_ago * 1e9):019}\n")


def age(cache: Path, seconds: float) -> None:
    """Makes all in a cache as old. The times of its files are now, as those of one that was just restored."""
    for path in cache.rglob("*"):
        if path.name.startswith(".tmp-"):
            os.utime(path, (time.time() - seconds,) * 2)
        elif path.is_file():
            os.utime(path)
        if path.name.endswith(".used"):
            note_use(path.with_name(path.name.removesuffix(".used")), seconds)


def bytes_in(cache: Path) -> int:
    """The bytes that count in a cache: of all files but those that say when a tar was used."""
    return sum(
        path.stat().st_size for path in cache.rglob("*") if path.is_file() and path.suffixes != [".tar", ".used"]
    )
