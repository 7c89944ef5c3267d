"""The content of files in the tars of layers."""

from __future__ import annotations

from errno import EIO

from c2wtasks.disk import safely
from c2wtasks.layers import fragments
from c2wtasks.layers.fragments import Fragments

TOO_SHORT = "the layer's tar in the cache is too short; delete it and run again"


def read_content(tar: str, offset: int, size: int, sparse: Fragments | None) -> bytes:
    """The content of a file of `size` bytes, whose bytes or `sparse` fragments lie at `offset` of the file `tar`.

    Raises OSError: it cannot be read, or is too short.
    """
    content = bytearray(size)
    with open(safely.open_file(tar), "rb") as stream:
        stream.seek(offset)
        for at, length in ((0, size),) if sparse is None else fragments.unpack(sparse):
            if stream.readinto(memoryview(content)[at : at + length]) != length:
                raise OSError(EIO, TOO_SHORT)
    return bytes(content)
