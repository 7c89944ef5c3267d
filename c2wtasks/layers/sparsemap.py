"""Reads the maps of sparse files in a tar (GNU's formats 0.0, 0.1 and 1.0), as Go's `archive/tar` does."""

from __future__ import annotations

import re

from c2wtasks.layers import fragments
from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.mapped import Content
from c2wtasks.layers.pax import decimal
from c2wtasks.layers.tarheader import BLOCK, HEADER_ONLY, MAX_INT64
from c2wtasks.layers.tarlimits import MAX_SPECIAL, ArchiveError, Budget, where

Buffer = Content | memoryview
_DECIMALS = re.compile(rb"[+-]?[0-9]+(?:,[+-]?[0-9]+)*")


def merge_sparse(tar: Buffer, entry: TarEntry, pax: dict[bytes, bytes], end: int, budget: Budget) -> None:
    """Makes `entry` sparse where PAX records say so (formats 0.0, 0.1, 1.0). Its content ends at `end` of the tar at
    the latest.

    Raises ArchiveError: the map is malformed, or has too many fragments.
    """
    major, minor = pax.get(b"GNU.sparse.major", b""), pax.get(b"GNU.sparse.minor", b"")
    if (major, minor) == (b"1", b"0"):
        one_zero = True
    elif (major, minor) in ((b"0", b"0"), (b"0", b"1")) or (not major and not minor and pax.get(b"GNU.sparse.map")):
        one_zero = False
    else:
        return
    stored = entry.size
    try:
        entry.name = pax.get(b"GNU.sparse.name") or entry.name
        if size := pax.get(b"GNU.sparse.size") or pax.get(b"GNU.sparse.realsize"):
            entry.size = decimal(size)
        if entry.size < 0 or b"\0" in entry.name:
            raise ValueError
        if one_zero:
            numbers, used = _sparse_map_in_content(tar, entry, min(stored, end - entry.offset), budget)
        else:
            numbers, used = _sparse_map_in_records(pax, entry, budget), 0
        reached = 0
        for at, length in zip(numbers[::2], numbers[1::2], strict=True):
            if at < reached or length < 0 or at + length > entry.size:
                raise ValueError
            reached = at + length
        if entry.kind in HEADER_ONLY or sum(numbers[1::2]) != stored - used:
            raise ValueError
    except ArchiveError:
        raise
    except ValueError:
        raise ArchiveError(f"malformed sparse map{where(entry)}") from None
    entry.sparse = fragments.pack(zip(numbers[::2], numbers[1::2], strict=True))
    entry.offset += used


def _sparse_map_in_records(pax: dict[bytes, bytes], entry: TarEntry, budget: Budget) -> list[int]:
    count = decimal(pax.get(b"GNU.sparse.numblocks", b""))
    text = pax.get(b"GNU.sparse.map", b"")
    if bool(text) + text.count(b",") != 2 * count:
        raise ValueError
    budget.take_fragments(count, entry)
    return _decimals(text) if text else []


def _sparse_map_in_content(tar: Buffer, entry: TarEntry, size: int, budget: Budget) -> tuple[list[int], int]:
    """The numbers of a 1.0 map at the head of the content, and how many bytes it takes (whole blocks).

    Raises ArchiveError, ValueError.
    """
    text = bytearray()
    lines, wanted = 0, 1
    while lines < wanted:
        if len(text) + BLOCK > min(size, MAX_SPECIAL):
            raise ValueError
        at = entry.offset + len(text)
        block = bytes(tar[at : at + BLOCK])
        text += block
        lines += block.count(b"\n")
        if wanted == 1 and lines:
            count = decimal(bytes(text.partition(b"\n")[0]))
            if count < 0:
                raise ValueError
            budget.take_fragments(count, entry)
            wanted = 1 + 2 * count
    _, *numbers = bytes(text).split(b"\n", wanted)[:wanted]
    return _decimals(b",".join(numbers)) if numbers else [], len(text)


def _decimals(text: bytes) -> list[int]:
    """The numbers in `text`, which has commas between them. Raises ValueError."""
    if not _DECIMALS.fullmatch(text):
        raise ValueError
    numbers = [int(number) for number in text.split(b",")]
    if not -(2**63) <= min(numbers) <= max(numbers) <= MAX_INT64:
        raise ValueError
    return numbers


def after_old_gnu_map(tar: Buffer, position: int) -> int:
    """Where the content of an old-GNU sparse file begins: after the rest of the map that its header has begun."""
    more = tar[position - BLOCK + 482 : position - BLOCK + 483]
    while bytes(more).strip(b"\0"):
        more = tar[position + 504 : position + 505]
        position += BLOCK
    return position
