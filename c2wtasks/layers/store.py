"""The layer store: each layer once, as the uncompressed tar that its diffID names, and an index of its entries.

    <cache>/layers/<algorithm>/<diffID hex>.tar     the tar: verifies itself with sha256sum
    <cache>/layers/<algorithm>/<diffID hex>.tar.used  when that was last used (see `lastuse`)
    <cache>/layers/<algorithm>/<diffID hex>.idx     its entries (see `indexfile`)
    <cache>/layers/receipts/<algorithm>/<blob hex>  JSON: what reading the blob of that digest gave
    <cache>/layers/locks/<layer key>                while that blob is read: by whom
    <cache>/layers/unfinished/<layer key>/          what was written so far, and in `blob` what was fetched so far

A name appears only when what it names is whole and on disk (temporary file, fsync, rename); the receipt last, when
the names it stands for are on disk, too. So any number of runs may share a store. A blob is read by one at a time;
one that was killed leaves the lock's file and unfinished files, which the next to read that blob removes, or
`recover`; but with what has come of the blob from a registry it goes on. Small layers (see `small`) take no lock and
no sync: they prove themselves when they are used. A receipt says that the blob of that digest
was read here and what its diffID was: that alone lets a blob be skipped; what an image config claims never does. A
`.tar` may vanish at any time: `ensure` makes it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec

from c2wtasks.cachedir.layout import LOCKS, UNFINISHED
from c2wtasks.disk import files, locks, safely, syncing
from c2wtasks.errors import LayerError, OutputError, os_reason
from c2wtasks.layers import indexfile
from c2wtasks.layers.receipt import MAX_SMALL_TAR, Receipt
from c2wtasks.layers.refusal import DamagedBlob, Unreachable, UnusableIndex, built_wrong, not_stored, wrong_diff_id
from c2wtasks.layers.stored import StoredLayers
from c2wtasks.layers.tarlimits import ArchiveError
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import Layer
from c2wtasks.telling import progress
from c2wtasks.telling.notices import tell

_FETCHED = "blob"
_ELSEWHERE = "name a cache elsewhere: 'cache:' in bundle.yaml, or C2WTASKS_CACHE"


@dataclass(frozen=True, slots=True)
class Store(StoredLayers):
    """The store, for who puts layers into it. A layer whose tar is longer than `max_layer_size` bytes, if that is not
    None, is refused."""

    max_layer_size: int | None = None

    def ensure(self, copies: Sequence[Layer]) -> Receipt:
        """Makes the store hold the layer that `copies` name: one blob, perhaps in several places.

        Reads the first copy that is good, unless a receipt tells that the blob was read before. Image configs
        that claim different diffIDs for one blob are told apart by who applies the layer.

        Where another process reads the blob, this waits for it and takes what it has stored.

        Raises LayerError (of the first copy) or OutputError.
        """
        known = self._known(copies) or self._read_small(copies[0])
        if known is not None:
            return known
        with self._alone(copies[0]) as unfinished:
            return self._known(copies) or self._read_first_good(copies, unfinished)

    def take(self, receipt: Receipt, index: bytes) -> None:
        """Keeps what others say of a blob: its receipt, and the index of the layer in it, whose tar is not here.

        Raises OutputError.
        """
        unfinished = f"{self.root}/{UNFINISHED}"
        paths = self.index(Digest.parse(receipt.diff_id)), self.receipt_file(Digest.parse(receipt.digest))
        with files.at_work_in(unfinished, *map(os.path.dirname, paths), shared=True):
            for path, content in zip(paths, (index, msgspec.json.encode(receipt) + b"\n"), strict=True):
                files.write_if_changed(path, content, by_way_of=unfinished, shared=True)

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

    def recover(self) -> None:
        """Removes what killed processes have left unfinished, but for blobs that came in part; nothing of those that
        are at work.

        Raises OutputError.
        """
        first_error: OutputError | None = None
        for key in sorted({*files.listed(f"{self.root}/{LOCKS}"), *files.listed(f"{self.root}/{UNFINISHED}")}):
            try:
                if key.startswith(files.TEMPORARY_PREFIX):  # of a small layer; perhaps nothing ever took a lock
                    files.remove_tree(self._unfinished(key))
                    continue
                with locks.locked_if_free(self._lock(key), elsewhere=_ELSEWHERE) as held:
                    if held is not None:
                        _remove_but_fetched(self._unfinished(key))
            except OutputError as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error

    def _known(self, copies: Sequence[Layer]) -> Receipt | None:
        """The receipt of a blob that need not be read again; None of one that is to be read.

        Raises LayerError: no copy claims the diffID that the blob has.
        """
        digest = copies[0].digest
        known = self.receipt(digest) if digest else None
        if known is None or not self.holds(Digest.parse(known.diff_id), known):
            return None
        if Digest.parse(known.diff_id) not in {copy.diff_id for copy in copies}:
            raise wrong_diff_id(copies[0], known)
        return known

    def _read_small(self, layer: Layer) -> Receipt | None:
        """Stores a small layer; None where it is none, not as it should be, or cannot be stored, which the usual way
        tells."""
        from c2wtasks.layers import small  # most runs read no blob

        found = small.read(layer, self.max_layer_size)
        if found is None or layer.digest is None:
            return None
        receipt, tar, index = found
        paths = self.tar(layer.diff_id), self.index(layer.diff_id), self.receipt_file(layer.digest)
        unfinished = f"{self.root}/{UNFINISHED}"
        with files.at_work_in(unfinished, *{os.path.dirname(path) for path in paths}, shared=True):
            for path, content in zip(paths, (tar, index, msgspec.json.encode(receipt) + b"\n"), strict=True):
                # One that is there may be on disk, or be read just now by a task that takes note of any change.
                try:
                    files.write_if_changed(path, content, by_way_of=unfinished, shared=True)
                except OutputError:
                    return None
        return receipt

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
            raise not_stored(self.root, layer, error) from error
        unfinished = self._unfinished(layer.key)
        progress.step("waiting for a lock")
        with locks.locked(lock, announce, elsewhere=_ELSEWHERE):
            _remove_but_fetched(unfinished)  # of one that was killed
            try:
                files.make_folders(unfinished, shared=True)
                yield unfinished
            except (Unreachable, KeyboardInterrupt, SystemExit):
                _remove_but_fetched(unfinished)
                raise
            except OSError as error:
                files.remove_tree(unfinished)
                raise not_stored(self.root, layer, error) from error
            except Exception:
                files.remove_tree(unfinished)
                raise
            files.remove_tree(unfinished)

    def _lock(self, key: str) -> str:
        return f"{self.root}/{LOCKS}/{key}"

    def _unfinished(self, key: str) -> str:
        return f"{self.root}/{UNFINISHED}/{key}"

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
        from c2wtasks.layers.unpacking import copy_checked  # most runs read no blob

        if self._is_synced(layer.diff_id):  # as another blob, perhaps: this one is only to be checked then
            receipt = copy_checked(layer, None, self.max_layer_size, f"{unfinished}/{_FETCHED}")
            if receipt.diff_id != str(layer.diff_id) or not self.has_tar(layer.diff_id, receipt):
                receipt = self._store(layer, claims, unfinished)
        else:
            receipt = self._store(layer, claims, unfinished)
        if layer.digest is not None:
            text = msgspec.json.encode(receipt) + b"\n"
            files.write(self.receipt_file(layer.digest), text, sync=True, by_way_of=unfinished)
        return receipt

    def _is_synced(self, diff_id: Digest) -> bool:
        """Whether the layer is here, and on disk: a small tar may have been left by a power loss."""
        size = safely.size(self.tar(diff_id))
        return size is not None and size > MAX_SMALL_TAR and self.holds(diff_id)

    def _store(self, layer: Layer, claims: Set[Digest], unfinished: str) -> Receipt:
        """Writes the layer's tar and its index. Raises LayerError, OSError."""
        from c2wtasks.layers.unpacking import copy_checked  # most runs read no blob

        with files.temporary(unfinished) as made, files.temporary(unfinished) as index:
            out = made.stream
            receipt = copy_checked(layer, out, self.max_layer_size, f"{unfinished}/{_FETCHED}")
            diff_id = Digest.parse(receipt.diff_id)
            if diff_id not in claims:
                raise wrong_diff_id(layer, receipt)
            out.flush()
            try:
                index.stream.writelines(indexfile.pieces_of(out.fileno()))
            except ArchiveError as error:
                raise built_wrong(layer, str(error)) from error
            progress.step("syncing")
            files.give_name(made, self.tar(diff_id), sync=True)
            # One that is there may be read just now, by a task that takes note of any change.
            files.give_name_if_changed(index, self.index(diff_id), sync=True)
        syncing.sync_folder(os.path.dirname(self.tar(diff_id)))
        self.use(diff_id)
        return receipt


def _remove_but_fetched(unfinished: str) -> None:
    """Removes what lies in a layer's folder for what is unfinished, and the folder; but not what has come of a blob.

    Raises OutputError.
    """
    try:
        found = safely.names(unfinished) if safely.is_folder(unfinished) else []
    except OSError as error:
        raise OutputError(f"{unfinished}: cannot be read: {os_reason(error)}") from error
    if _FETCHED not in found or not safely.size(f"{unfinished}/{_FETCHED}"):
        files.remove_tree(unfinished)
        return
    for name in found:
        if name != _FETCHED:
            files.remove_tree(f"{unfinished}/{name}")
