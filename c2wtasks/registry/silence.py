"""Since when a host has not answered: known to all processes of a run, so that not each of them waits for one that is
gone, and again for each layer."""

from __future__ import annotations

import mmap
import struct
import time
from zlib import crc32

_SLOTS = 1024  # two hosts that share one are both given up a little sooner
_SINCE = struct.Struct("=d")

# Shared by all processes that are forked after this module was loaded. Their clock is one, too.
_memory = mmap.mmap(-1, _SLOTS * _SINCE.size)


def failed(address: str, began: float) -> None:
    """Notes that a host has not answered what it was asked at the time `began` (of `time.monotonic`)."""
    if not _since(address):
        _SINCE.pack_into(_memory, _at(address), began)


def answered(address: str) -> None:
    """Notes that a host is there, whatever it said."""
    if _since(address):
        _SINCE.pack_into(_memory, _at(address), 0.0)


def lasts(address: str) -> float:
    """The seconds since a host was asked for the first time of all those that it has not answered."""
    since = _since(address)
    return time.monotonic() - since if since else 0.0


def _since(address: str) -> float:
    since: float = _SINCE.unpack_from(_memory, _at(address))[0]
    return since


def _at(address: str) -> int:
    return crc32(address.encode()) % _SLOTS * _SINCE.size
