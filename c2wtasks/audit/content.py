"""A file's content held against the tar of the layer that it is of."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from c2wtasks.layers.fragments import with_holes
from c2wtasks.tree.treefile import Node

_CHUNK = 1 << 20  # bytes


def first_difference(file: int, tar: int, node: Node) -> int | None:
    """The first byte at which an open file differs from the content of `node` in an open tar; None where none does.

    Raises OSError.
    """
    assert node.content is not None
    for at, length, offset in with_holes(node.size, node.content.offset, node.content.sparse):
        found = _in_hole(file, at, length) if offset is None else _in_data(file, tar, at, length, offset)
        if found is not None:
            return found
    return None


def _in_data(file: int, tar: int, at: int, length: int, offset: int) -> int | None:
    return _compared(file, at, length, lambda done, count: os.pread(tar, count, offset + done))


def _in_hole(file: int, at: int, length: int) -> int | None:
    """The first byte of a hole of the tree's file that is no zero; None where there is none. Zeros that are not
    stored need not be read."""
    end = at + length
    while at < end:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise
        stop = min(end, os.lseek(file, start, os.SEEK_HOLE))
        if start >= end:
            return None
        if (found := _compared(file, start, stop - start, lambda _done, count: bytes(count))) is not None:
            return found
        at = stop
    return None


def _compared(file: int, at: int, length: int, want: Callable[[int, int], bytes]) -> int | None:
    done = 0
    while done < length:
        count = min(_CHUNK, length - done)
        have, wanted = os.pread(file, count, at + done), want(done, count)
        if have != wanted or len(have) != count:
            pairs = zip(have, wanted, strict=False)
            return at + done + next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(have), len(wanted)))
        done += count
    return None
