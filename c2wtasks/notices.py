"""Lines for the user that are no result: on stderr, one line each, whole, whatever process or thread tells them."""

from __future__ import annotations

import sys

from c2wtasks.errors import one_line


def tell(*lines: str) -> None:
    """Writes `lines` to stderr, each on one printable line."""
    sys.stderr.write("".join(f"{one_line(line)}\n" for line in lines))
    sys.stderr.flush()
