"""What is noted of a blob that was read: its digest and size, and those of the tar that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from c2wtasks.sources.model import Layer


class Receipt(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a blob turned out to be. Sizes are in bytes, of the blob and of its tar.

    `fingerprint` (xxh3-128) is of the blob: what another copy of it must have, to be as good. `tar_fingerprint` is
    there where the tar, a small one, was not put on disk before this was written.
    """

    digest: str
    diff_id: str
    blob_size: int
    tar_size: int
    fingerprint: str
    tar_fingerprint: str = ""


MAX_SMALL_BLOB = 1 << 18
"""The most bytes of a blob that is read in memory."""
MAX_SMALL_TAR = 1 << 20
"""The most bytes of a tar that is stored without a sync."""
_RECEIPTS = msgspec.json.Decoder(Receipt)
MAX_RECEIPT = 1 << 16
"""Bytes: a longer file is no receipt."""


def is_small(layer: Layer) -> bool:
    """Whether the blob of a layer lies here, and has so few bytes that it is read in memory."""
    return layer.place.is_local and layer.place.size <= MAX_SMALL_BLOB


def decode_receipt(text: bytes) -> Receipt:
    """The receipt that a file of the store holds. Raises ValueError."""
    try:
        return _RECEIPTS.decode(text)
    except RecursionError:
        raise ValueError("its values are nested too deep") from None
