"""The programs of others that are here."""

from __future__ import annotations

import shutil
from functools import cache


@cache
def is_here(tool: str) -> bool:
    """Whether a program is in PATH."""
    return shutil.which(tool) is not None
