"""A layer's blob, read once: its digest and fingerprint are of the bytes that come, its diffID of the tar in them,
which is written as it is decompressed."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import BinaryIO

import xxhash

from c2wtasks.errors import LayerError, SourceError, os_reason
from c2wtasks.layers.decompress import CorruptStream, LargeWindow, chunks_from, compression, head_of
from c2wtasks.layers.receipt import Receipt
from c2wtasks.layers.refusal import DamagedBlob, Unreachable, built_wrong, damaged, too_large
from c2wtasks.layers.sink import Sink
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import Layer
from c2wtasks.telling import progress


def copy_checked(layer: Layer, out: BinaryIO | None, limit: int | None, partial: str) -> Receipt:
    """Writes the layer's tar to `out`, if any, checking the blob's size and digest. What was fetched of it is kept in
    the file `partial`, until all has come.

    Where the tar turns out to be longer than `limit` bytes, or the disk is full, nothing more is read: a few
    kilobytes may expand for hours.

    Raises LayerError; OSError where `out` cannot be written.
    """
    algorithm = layer.digest.algorithm if layer.digest else "sha256"
    progress.step("reading", layer.place.size)
    blob = _BlobReader(layer, algorithm, partial)
    unreadable: CorruptStream | LargeWindow | None = None
    with closing(blob):
        head = head_of(blob)
        is_tar = compression(head) == "none" and algorithm == layer.diff_id.algorithm  # then its digest is the diffID
        with closing(Sink(out, None if is_tar else layer.diff_id.hasher())) as sink:
            try:
                for piece in chunks_from(head, blob):
                    if limit is not None and sink.size + len(piece) > limit:
                        raise too_large(layer, limit)
                    sink.put(piece)
            except (CorruptStream, LargeWindow) as error:
                unreadable = error
        while blob.read(1 << 20):  # the digest tells best what is wrong, and covers what nobody asked for
            pass
    if blob.missing:
        raise DamagedBlob(f"layer {layer.short}: {layer.place.where} ends {blob.missing} bytes too early")
    found = Digest(algorithm, blob.hash.hexdigest())
    if layer.digest is not None and found != layer.digest:
        is_now = found if layer.place.may_be_told else "another"
        raise damaged(layer, f"its digest is {is_now}, not {layer.digest}")
    if isinstance(unreadable, LargeWindow):
        hint = "build the image again with a smaller one, as zstd has it without --long and --ultra"
        raise LayerError(f"layer {layer.short}: {unreadable}", hint=hint) from unreadable
    if unreadable is not None:
        raise built_wrong(layer, str(unreadable)) from unreadable
    return Receipt(
        str(found),
        f"{layer.diff_id.algorithm}:{(sink.hash or blob.hash).hexdigest()}",
        layer.place.size,
        sink.size,
        blob.fingerprint.hexdigest(),
    )


class _BlobReader:
    """A layer's blob, hashed as it is read. `missing` counts the bytes that are still to come.

    Raises LayerError where it cannot be read, so that this is told from a store that cannot be written.
    """

    def __init__(self, layer: Layer, algorithm: str, partial: str) -> None:
        self._layer = layer
        self.hash = hashlib.new(algorithm)
        self.fingerprint = xxhash.xxh3_128()
        self.missing = layer.place.size
        try:
            self._blob = layer.place.open_resuming(partial)
        except (OSError, SourceError) as error:
            raise self._unreadable(error) from error

    def read(self, size: int, /) -> bytes:
        try:
            content = self._blob.read(min(size, self.missing))
        except (OSError, SourceError) as error:
            raise self._unreadable(error) from error
        self.missing -= len(content)
        progress.advance(len(content))
        self.hash.update(content)
        self.fingerprint.update(content)
        return content

    def _unreadable(self, error: OSError | SourceError) -> LayerError:
        if isinstance(error, SourceError):
            return Unreachable(f"layer {self._layer.short}: {error.message}", hint=error.hint)
        return DamagedBlob(f"layer {self._layer.short}: {self._layer.place.where} cannot be read: {os_reason(error)}")

    def close(self) -> None:
        self._blob.close()
