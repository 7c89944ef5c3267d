"""What the layer store holds, for who looks: paths, receipts, entries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from c2wtasks.cachedir import lastuse
from c2wtasks.cachedir.layout import RECEIPTS
from c2wtasks.disk import fingerprint, safely
from c2wtasks.errors import OutputError
from c2wtasks.layers import indexfile
from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.receipt import MAX_RECEIPT, MAX_SMALL_TAR, Receipt, decode_receipt
from c2wtasks.layers.refusal import UnusableIndex
from c2wtasks.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class StoredLayers:
    """The names in the store in the folder `root` (the `layers` of a cache), and what lies there."""

    root: str

    def tar(self, diff_id: Digest) -> str:
        """The path of the layer's tar, uncompressed."""
        return f"{self.root}/{diff_id.algorithm}/{diff_id.hex}.tar"

    def index(self, diff_id: Digest) -> str:
        """The path of the index of the layer's entries."""
        return f"{self.root}/{diff_id.algorithm}/{diff_id.hex}.idx"

    def folders(self, diff_ids: Iterable[Digest]) -> list[str]:
        """Those in which these layers, and receipts, lie."""
        algorithms = {diff_id.algorithm for diff_id in diff_ids}
        return [f"{above}/{one}" for one in algorithms for above in (self.root, self._receipts)]

    @property
    def _receipts(self) -> str:
        return f"{self.root}/{RECEIPTS}"

    def receipt_file(self, digest: Digest) -> str:
        """The path of the receipt of the blob `digest`."""
        return f"{self._receipts}/{digest.algorithm}/{digest.hex}"

    def receipt(self, digest: Digest) -> Receipt | None:
        """What reading the blob `digest` gave; None where it has not been read, or not by a version we know."""
        try:
            receipt = decode_receipt(safely.read(self.receipt_file(digest), MAX_RECEIPT))
            Digest.parse(receipt.diff_id)
            return receipt if receipt.digest == str(digest) else None
        except (OSError, ValueError):
            return None

    def holds(self, diff_id: Digest, receipt: Receipt | None = None) -> bool:
        """Whether the layer's tar, the one that the receipt tells of, if there is one, and a current index of it are
        here."""
        return self.has_tar(diff_id, receipt) and indexfile.is_current(self.index(diff_id))

    def has_tar(self, diff_id: Digest, receipt: Receipt | None = None) -> bool:
        """Whether the layer's tar is here: the one that the receipt tells of, if there is one."""
        path = self.tar(diff_id)
        if receipt is not None and receipt.tar_fingerprint:
            return _is(path, receipt.tar_fingerprint)
        found = safely.size(path)
        return found is not None and (receipt is None or found == receipt.tar_size)

    def tar_size(self, diff_id: Digest) -> int:
        """The bytes of the layer's tar. Raises OSError."""
        return safely.lstat(self.tar(diff_id)).st_size

    def use(self, diff_id: Digest) -> None:
        """Notes that the layer's tar is used now: what was used last is evicted last."""
        try:
            lastuse.note(os.path.dirname(self.root), self.tar(diff_id))
        except OutputError:  # a cache that we may only read, or a full disk
            pass

    def entries(self, diff_id: Digest) -> Iterator[TarEntry]:
        """The entries of a layer that the store holds, in order.

        Raises UnusableIndex, at the latest when all were given.
        """
        try:
            yield from indexfile.read(self.index(diff_id))
        except (OSError, ValueError) as error:
            raise UnusableIndex(self.index(diff_id), diff_id, error) from error


def _is(small_tar: str, of_tar: str) -> bool:
    """Whether the tar at this path has the fingerprint `of_tar`."""
    try:
        return fingerprint.of_bytes(safely.read(small_tar, MAX_SMALL_TAR)) == of_tar
    except OSError:
        return False
