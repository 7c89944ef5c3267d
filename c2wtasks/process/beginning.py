"""Threads, as long as there are any to be had."""

from __future__ import annotations

import threading


def started(thread: threading.Thread) -> bool:
    """Starts a thread; tells whether there was one to be had.

    Raises KeyboardInterrupt: one came meanwhile. `threading` may make a RuntimeError of it, as it lets go of a lock
    that the interrupt has kept it from taking; the thread may be there then.
    """
    try:
        thread.start()
    except RuntimeError as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        return False
    return True
