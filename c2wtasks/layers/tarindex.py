"""Reads the headers of a tar: v7, ustar, star, GNU and PAX, exactly as Go's `archive/tar` (which containerd reads
layers with) takes them, so that what it reads we read and what it refuses we refuse.

Known consequences: global PAX records change no later entry; the mode is never taken from PAX; old-GNU sparse
files ("S") are left for the tree to refuse; whatever follows two zero blocks is not looked at. What containerd makes
nothing of is left out: xattrs in `trusted.`, long link targets of what is no link.
"""

from __future__ import annotations

from collections.abc import Iterator

from c2wtasks.layers.entry import Entry
from c2wtasks.layers.pax import merge_pax, read_pax
from c2wtasks.layers.sparsemap import Buffer, after_old_gnu_map, merge_sparse
from c2wtasks.layers.tarheader import BLOCK, HEADER_ONLY, read_header
from c2wtasks.layers.tarlimits import MAX_SPECIAL, ArchiveError, Budget, check_lengths, named

_ZEROS = bytes(BLOCK)
_SPECIAL = frozenset("xgLK")


def read_entries(tar: Buffer) -> Iterator[Entry]:
    """The entries of the tar in `tar`, in order.

    Raises ArchiveError.
    """
    budget = Budget()
    position, end = 0, len(tar)
    pax: dict[bytes, bytes] = {}
    long_name = long_target = b""
    start = 0  # of the first header that belongs to the entry: its PAX or GNU long-name header, if any
    fresh = True
    while True:
        if fresh:
            start = position
        block = bytes(tar[position : position + BLOCK])
        if len(block) < BLOCK:
            if block:
                raise ArchiveError(f"the tar ends inside the header at offset {position}")
            return
        if block == _ZEROS:
            following = bytes(tar[position + BLOCK : position + 2 * BLOCK])
            if following not in (_ZEROS, b""):
                raise ArchiveError(f"a zero block at offset {position} is not followed by another")
            return
        entry, size = read_header(block, position)
        position += BLOCK
        kind = entry.kind
        if fresh and kind == "0" and 0 <= size <= end - position:  # nearly all are plain files: the short way
            entry.offset, entry.size = position, size
            position += size + -size % BLOCK
            yield entry
            continue
        fresh = False
        if kind in _SPECIAL:
            data, position = _special(tar, position, size, end, entry)
            if kind == "x":
                pax = read_pax(data, entry, budget)
            elif kind == "L":
                long_name = data.partition(b"\0")[0]
            elif kind == "K":
                long_target = data.partition(b"\0")[0]
            else:
                entry.name = read_pax(data, entry, budget).get(b"path") or entry.name
                entry.header = start
                check_lengths(entry)
                yield entry
                pax, long_name, long_target, fresh = {}, b"", b"", True
            continue
        stated = 0 if kind in HEADER_ONLY else size  # Go checks the header's own size before PAX replaces it
        if pax:
            size = merge_pax(entry, size, pax)
        if long_name:
            entry.name = long_name
        if long_target:
            entry.target = long_target
        if kind == "\0":
            kind = entry.kind = "5" if entry.name.endswith(b"/") else "0"
        if kind in HEADER_ONLY:
            size = 0
        if min(size, stated) < 0:
            raise ArchiveError(f"negative size at offset {start}{named(entry)}")
        if kind == "S":
            position = after_old_gnu_map(tar, position)
        entry.header, entry.offset, entry.size = start, position, size
        if pax and kind != "S":
            merge_sparse(tar, entry, pax, end, budget)
        check_lengths(entry)
        position += size
        if position > end:
            raise ArchiveError(
                f"the tar ends inside the content at offset {entry.offset}{named(entry)}: "
                f"{max(0, end - entry.offset)} of {size} bytes"
            )
        position += -size % BLOCK
        yield entry
        if pax:
            pax = {}
        long_name = long_target = b""
        fresh = True


def _special(tar: Buffer, position: int, size: int, end: int, entry: Entry) -> tuple[bytes, int]:
    """The content of a header-like entry, and the position after it."""
    if not 0 <= size <= MAX_SPECIAL:
        raise ArchiveError(f"extended header of {size} bytes at offset {entry.header} (at most {MAX_SPECIAL})")
    if position + size > end:
        raise ArchiveError(f"the tar ends inside the extended header at offset {entry.header}")
    return bytes(tar[position : position + size]), position + size + -size % BLOCK
