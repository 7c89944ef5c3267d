"""Python's collector of garbage, kept from walking the data of a catalog again and again: it lives as long as the
run."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Keeps it from working while the block, or the function that this decorates, makes what lives on. A third of the
    time in which a catalog of 10,000 images is loaded."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def spare() -> None:
    """Has it work seldom from now on, and not at all as Python ends: a fifth and a quarter of a run in which there is
    nothing to do."""
    gc.set_threshold(100_000, 50, 100)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
