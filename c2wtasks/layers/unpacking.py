"""A layer's blob, read once: its digest and fingerprint are of the bytes that come, its diffID of the tar in them,
which is written as it is decompressed."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO

import xxhash

from c2wtasks.disk import syncing
from c2wtasks.errors import LayerError, SourceError, os_reason
from c2wtasks.layers.decompress import CorruptStream, LargeWindow, chunks_from, compression, head_of
from c2wtasks.layers.receipt import Receipt
from c2wtasks.layers.refusal import DamagedBlob, Unreachable, built_wrong, damaged, too_large
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import Layer
from c2wtasks.telling import progress

if TYPE_CHECKING:
    from hashlib import _Hash

_WAITING = 4  # pieces, of a few MiB each, between decompressing and hashing
_BEGUN_AT_ONCE = 8 << 20  # bytes


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
        with closing(_Sink(out, None if is_tar else layer.diff_id.hasher())) as sink:
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


class _Sink:
    """Takes the layer's tar in pieces: hashes them, by `hash`, if any, and writes them to `out`, if any, in a thread
    of its own, beside the one that reads and decompresses. Both let go of the interpreter, so both cores work, even
    on a single layer.
    """

    def __init__(self, out: BinaryIO | None, hasher: _Hash | None) -> None:
        self.size = 0
        self._out = out.fileno() if out is not None else -1
        self._written = self._begun = 0  # bytes, and those of them that the disk was told to write
        self.hash = hasher
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._failed: Exception | None = None
        self._thread: threading.Thread | None = None

    def put(self, piece: bytes) -> None:
        """Takes a piece. Raises OSError, or whatever went wrong: a piece before it could not be written."""
        if self._failed is not None:
            raise self._failed
        if self._thread is None:
            if not self.size:  # many a layer has just one piece, which is done at the end, without a thread
                self.size = len(piece)
                self._pieces.put(piece)
                return
            thread = threading.Thread(target=self._run, name="writer of a layer")
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:  # no more are to be had: what is put is done at once
                pass
        self.size += len(piece)
        self._pieces.put(piece)
        if self._thread is None:
            self._pieces.put(None)
            self._run()

    def close(self) -> None:
        """Waits for the last piece. Raises OSError, or whatever went wrong: one could not be written."""
        self._pieces.put(None)
        if self._thread is None:
            self._run()
        else:
            self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._failed is not None:
                continue
            try:
                if self.hash is not None:
                    self.hash.update(piece)
                if self._out >= 0:
                    self._write(piece)
            except OSError as error:
                self._failed = OSError(error.errno, f"{os_reason(error)} (after {self._written} bytes of its tar)")
            except Exception as error:  # else whoever puts pieces would wait for ever
                self._failed = error

    def _write(self, piece: bytes) -> None:
        with memoryview(piece) as left:
            done = 0
            while done < len(left):
                count = os.write(self._out, left[done:])
                done, self._written = done + count, self._written + count
        if self._written - self._begun >= _BEGUN_AT_ONCE:
            syncing.start_writing(self._out, self._begun)
            self._begun = self._written
