"""Blobs with what is said of them, and what a store then holds."""

from __future__ import annotations

import os
from pathlib import Path

from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import BlobPlace, Layer
from tests.support.images import digest_of
from tests.support.tars import Compression, compress, tar

TAR = tar({"etc/": None, "etc/motd": "hi\n" * 1000})
OTHER = tar({"other": "y"})


class Blobs:
    """Writes blobs into a folder, and says what a manifest and a config would say of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def layer(
        self,
        content: bytes = TAR,
        compression: Compression = "gzip",
        *,
        blob: bytes | None = None,
        digest: str | None = "",
        diff_id: str = "",
        algorithm: str = "sha256",
    ) -> Layer:
        """By default all that is said is true; `digest` None stands for a source that names none."""
        blob = compress(content, compression) if blob is None else blob
        path = self.folder / f"{len(os.listdir(self.folder))}"
        path.write_bytes(blob)
        digest = digest_of(blob, algorithm) if digest == "" else digest
        return Layer(
            Digest.parse(digest) if digest else None,
            Digest.parse(diff_id or digest_of(content, algorithm)),
            BlobPlace(str(path), 0, len(blob)),
        )


def names(store: Store) -> list[str]:
    """The files in the store, with four of the digits that name them; but for locks, and for when tars were used."""
    found = [path.relative_to(store.root) for path in Path(store.root).rglob("*") if path.is_file()]
    found = [path for path in found if path.suffix != ".used"]
    found = [path for path in found if path.parts[0] != "locks"]
    return sorted(str(path.with_name(path.name[:4] + path.suffix)) for path in found)


def short(diff_id: Digest | None) -> str:
    assert diff_id is not None
    return f"{diff_id.algorithm}/{diff_id.hex[:4]}"


def all_of(layer: Layer) -> list[str]:
    kept = short(layer.diff_id)
    return sorted([f"{kept}.idx", f"{kept}.tar", f"receipts/{short(layer.digest)}"])
