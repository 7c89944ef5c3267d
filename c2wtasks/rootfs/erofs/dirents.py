"""The blocks of an EROFS directory ("Directories" in the kernel's Documentation/filesystems/erofs.rst).

Names with "." and ".." among them lie in byte order, so that a reader finds one by bisection: first of the blocks,
then in one. A block is its entries and behind them their names, each of which ends where the next begins; zeros after
the last, if there is room.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from heapq import merge
from struct import Struct
from typing import NamedTuple

from c2wtasks.rootfs.erofs.records import BLOCK

_ENTRY = Struct("<QHBx")  # inode, where the name begins, type


Entry = tuple[bytes, int, int]
"""Name, number of the inode, type. (Not a NamedTuple: those of a large directory take four times as long to make.)"""


class Parts(NamedTuple):
    """How a directory is cut into blocks: number N ends before entry `ends[N]`; `last` is how many bytes the last
    one takes. "." and ".." are the entries with the numbers `dots`."""

    ends: array[int]
    last: int
    dots: tuple[int, int]

    @property
    def size(self) -> int:
        """The bytes of the directory: full blocks, and what the last one takes."""
        return (len(self.ends) - 1) * BLOCK + self.last

    def slice(self, number: int) -> slice:
        """Which of the entries are in block `number`."""
        return slice(self.ends[number - 1] if number else 0, self.ends[number])


def cut(names: Iterable[bytes]) -> Parts:
    """How a directory with these `names`, in byte order and without "." and "..", is cut into blocks."""
    ends = array("I")
    dots = []
    used = index = 0
    for name in merge(names, (b".", b"..")):
        if name in (b".", b".."):
            dots.append(index)
        size = _ENTRY.size + len(name)
        if used + size > BLOCK:
            ends.append(index)
            used = 0
        used += size
        index += 1
    ends.append(index)
    return Parts(ends, used, (dots[0], dots[1]))


def block(entries: Sequence[Entry]) -> bytes:
    """One block, without the zeros at its end."""
    at = len(entries) * _ENTRY.size
    heads = []
    for name, inode, kind in entries:
        heads.append(_ENTRY.pack(inode, at, kind))
        at += len(name)
    return b"".join(heads) + b"".join([name for name, _, _ in entries])
