"""The content of files in the tars of layers."""

from __future__ import annotations

import os
from errno import EIO

from c2wtasks.disk import safely
from c2wtasks.layers import fragments
from c2wtasks.layers.fragments import Fragments

TOO_SHORT = "the layer's tar in the cache is too short; delete it and run again"


def read_content(tar: str, offset: int, size: int, sparse: Fragments | None) -> bytes:
    """The content of a file of `size` bytes, whose bytes or `sparse` fragments lie at `offset` of the file `tar`.

    Raises OSError: it cannot be read, or is too short.
    """
    opened = safely.open_file(tar)
    try:
        return read_open(opened, offset, size, sparse)
    finally:
        os.close(opened)


def read_open(tar: int, offset: int, size: int, sparse: Fragments | None) -> bytes:
    """The same of a tar that is open.

    Raises OSError.
    """
    if sparse is None:
        return _part(tar, offset, size)
    content = bytearray(size)
    for at, length, start in fragments.in_tar(offset, fragments.unpack(sparse)):
        content[at : at + length] = _part(tar, start, length)
    return bytes(content)


def _part(tar: int, offset: int, size: int) -> bytes:
    content = os.pread(tar, size, offset)
    if len(content) != size:
        raise OSError(EIO, TOO_SHORT)
    return content
