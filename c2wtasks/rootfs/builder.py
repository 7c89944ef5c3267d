"""What whoever runs us may do with files: as much as the form `dir` of a root can be made true."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

_CAP_CHOWN = 0
_CAP_MKNOD = 27
_ALL_IDS = ["0", "0", "4294967295"]


@dataclass(frozen=True, slots=True)
class Builder:
    """Whether files can be given any owner, and devices be made."""

    chown: bool
    mknod: bool

    @property
    def complete(self) -> bool:
        return self.chown and self.mknod


@cache
def builder() -> Builder:
    """What this process may do, as the kernel tells: its capabilities, unless it lives in a user namespace, where
    they reach only some ids and no devices."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            line = next(line for line in status if line.startswith("CapEff:"))
        with open("/proc/self/uid_map", encoding="ascii") as uid_map:
            all_ids = uid_map.read().split() == _ALL_IDS
        capabilities = int(line.split()[1], 16) if all_ids else 0
        return Builder(chown=bool(capabilities >> _CAP_CHOWN & 1), mknod=bool(capabilities >> _CAP_MKNOD & 1))
    except (OSError, StopIteration, ValueError):
        return Builder(chown=os.geteuid() == 0, mknod=os.geteuid() == 0)
