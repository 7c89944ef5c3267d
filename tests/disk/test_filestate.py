"""How coarse the clocks of file systems are."""

from __future__ import annotations

import os
import time
from pathlib import Path

from c2wtasks.disk.filestate import is_over


def test_after_its_tick_a_change_has_another_ctime(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    for _ in range(50):
        os.utime(path)
        changed_ns = path.stat().st_ctime_ns
        while not is_over(changed_ns):
            time.sleep(0.001)
        os.utime(path)
        assert path.stat().st_ctime_ns != changed_ns


def test_a_tick_may_be_of_seconds() -> None:
    second = 10**9
    now = time.time_ns() // second * second
    assert not is_over(now)
    assert is_over(now - 4 * second)
    assert not is_over(time.time_ns() + second)
    assert is_over(time.time_ns() - second // 2 | 1)
