"""The layer store: each layer once, as the uncompressed tar that its diffID names, and an index of its entries.

    <cache>/layers/<algorithm>/<diffID hex>.tar     the tar: verifies itself with sha256sum
    <cache>/layers/<algorithm>/<diffID hex>.idx     its entries (see `indexfile`)
    <cache>/layers/receipts/<algorithm>/<blob hex>  JSON: what reading the blob of that digest gave

A name appears only when what it names is whole and on disk (temporary file, fsync, rename), the receipt last.
So any number of runs may share a store, and one that was killed leaves only temporary files. A receipt says
that the blob of that digest was read here and what its diffID was: that alone lets a blob be skipped; what an
image config claims never does. A `.tar` may vanish at any time: `ensure` makes it again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import BinaryIO

import msgspec

from c2wtasks import files
from c2wtasks.errors import LayerError, OutputError, os_reason
from c2wtasks.layers import indexfile
from c2wtasks.layers.decompress import CorruptStream, plain_chunks
from c2wtasks.layers.entry import Entry
from c2wtasks.layers.tarindex import ArchiveError, read_entries
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import BlobPlace, Layer


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """What a blob turned out to be. Sizes are in bytes, of the blob and of its tar."""

    digest: str
    diff_id: str
    blob_size: int
    tar_size: int


class _BlobReader:
    """A blob's bytes, hashed as they are read. `missing` counts those that are still to come."""

    def __init__(self, place: BlobPlace, algorithm: str) -> None:
        self.hash = hashlib.new(algorithm)
        self.missing = place.size
        self._descriptor = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        os.lseek(self._descriptor, place.offset, os.SEEK_SET)

    def read(self, size: int, /) -> bytes:
        content = os.read(self._descriptor, min(size, self.missing))
        self.missing -= len(content)
        self.hash.update(content)
        return content

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class Store:
    """The store in the folder `root` (the `layers` of a cache)."""

    root: str

    def tar(self, diff_id: Digest) -> str:
        return f"{self.root}/{diff_id.algorithm}/{diff_id.hex}.tar"

    def index(self, diff_id: Digest) -> str:
        return f"{self.root}/{diff_id.algorithm}/{diff_id.hex}.idx"

    def receipt_file(self, digest: Digest) -> str:
        return f"{self.root}/receipts/{digest.algorithm}/{digest.hex}"

    def receipt(self, digest: Digest) -> Receipt | None:
        """What reading the blob `digest` gave; None where it has not been read, or not by a version we know."""
        try:
            with open(self.receipt_file(digest), "rb") as stream:
                return msgspec.json.decode(stream.read(), type=Receipt)
        except (OSError, msgspec.MsgspecError):
            return None

    def ensure(self, copies: Sequence[Layer]) -> Receipt:
        """Makes the store hold the layer that `copies` name: one blob, perhaps in several places.

        Reads the first copy that is good, unless a receipt tells that the blob was read before. Image configs
        that claim different diffIDs for one blob are told apart by who applies the layer.

        Raises LayerError (of the first copy) or OutputError.
        """
        digest = copies[0].digest
        known = self.receipt(digest) if digest else None
        if known is not None:
            diff_id = Digest.parse(known.diff_id)
            if os.path.exists(self.tar(diff_id)) and indexfile.is_current(self.index(diff_id)):
                return known
        claims = {copy.diff_id for copy in copies}
        first_error: LayerError | None = None
        for copy in copies:
            try:
                return self._read_in(copy, claims)
            except LayerError as error:
                first_error = first_error or error
        assert first_error is not None
        raise first_error

    def _read_in(self, layer: Layer, claims: Set[Digest]) -> Receipt:
        algorithm = layer.diff_id.algorithm
        try:
            with files.temporary(f"{self.root}/{algorithm}") as out:
                receipt = _copy_checked(layer, out)
                diff_id = Digest.parse(receipt.diff_id)
                if diff_id not in claims:
                    raise wrong_diff_id(layer, receipt)
                out.flush()
                try:
                    entries = _index(out.name)
                except ArchiveError as error:
                    raise LayerError(f"layer {layer.short}: {error}") from error
                files.publish(out, self.tar(diff_id), sync=True)
            files.write(self.index(diff_id), indexfile.encode(entries), sync=True)
            if layer.digest is not None:
                files.write(self.receipt_file(layer.digest), msgspec.json.encode(receipt) + b"\n", sync=True)
        except OSError as error:
            raise OutputError(f"{self.root}: layer {layer.short} cannot be stored: {os_reason(error)}") from error
        return receipt

    def entries(self, diff_id: Digest) -> list[Entry]:
        """The entries of a layer that `ensure` has put here.

        Raises LayerError.
        """
        try:
            return indexfile.decode(self.index(diff_id))
        except (OSError, ValueError) as error:
            raise LayerError(
                f"{self.index(diff_id)}: the index of layer {diff_id.short} cannot be used: {error}",
                hint="delete it and run again",
            ) from error

    def read(self, diff_id: Digest, offset: int, size: int, sparse: Sequence[tuple[int, int]] | None) -> bytes:
        """The content of a file that an entry of the layer describes.

        Raises OSError.
        """
        content = bytearray(size)
        with open(self.tar(diff_id), "rb") as stream:
            stream.seek(offset)
            for at, length in sparse if sparse is not None else ((0, size),):
                content[at : at + length] = stream.read(length)
        return bytes(content)


def _index(tar: str) -> list[Entry]:
    with open(tar, "rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            return []
        with mmap(stream.fileno(), 0, access=ACCESS_READ) as content:
            return list(read_entries(content))


def wrong_diff_id(layer: Layer, receipt: Receipt) -> LayerError:
    """The error for a layer whose blob turned out to be another one than its image's config says."""
    return LayerError(
        f"layer {layer.short}: uncompressed it is {receipt.diff_id}, the image config says {layer.diff_id}",
        hint="the image is broken: build or fetch it again",
    )


def _copy_checked(layer: Layer, out: BinaryIO) -> Receipt:
    """Writes the layer's tar to `out`, checking the blob's size and digest."""
    algorithm = layer.digest.algorithm if layer.digest else "sha256"
    try:
        blob = _BlobReader(layer.place, algorithm)
    except OSError as error:
        raise LayerError(f"layer {layer.short}: {layer.place.path} cannot be read: {os_reason(error)}") from error
    diff = layer.diff_id.hasher()
    size = 0
    corrupt: CorruptStream | None = None
    with closing(blob):
        try:
            for chunk in plain_chunks(blob):
                diff.update(chunk)
                out.write(chunk)
                size += len(chunk)
        except CorruptStream as error:
            corrupt = error
        while blob.read(1 << 20):  # the digest tells best what is wrong, and covers what nobody asked for
            pass
    if blob.missing:
        raise LayerError(f"layer {layer.short}: {layer.place.path} ends {blob.missing} bytes too early")
    found = Digest(algorithm, blob.hash.hexdigest())
    if layer.digest is not None and found != layer.digest:
        raise LayerError(
            f"layer {layer.short}: the blob in {layer.place.path} is damaged: it is {found}, not {layer.digest}",
            hint="fetch the image again",
        )
    if corrupt is not None:
        raise LayerError(f"layer {layer.short}: {corrupt}") from corrupt
    return Receipt(str(found), f"{layer.diff_id.algorithm}:{diff.hexdigest()}", layer.place.size, size)
