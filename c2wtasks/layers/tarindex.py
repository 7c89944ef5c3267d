"""Reads the headers of a tar: v7, ustar, star, GNU and PAX, exactly as Go's `archive/tar` (which containerd reads
layers with) takes them, so that what it reads we read and what it refuses we refuse.

Known consequences: global PAX records change no later entry; the mode is never taken from PAX; old-GNU sparse
files ("S") are left for the tree to refuse; whatever follows two zero blocks is not looked at. What containerd makes
nothing of is left out: xattrs in `trusted.`, long link targets of what is no link.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.pax import merge_pax, read_pax
from c2wtasks.layers.sparsemap import Buffer, after_old_gnu_map, merge_sparse
from c2wtasks.layers.tarheader import BLOCK, HEADER_ONLY, read_header
from c2wtasks.layers.tarlimits import MAX_SPECIAL, ArchiveError, Budget, check_lengths, named, where

_ZEROS = bytes(BLOCK)
_SPECIAL = frozenset("xgLK")


class _Before(msgspec.Struct, gc=False):
    """What the headers before an entry's own say of it: PAX or GNU long-name headers. The first is at `start`."""

    start: int
    pax: dict[bytes, bytes] = {}
    long_name: bytes = b""
    long_target: bytes = b""

    def add(self, data: bytes, entry: TarEntry, budget: Budget) -> None:
        """Takes the content of one such header, of which `entry` is.

        Raises ArchiveError.
        """
        if entry.kind == "x":
            self.pax = read_pax(data, entry, budget)
        elif entry.kind == "L":
            self.long_name = data.partition(b"\0")[0]
        else:
            self.long_target = data.partition(b"\0")[0]


def read_entries(tar: Buffer) -> Iterator[TarEntry]:
    """The entries of the tar in `tar`, in order.

    Raises ArchiveError.
    """
    budget = Budget()
    position, end = 0, len(tar)
    before: _Before | None = None
    while True:
        block = bytes(tar[position : position + BLOCK])
        if len(block) < BLOCK or block == _ZEROS:
            _check_end(tar, block, position)
            return
        entry, size = read_header(block, position)
        position += BLOCK
        kind = entry.kind
        if before is None and kind == "0" and 0 <= size <= end - position:  # nearly all are plain: the short way
            entry.offset, entry.size = position, size
            position += size + -size % BLOCK
            yield entry
        elif before is None and kind in HEADER_ONLY:
            entry.offset = position
            yield entry
        elif kind not in _SPECIAL:
            entry.offset = position
            position = _complete(tar, entry, size, before, budget)
            yield entry
            before = None
        else:
            data, position = _special(tar, position, size, end, entry)
            if kind == "g":
                entry.name = read_pax(data, entry, budget).get(b"path") or entry.name
                entry.header = before.start if before is not None else entry.header
                check_lengths(entry)
                yield entry
                before = None
            else:
                before = before or _Before(entry.header)
                before.add(data, entry, budget)


def _check_end(tar: Buffer, block: bytes, position: int) -> None:
    """Raises ArchiveError where a tar may not end with `block`, which is short or zero."""
    if block != _ZEROS:
        if block:
            raise ArchiveError(f"the tar ends inside the header at offset {position}")
    elif bytes(tar[position + BLOCK : position + 2 * BLOCK]) not in (_ZEROS, b""):
        raise ArchiveError(f"a zero block at offset {position} is not followed by another")


def _complete(tar: Buffer, entry: TarEntry, size: int, before: _Before | None, budget: Budget) -> int:
    """Puts into `entry` what the headers `before` its own say; `size` is what its own says. Its content begins at its
    offset, unless it is sparse. Gives the position of the next header.

    Raises ArchiveError.
    """
    kind = entry.kind
    stated = 0 if kind in HEADER_ONLY else size  # Go checks the header's own size before PAX replaces it
    pax = before.pax if before is not None else None
    if before is not None:
        if pax:
            size = merge_pax(entry, size, pax)
        if before.long_name:
            entry.name = before.long_name
        if before.long_target:
            entry.target = before.long_target
        entry.header = before.start
    if kind == "\0":
        kind = entry.kind = "5" if entry.name.endswith(b"/") else "0"
    if kind in HEADER_ONLY:
        size = 0
    if min(size, stated) < 0:
        raise ArchiveError(f"negative size{where(entry)}")
    if kind == "S":
        entry.offset = after_old_gnu_map(tar, entry.offset)
    entry.size = size
    position, end = entry.offset + size, len(tar)
    if pax and kind != "S":
        merge_sparse(tar, entry, pax, end, budget)
    check_lengths(entry)
    if position > end:
        raise ArchiveError(
            f"the tar ends inside the content at offset {entry.offset}{named(entry)}: "
            f"{max(0, end - entry.offset)} of {size} bytes"
        )
    return position + -size % BLOCK


def _special(tar: Buffer, position: int, size: int, end: int, entry: TarEntry) -> tuple[bytes, int]:
    """The content of a header-like entry, and the position after it."""
    if not 0 <= size <= MAX_SPECIAL:
        raise ArchiveError(f"extended header of {size} bytes at offset {entry.header} (at most {MAX_SPECIAL})")
    if position + size > end:
        raise ArchiveError(f"the tar ends inside the extended header at offset {entry.header}")
    return bytes(tar[position : position + size]), position + size + -size % BLOCK
