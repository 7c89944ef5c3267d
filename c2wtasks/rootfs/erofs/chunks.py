"""Sparse files in EROFS: cut into chunks of equal size, of which those that are all hole take no blocks.

Behind the inode lies the first block of each chunk, or a number that means a hole ("Chunk-based files" in the
kernel's Documentation/filesystems/erofs.rst). Large chunks make this list short and the holes few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import pack
from typing import NamedTuple

from c2wtasks.rootfs.erofs.records import BLOCK, MAX_BLOCKS
from c2wtasks.rootfs.writing.linuxfs import block_runs, joined

_ENTRY_SIZE = 4
_HOLE = MAX_BLOCKS.to_bytes(_ENTRY_SIZE, "little")
_MAX_BITS = 31
_MAX_LIST = 1 << 22  # holes are only numbers, but the list is bytes, and is made in memory


class Chunks(NamedTuple):
    """The file is `blocks` long, a chunk 1 << `bits` of these; `runs` are the (first chunk, length) of what is no
    hole, in ascending order. They lie in the image one after the other."""

    bits: int
    blocks: int
    runs: list[tuple[int, int]]

    @property
    def list_size(self) -> int:
        """The bytes of the list of chunks."""
        return _ENTRY_SIZE * -(-self.blocks >> self.bits)

    @property
    def taken(self) -> int:
        """How many blocks of the image the file takes. The last chunk ends with it."""
        beyond = 0
        if self.runs:
            beyond = max(0, (sum(self.runs[-1]) << self.bits) - self.blocks)
        return (sum([length for _, length in self.runs]) << self.bits) - beyond

    def listed(self, start: int) -> bytes:
        """The list, where the file begins at block `start` of the image."""
        parts = []
        reached = 0
        for first, length in self.runs:
            parts.append(_HOLE * (first - reached))
            end = start + (length << self.bits)
            parts.append(pack(f"<{length}I", *range(start, end, 1 << self.bits)))
            start, reached = end, first + length
        parts.append(_HOLE * (self.list_size // _ENTRY_SIZE - reached))
        return b"".join(parts)

    def placed(self, fragments: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Where the (offset, length) in bytes of the file lie behind the file's first block in the image, in the
        same order. No fragment is in two runs."""
        following = iter(self.runs)
        first, length, start = 0, 0, 0  # of the run, and the chunk that it begins at in the image
        for at, size in fragments:
            if size:
                chunk = at // BLOCK >> self.bits
                while chunk >= first + length:
                    start += length
                    first, length = next(following)
                yield at - (first - start << self.bits) * BLOCK, size


def cut(size: int, fragments: Iterable[tuple[int, int]]) -> Chunks | None:
    """The chunks that a file takes least with, list and all; None if it takes more than half of what it would without
    holes: older kernels know no chunks. `fragments` are its (offset, length) in bytes, in ascending order."""
    blocks = -(-size // BLOCK)
    runs = block_runs(fragments, BLOCK)
    best, least = None, blocks * BLOCK // 2
    for bits in range(_MAX_BITS + 1):
        chunks = Chunks(bits, blocks, runs)
        cost = chunks.list_size + chunks.taken * BLOCK
        if cost < least and chunks.list_size <= _MAX_LIST:
            best, least = chunks, cost
        runs = joined((first >> 1, first + length - 1 >> 1) for first, length in runs)
    return best
