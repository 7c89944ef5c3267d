"""The file of a layer's index: its entries, sealed."""

from __future__ import annotations

import os

import msgspec

from c2wtasks import safely
from c2wtasks.layers.entry import Entry
from c2wtasks.sealed import seal, unseal

LAYER_MAGIC = b"c2wlayr\x01"
MAX_INDEX = 1 << 30  # of some ten million entries
_ENTRIES = msgspec.msgpack.Decoder(list[Entry])


def encode(entries: list[Entry]) -> bytes:
    """The content of a layer's index."""
    return seal(LAYER_MAGIC, entries)


def decode(path: str) -> list[Entry]:
    """The entries in the index at `path`.

    Raises OSError, ValueError.
    """
    return unseal(LAYER_MAGIC, safely.read(path, MAX_INDEX), _ENTRIES)


def is_current(path: str) -> bool:
    """Whether an index of this version stands at `path` (its content is checked when it is read)."""
    try:
        descriptor = safely.open_file(path)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(LAYER_MAGIC)) == LAYER_MAGIC
    except OSError:
        return False
    finally:
        os.close(descriptor)
