"""Lines for the user that are no result: on stderr, one line each, whole, whatever process or thread tells them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from c2wtasks.errors import one_line

_shown_by: tuple[int, int] | None = None
_before: Callable[[], None] | None = None


def divert(descriptor: int | None) -> None:
    """From now on processes that are forked from this one write their lines there, and this one shows them."""
    global _shown_by
    _shown_by = None if descriptor is None else (os.getpid(), descriptor)


def precede(make_room: Callable[[], None] | None) -> None:
    """From now on `make_room` is called before lines are written."""
    global _before
    _before = make_room


def tell(*lines: str) -> None:
    """Writes `lines` to stderr, each on one printable line."""
    text = "".join(f"{one_line(line)}\n" for line in lines)
    if _shown_by is not None and _shown_by[0] != os.getpid():
        try:
            os.write(_shown_by[1], text.encode())
            return
        except OSError:  # it is shown no more
            pass
    if _before is not None:
        _before()
    sys.stderr.write(text)
    sys.stderr.flush()
