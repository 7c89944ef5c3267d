"""Small disks, for tests of what happens when they are full. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
Mount = Callable[[str, str], None]


@contextmanager
def small_disks(place: Path) -> Iterator[Mount]:
    """Gives a function that makes a folder in `place` a disk of a size, or gives that disk another size."""
    mounted: list[Path] = []

    def mount(name: str, size: str) -> None:
        folder = place / name
        options = f"size={size},mode=755" if folder not in mounted else f"remount,size={size}"
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"may not mount: {done.stderr.strip()}")
        mounted.append(folder)

    try:
        yield mount
    finally:
        for folder in set(mounted):
            subprocess.run(["umount", str(folder)], check=True)
