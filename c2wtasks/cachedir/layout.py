"""What lies where in the cache, which is shared by catalogs, machines and, where they trust each other, users.

layers/          the layer store: tars and indexes by diffID; receipts by the blob's digest; locks
blobs/           compressed layers that were fetched and are kept (`keep_blobs`), by digest
documents/       manifests, image indexes and image configs of registries, by digest
memo/            what each catalog has learnt of its images, and when it used the cache
uid-<uid>/       all of this once more, for a user who does not trust those who can write in the cache
"""

from __future__ import annotations

import os

from c2wtasks.disk import files
from c2wtasks.errors import OutputError, os_reason

ALGORITHMS = ("sha256", "sha512")
LAYERS, BLOBS, DOCUMENTS, MEMO = "layers", "blobs", "documents", "memo"

RECEIPTS, LOCKS, UNFINISHED = "receipts", "locks", "unfinished"
"""Folders of the layer store, beside those for each algorithm."""

_BY_ALGORITHM = (LAYERS, f"{LAYERS}/{RECEIPTS}", DOCUMENTS, BLOBS)
FOLDERS = (
    *(LAYERS, *(f"{LAYERS}/{name}" for name in (RECEIPTS, LOCKS, UNFINISHED)), MEMO, DOCUMENTS, BLOBS),
    *(f"{above}/{algorithm}" for above in _BY_ALGORITHM for algorithm in ALGORITHMS),
)
"""All folders of a cache, but for those below `layers/unfinished` and those of users."""


def own_part(cache: str, uid: int) -> str:
    """The part of a cache that is one user's alone."""
    return f"{cache}/uid-{uid}"


def write(cache: str, path: str, content: bytes) -> None:
    """Puts `content` at `path`, which lies in the folder `cache`, in one step: whoever may write in that folder may
    write in those below. What a killed run leaves of it is removed with all else that it left unfinished.

    Raises OutputError.
    """
    try:
        files.make_folders(os.path.dirname(path), shared=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {os_reason(error)}") from error
    unfinished = f"{cache}/{LAYERS}/{UNFINISHED}"
    try:
        files.write(path, content, by_way_of=unfinished, shared=True)
    except OutputError:  # another run may just have cleared up there
        files.write(path, content, by_way_of=unfinished, shared=True)
