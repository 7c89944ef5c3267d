"""What a kernel refuses with, and how names are shown in messages."""

from __future__ import annotations

import os


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "backslashreplace"))
