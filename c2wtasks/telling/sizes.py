"""Sizes and counts as people write and read them."""

from __future__ import annotations

import re

_FORM = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([KMGT]?)(i?B)?", re.IGNORECASE | re.ASCII)
_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse(text: str) -> int:
    """The bytes in `20G` (or `20GiB`: 1024 to the power of 3), `20GB` (1000 to the power of 3) or `20000`.

    Raises ValueError.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; sizes are written 500M, 20G, 1.5T, or as a number of bytes")
    number, unit, suffix = match.groups()
    base = 1000 if (suffix or "").upper() == "B" else 1024
    return int(float(number) * base ** _POWER[unit.upper()])


def human(count: float) -> str:
    """`count` bytes in the unit that suits: 512 bytes, 1.4 GB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    """`no bundles`, `1 bundle`, `3 bundles`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
