"""The layer store: each layer once, as the uncompressed tar that its diffID names, and an index of its entries.

    <cache>/layers/<algorithm>/<diffID hex>.tar     the tar: verifies itself with sha256sum
    <cache>/layers/<algorithm>/<diffID hex>.tar.used  when that was last used (see `lastuse`)
    <cache>/layers/<algorithm>/<diffID hex>.idx     its entries (see `indexfile`)
    <cache>/layers/receipts/<algorithm>/<blob hex>  JSON: what reading the blob of that digest gave
    <cache>/layers/locks/<layer key>                while that blob is read: by whom
    <cache>/layers/unfinished/<layer key>/          what was written so far

A name appears only when what it names is whole and on disk (temporary file, fsync, rename); the receipt last, when
the names it stands for are on disk, too. So any number of runs may share a store. A blob is read by one at a time;
one that was killed leaves the lock's file and unfinished files, which the next to read that blob removes, or
`recover`. A receipt says that the blob of that digest was read here and what its diffID was: that alone lets a blob
be skipped; what an image config claims never does. A `.tar` may vanish at any time: `ensure` makes it again.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from errno import EIO
from typing import BinaryIO

import msgspec
import xxhash

from c2wtasks.cachedir import lastuse
from c2wtasks.disk import files, locks, safely, syncing
from c2wtasks.errors import LayerError, OutputError, SourceError, os_reason
from c2wtasks.layers import fragments, indexfile
from c2wtasks.layers.decompress import CorruptStream, LargeWindow, plain_chunks
from c2wtasks.layers.entry import Entry
from c2wtasks.layers.fragments import Fragments
from c2wtasks.layers.tarindex import ArchiveError
from c2wtasks.notices import tell
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import BlobPlace, Layer

_WAITING = 4  # pieces, of a few MiB each, between decompressing and hashing
_ELSEWHERE = "name a cache elsewhere: 'cache:' in bundle.yaml, or C2WTASKS_CACHE"
TOO_SHORT = "the layer's tar in the cache is too short; delete it and run again"


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """What a blob turned out to be. Sizes are in bytes, of the blob and of its tar.

    `fingerprint` (xxh3-128) is of the blob: what another copy of it must have, to be as good.
    """

    digest: str
    diff_id: str
    blob_size: int
    tar_size: int
    fingerprint: str


_RECEIPTS = msgspec.json.Decoder(Receipt)
MAX_RECEIPT = 1 << 16


def decode_receipt(text: bytes) -> Receipt:
    """Raises ValueError."""
    try:
        return _RECEIPTS.decode(text)
    except RecursionError:
        raise ValueError("its values are nested too deep") from None


class _BlobReader:
    """A layer's blob, hashed as it is read. `missing` counts the bytes that are still to come.

    Raises LayerError where it cannot be read, so that this is told from a store that cannot be written.
    """

    def __init__(self, layer: Layer, algorithm: str) -> None:
        self._layer = layer
        self.hash = hashlib.new(algorithm)
        self.fingerprint = xxhash.xxh3_128()
        self.missing = layer.place.size
        try:
            self._blob = layer.place.open()
        except (OSError, SourceError) as error:
            raise self._unreadable(error) from error

    def read(self, size: int, /) -> bytes:
        try:
            content = self._blob.read(min(size, self.missing))
        except (OSError, SourceError) as error:
            raise self._unreadable(error) from error
        self.missing -= len(content)
        self.hash.update(content)
        self.fingerprint.update(content)
        return content

    def _unreadable(self, error: OSError | SourceError) -> LayerError:
        if isinstance(error, SourceError):
            return LayerError(f"layer {self._layer.short}: {error.message}", hint=error.hint)
        return LayerError(f"layer {self._layer.short}: {self._layer.place.where} cannot be read: {os_reason(error)}")

    def close(self) -> None:
        self._blob.close()


@dataclass(frozen=True, slots=True)
class Store:
    """The store in the folder `root` (the `layers` of a cache). A layer whose tar is longer than `max_layer_size`
    bytes, if that is not None, is refused."""

    root: str
    max_layer_size: int | None = None

    def tar(self, diff_id: Digest) -> str:
        return f"{self.root}/{diff_id.algorithm}/{diff_id.hex}.tar"

    def index(self, diff_id: Digest) -> str:
        return f"{self.root}/{diff_id.algorithm}/{diff_id.hex}.idx"

    def receipt_file(self, digest: Digest) -> str:
        return f"{self.root}/receipts/{digest.algorithm}/{digest.hex}"

    def receipt(self, digest: Digest) -> Receipt | None:
        """What reading the blob `digest` gave; None where it has not been read, or not by a version we know."""
        try:
            receipt = decode_receipt(safely.read(self.receipt_file(digest), MAX_RECEIPT))
            Digest.parse(receipt.diff_id)
            return receipt if receipt.digest == str(digest) else None
        except (OSError, ValueError):
            return None

    def holds(self, diff_id: Digest, tar_size: int | None = None) -> bool:
        """Whether the layer's tar, of that size if it is known, and a current index of it are here."""
        return self.has_tar(diff_id, tar_size) and indexfile.is_current(self.index(diff_id))

    def has_tar(self, diff_id: Digest, size: int | None = None) -> bool:
        """Whether the layer's tar is here, of that size if it is known."""
        found = safely.size(self.tar(diff_id))
        return found is not None and size in (None, found)

    def tar_size(self, diff_id: Digest) -> int:
        """The bytes of the layer's tar. Raises OSError."""
        return safely.lstat(self.tar(diff_id)).st_size

    def use(self, diff_id: Digest) -> None:
        """Notes that the layer's tar is used now: what was used last is evicted last."""
        try:
            lastuse.note(os.path.dirname(self.root), self.tar(diff_id))
        except OutputError:  # a cache that we may only read, or a full disk
            pass

    def ensure(self, copies: Sequence[Layer]) -> Receipt:
        """Makes the store hold the layer that `copies` name: one blob, perhaps in several places.

        Reads the first copy that is good, unless a receipt tells that the blob was read before. Image configs
        that claim different diffIDs for one blob are told apart by who applies the layer.

        Where another process reads the blob, this waits for it and takes what it has stored.

        Raises LayerError (of the first copy) or OutputError.
        """
        known = self._known(copies)
        if known is not None:
            return known
        with self._alone(copies[0]) as unfinished:
            return self._known(copies) or self._read_first_good(copies, unfinished)

    def _known(self, copies: Sequence[Layer]) -> Receipt | None:
        """What is known of a blob that need not be read again."""
        digest = copies[0].digest
        known = self.receipt(digest) if digest else None
        if known is None or not self.holds(Digest.parse(known.diff_id), known.tar_size):
            return None
        if Digest.parse(known.diff_id) not in {copy.diff_id for copy in copies}:
            raise wrong_diff_id(copies[0], known)
        return known

    @contextmanager
    def _alone(self, layer: Layer) -> Iterator[str]:
        """Keeps others from reading the same blob. Gives the folder for what is unfinished."""

        def announce(holder: str) -> None:
            tell(f"layer {layer.short}: waiting for {holder}, which reads it")

        lock = self._lock(layer.key)
        try:
            for folder in (os.path.dirname(lock), f"{self.root}/{layer.diff_id.algorithm}"):
                files.make_folders(folder, shared=True)
            if layer.digest is not None:
                files.make_folders(os.path.dirname(self.receipt_file(layer.digest)), shared=True)
        except OSError as error:
            raise _not_stored(self.root, layer, error) from error
        unfinished = self._unfinished(layer.key)
        with locks.locked(lock, announce, elsewhere=_ELSEWHERE):
            files.remove_tree(unfinished)  # of one that was killed
            try:
                files.make_folders(unfinished, shared=True)
                yield unfinished
            except OSError as error:
                raise _not_stored(self.root, layer, error) from error
            finally:
                files.remove_tree(unfinished)

    def recover(self) -> None:
        """Removes what killed processes have left unfinished; nothing of those that are at work.

        Raises OutputError.
        """
        first_error: OutputError | None = None
        for key in sorted({*self._names("locks"), *self._names("unfinished")}):
            try:
                with locks.locked_if_free(self._lock(key), elsewhere=_ELSEWHERE) as held:
                    if held is not None:
                        files.remove_tree(self._unfinished(key))
            except OutputError as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error

    def _names(self, folder: str) -> list[str]:
        path = f"{self.root}/{folder}"
        try:
            return safely.names(path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {os_reason(error)}") from error

    def _lock(self, key: str) -> str:
        return f"{self.root}/locks/{key}"

    def _unfinished(self, key: str) -> str:
        return f"{self.root}/unfinished/{key}"

    def _read_first_good(self, copies: Sequence[Layer], unfinished: str) -> Receipt:
        claims = {copy.diff_id for copy in copies}
        first_error: LayerError | None = None
        for copy in copies:
            try:
                return self._read_twice(copy, claims, unfinished)
            except LayerError as error:
                first_error = first_error or error
        assert first_error is not None
        raise first_error

    def _read_twice(self, layer: Layer, claims: Set[Digest], unfinished: str) -> Receipt:
        """Reads a blob that came damaged once more, where another reading may give a good one."""
        try:
            return self._read_in(layer, claims, unfinished)
        except DamagedBlob as error:
            place = layer.place.elsewhere()
            if place is None:
                raise
            tell(f"{error.message}; fetching it once more")
            return self._read_in(replace(layer, place=place), claims, unfinished)

    def _read_in(self, layer: Layer, claims: Set[Digest], unfinished: str) -> Receipt:
        if self.holds(layer.diff_id):  # as another blob, perhaps: this one is only to be checked then
            receipt = _copy_checked(layer, None, self.max_layer_size)
            if receipt.diff_id != str(layer.diff_id) or not self.has_tar(layer.diff_id, receipt.tar_size):
                receipt = self._store(layer, claims, unfinished)
        else:
            receipt = self._store(layer, claims, unfinished)
        if layer.digest is not None:
            text = msgspec.json.encode(receipt) + b"\n"
            files.write(self.receipt_file(layer.digest), text, sync=True, by_way_of=unfinished)
        return receipt

    def _store(self, layer: Layer, claims: Set[Digest], unfinished: str) -> Receipt:
        """Writes the layer's tar and its index."""
        with files.temporary(unfinished) as made, files.temporary(unfinished) as index:
            out = made.stream
            receipt = _copy_checked(layer, out, self.max_layer_size)
            diff_id = Digest.parse(receipt.diff_id)
            if diff_id not in claims:
                raise wrong_diff_id(layer, receipt)
            out.flush()
            try:
                index.stream.writelines(indexfile.pieces_of(out.fileno()))
            except ArchiveError as error:
                raise built_wrong(layer, str(error)) from error
            files.give_name(made, self.tar(diff_id), sync=True)
            # One that is there may be read just now, by a task that takes note of any change.
            files.give_name_if_changed(index, self.index(diff_id), sync=True)
        syncing.sync_folder(os.path.dirname(self.tar(diff_id)))
        self.use(diff_id)
        return receipt

    def entries(self, diff_id: Digest) -> Iterator[Entry]:
        """The entries of a layer that `ensure` has put here, in order.

        Raises UnusableIndex, at the latest when all were given.
        """
        try:
            yield from indexfile.read(self.index(diff_id))
        except (OSError, ValueError) as error:
            raise UnusableIndex(self.index(diff_id), diff_id, error) from error

    def mend_index(self, layer: Layer) -> None:
        """Reads the layer's blob again, if its index cannot be used.

        Raises LayerError, OutputError.
        """
        with self._alone(layer) as unfinished:
            try:
                for _ in self.entries(layer.diff_id):  # another may have made it again meanwhile
                    pass
            except UnusableIndex:
                self._store(layer, {layer.diff_id}, unfinished)


class UnusableIndex(LayerError):
    """The index of the layer `diff_id` is gone or damaged, or something else lies in its place."""

    def __init__(self, path: str, diff_id: Digest, error: OSError | ValueError) -> None:
        why = os_reason(error) if isinstance(error, OSError) else str(error)
        wrong = f"{path}: the index of layer {diff_id.short} cannot be used: {why}"
        super().__init__(wrong, hint="run: doit verify --repair")
        self.diff_id = diff_id


def read_content(tar: str, offset: int, size: int, sparse: Fragments | None) -> bytes:
    """The content of a file that an entry describes, from its layer's tar.

    Raises OSError.
    """
    content = bytearray(size)
    with open(safely.open_file(tar), "rb") as stream:
        stream.seek(offset)
        for at, length in ((0, size),) if sparse is None else fragments.unpack(sparse):
            if stream.readinto(memoryview(content)[at : at + length]) != length:
                raise OSError(EIO, TOO_SHORT)
    return bytes(content)


def _not_stored(root: str, layer: Layer, error: OSError) -> OutputError:
    return OutputError(f"{root}: layer {layer.short} cannot be stored: {os_reason(error)}")


class DamagedBlob(LayerError):
    """A copy of a blob holds something else than its digest says."""


def damaged(layer: Layer, found: str) -> DamagedBlob:
    """The error for a copy of a blob that holds something else than its digest says."""
    return DamagedBlob(
        f"layer {layer.short}: the blob in {layer.place.where} is damaged: {found}",
        hint="fetch the image again",
    )


def wrong_diff_id(layer: Layer, receipt: Receipt) -> LayerError:
    """The error for a layer whose blob turned out to be another one than its image's config says."""
    plain = layer.digest is not None and receipt.diff_id == receipt.digest
    if plain and (known := _of_another_form(layer)):
        return known
    have = "neither gzip nor zstd, so taken as it is, it is" if plain else "uncompressed it is"
    return built_wrong(layer, f"{have} {receipt.diff_id}, the image config says {layer.diff_id}")


def _of_another_form(layer: Layer) -> LayerError | None:
    """The error for a blob that by its first bytes is of a form which no layer has; None where that is not known."""
    if not isinstance(layer.place, BlobPlace):
        return None
    from c2wtasks.sources import reading
    from c2wtasks.sources.packed import compression_of

    start = reading.start_of(layer.place)
    if wrong := reading.mistaken(f"layer {layer.short}", start):
        return LayerError(wrong.message, hint=wrong.hint)
    if form := compression_of(start):
        what = f"its blob is {form} data, and layers are gzip, zstd or not compressed"
        return LayerError(f"layer {layer.short}: {what}", hint="build the image again with one of these")
    return None


def built_wrong(layer: Layer, wrong: str) -> LayerError:
    """The error for a blob whose content is wrong, though it is what its digest says, if it has one."""
    if layer.digest is None:
        hint = f"{layer.place.where} is damaged, or the image was built wrong: fetch or build it again"
    else:
        hint = "the blob's digest is right, so the image was built wrong: build it again"
    return LayerError(f"layer {layer.short}: {wrong}", hint=hint)


def _too_large(layer: Layer, limit: int) -> LayerError:
    hint = "if it is to be that large, raise max_layer_size in bundle.yaml"
    return LayerError(
        f"layer {layer.short}: its tar has more than {limit} bytes, the limit (max_layer_size)", hint=hint
    )


class _Sink:
    """Takes the layer's tar in pieces: hashes them and writes them to `out`, if any, in a thread of its own, beside
    the one that reads and decompresses. Both let go of the interpreter, so both cores work, even on a single layer.
    """

    def __init__(self, out: BinaryIO | None, diff_id: Digest) -> None:
        self.size = 0
        self._out = out
        self.hash = diff_id.hasher()
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._failed: OSError | None = None
        self._thread: threading.Thread | None = None

    def put(self, piece: bytes) -> None:
        """Raises OSError, of what was put before."""
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
        """Raises OSError."""
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
            self.hash.update(piece)
            if self._out is None:
                continue
            try:
                self._write(self._out, piece)
            except OSError as error:
                self._failed = error

    @staticmethod
    def _write(out: BinaryIO, piece: bytes) -> None:
        try:
            offset = out.tell()
            out.write(piece)
            out.flush()
            syncing.start_writing(out.fileno(), offset)
        except OSError as error:
            written = os.fstat(out.fileno()).st_size
            raise OSError(error.errno, f"{os_reason(error)} (after {written} bytes of its tar)") from error


def _copy_checked(layer: Layer, out: BinaryIO | None, limit: int | None) -> Receipt:
    """Writes the layer's tar to `out`, if any, checking the blob's size and digest.

    Where the tar turns out to be longer than `limit` bytes, or the disk is full, nothing more is read: a few
    kilobytes may expand for hours.

    Raises LayerError; OSError where `out` cannot be written.
    """
    algorithm = layer.digest.algorithm if layer.digest else "sha256"
    blob = _BlobReader(layer, algorithm)
    unreadable: CorruptStream | LargeWindow | None = None
    with closing(blob):
        with closing(_Sink(out, layer.diff_id)) as sink:
            try:
                for piece in plain_chunks(blob):
                    if limit is not None and sink.size + len(piece) > limit:
                        raise _too_large(layer, limit)
                    sink.put(piece)
            except (CorruptStream, LargeWindow) as error:
                unreadable = error
        while blob.read(1 << 20):  # the digest tells best what is wrong, and covers what nobody asked for
            pass
    if blob.missing:
        raise LayerError(f"layer {layer.short}: {layer.place.where} ends {blob.missing} bytes too early")
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
        f"{layer.diff_id.algorithm}:{sink.hash.hexdigest()}",
        layer.place.size,
        sink.size,
        blob.fingerprint.hexdigest(),
    )
