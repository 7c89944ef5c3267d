"""What a kernel refuses with, and how names are shown in messages."""

from __future__ import annotations

import os


def refused(number: int) -> OSError:
    """The OSError that Linux raises with this errno."""
    return OSError(number, os.strerror(number))


def shown(name: bytes) -> str:
    """A name, as messages have it."""
    return repr(name.decode("utf-8", "backslashreplace"))
