"""Small layers: read in memory, and stored without a lock and without a sync.

Two who read such a blob at once lose less than one who waits for the other. What a power loss damages shows: the
index has a seal, and the receipt the tar's fingerprint, which is compared when the tar is used.
"""

from __future__ import annotations

from contextlib import closing
from io import BytesIO

from c2wtasks.disk import fingerprint
from c2wtasks.errors import SourceError
from c2wtasks.layers import indexfile
from c2wtasks.layers.decompress import CorruptStream, LargeWindow, plain_chunks
from c2wtasks.layers.receipt import MAX_SMALL_BLOB, MAX_SMALL_TAR, Receipt, is_small
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.layers.tarlimits import ArchiveError
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import Layer
from c2wtasks.telling import progress


def read(layer: Layer, limit: int | None) -> tuple[Receipt, bytes, bytes] | None:
    """The receipt of a layer, its tar and its index. None where the blob lies elsewhere, is larger, has a tar of more
    than `limit` bytes or MAX_SMALL_TAR, or is not as it should be: then it has to be read in the usual way."""
    place = layer.place
    if layer.digest is None or not is_small(layer):
        return None
    progress.step("reading", place.size)
    try:
        with closing(place.open()) as stream:
            blob = b"".join(iter(lambda: stream.read(MAX_SMALL_BLOB), b""))
        if len(blob) != place.size or Digest.of(blob, layer.digest.algorithm) != layer.digest:
            return None
        tar = _plain(blob, MAX_SMALL_TAR if limit is None else min(limit, MAX_SMALL_TAR))
        if tar is None or Digest.of(tar, layer.diff_id.algorithm) != layer.diff_id:
            return None
        index = b"".join(indexfile.pieces(read_entries(tar)))
    except (OSError, SourceError, CorruptStream, LargeWindow, ArchiveError):
        return None
    progress.advance(len(blob))
    of_blob, of_tar = fingerprint.of_bytes(blob), fingerprint.of_bytes(tar)
    return Receipt(str(layer.digest), str(layer.diff_id), len(blob), len(tar), of_blob, of_tar), tar, index


def _plain(blob: bytes, limit: int) -> bytes | None:
    pieces, size = [], 0
    for piece in plain_chunks(BytesIO(blob)):
        size += len(piece)
        if size > limit:
            return None
        pieces.append(piece)
    return b"".join(pieces)
