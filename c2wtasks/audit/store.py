"""The layer store held against itself: tars against their diffIDs, indexes against tars, receipts against both and
against the blobs they are of. Nothing is changed, not even when a file was last read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

import msgspec

from c2wtasks.audit.finding import Finding, missing, reason, shown
from c2wtasks.audit.reading import open_whole
from c2wtasks.cachedir.layout import ALGORITHMS, RECEIPTS
from c2wtasks.disk import files, fingerprint, safely
from c2wtasks.disk.safely import open_quietly
from c2wtasks.layers import indexfile
from c2wtasks.layers.receipt import MAX_RECEIPT, decode_receipt
from c2wtasks.layers.store import Store
from c2wtasks.layers.tarlimits import ArchiveError
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import Layer, Place

_CHUNK = 1 << 20

TarState = Literal["good", "bad", "absent"]


@dataclass(frozen=True, slots=True)
class LayerAudit:
    """What was found of a layer's tar and index. A tar that is absent was evicted: that is no deviation."""

    diff_id: Digest
    tar: TarState
    findings: tuple[Finding, ...]


def diff_ids(store: Store) -> list[Digest]:
    """The layers that have a tar or an index in the store, in order."""
    found = {
        Digest(algorithm, name.rpartition(".")[0])
        for algorithm in ALGORITHMS
        for name in files.listed(f"{store.root}/{algorithm}")
        if name.endswith((".tar", ".idx")) and _is_digest(algorithm, name.rpartition(".")[0])
    }
    return sorted(found)


def receipts(store: Store) -> list[Digest]:
    """The blobs that have a receipt in the store, in order."""
    return digests_in(f"{store.root}/{RECEIPTS}")


def digests_in(folder: str) -> list[Digest]:
    """The digests by which files lie below a folder, in order.

    Raises OutputError.
    """
    return sorted(
        Digest(algorithm, name)
        for algorithm in ALGORITHMS
        for name in files.listed(f"{folder}/{algorithm}")
        if _is_digest(algorithm, name)
    )


def _is_digest(algorithm: str, text: str) -> bool:
    try:
        Digest.parse(f"{algorithm}:{text}")
    except ValueError:
        return False
    return True


def check_layer(store: Store, diff_id: Digest) -> LayerAudit:
    """What is found of a layer: its tar is hashed, and if it is good, its index is made again in memory, to
    compare."""
    path, index = store.tar(diff_id), store.index(diff_id)
    try:
        with open_whole(path) as tar:
            have = digest_of(tar, diff_id)
            if have != diff_id:
                wrong = Finding(shown(path), "content", str(diff_id), str(have))
                return LayerAudit(diff_id, "bad", (wrong, *_check_seal(index)))
            return LayerAudit(diff_id, "good", tuple(_check_index(index, tar)))
    except FileNotFoundError:
        return LayerAudit(diff_id, "absent", tuple(_check_seal(index)))
    except OSError as error:
        unreadable = Finding(shown(path), "content", str(diff_id), reason(error))
        return LayerAudit(diff_id, "bad", (unreadable, *_check_seal(index)))


def digest_of(stream: BinaryIO, like: Digest) -> Digest:
    """The digest of what is left to be read of a stream, with the algorithm that `like` has. Raises OSError."""
    hasher = like.hasher()
    while content := stream.read(_CHUNK):
        hasher.update(content)
    return Digest(like.algorithm, hasher.hexdigest())


def _check_index(path: str, tar: BinaryIO) -> Iterator[Finding]:
    """What is found of the index of a good tar. A tar without one is what a killed run leaves: the next one reads the
    blob again."""
    pieces = indexfile.pieces_of(tar.fileno())
    try:
        try:
            with open_quietly(path) as stream:
                equal, want = _compared(stream, pieces)
        except FileNotFoundError:
            deque(pieces, maxlen=0)
            return
        except OSError as error:
            want = fingerprint.of_chunks(indexfile.pieces_of(tar.fileno()))
            yield Finding(shown(path), "content", want, reason(error))
            return
    except ArchiveError as error:
        yield Finding(shown(path), "content", f"none, since the tar cannot be read: {error}", "an index")
        return
    if not equal:
        yield Finding(shown(path), "content", want, _damage(path) or "another content")


def _compared(stream: BinaryIO, pieces: Iterable[bytes]) -> tuple[bool, str]:
    """Whether a file holds just the `pieces`, and their fingerprint."""
    equal = True

    def compared() -> Iterator[bytes]:
        nonlocal equal
        for piece in pieces:
            equal = equal and stream.read(len(piece)) == piece
            yield piece

    want = fingerprint.of_chunks(compared())
    return equal and not stream.read(1), want


def _check_seal(path: str) -> Iterator[Finding]:
    """What is found of an index by itself, where there is no tar to hold it against."""
    if (damage := _damage(path)) is not None:
        yield Finding(shown(path), "content", "a whole index", damage)


def _damage(path: str) -> str | None:
    """What is wrong with an index, by its own checksum; None if nothing, or if there is none."""
    try:
        deque(indexfile.read(path), maxlen=0)
    except FileNotFoundError:
        return None
    except OSError as error:
        return reason(error)
    except ValueError as error:
        return str(error)
    return None


def check_receipt(
    store: Store, digest: Digest, copies: Sequence[Layer], tars: Mapping[Digest, TarState]
) -> tuple[Finding, ...]:
    """Holds the receipt of the blob `digest` against its name, the store, and the blob itself, of which `copies`
    are at hand. `tars` says what is known of the store's tars.

    Where no copy can be read, nothing is said of what only a copy could tell.
    """
    return tuple(_check_receipt(store, digest, copies, tars))


def _check_receipt(
    store: Store, digest: Digest, copies: Sequence[Layer], tars: Mapping[Digest, TarState]
) -> Iterator[Finding]:
    path = store.receipt_file(digest)
    name = shown(path)
    try:
        with open_quietly(path) as stream:
            text = stream.read(MAX_RECEIPT)
        receipt = decode_receipt(text)
        diff_id = Digest.parse(receipt.diff_id)
    except OSError as error:
        yield Finding(name, "content", "a receipt", reason(error))
        return
    except ValueError as error:
        yield Finding(name, "content", "a receipt", shown(f"{error}"))
        return
    if text != msgspec.json.encode(receipt) + b"\n":
        yield Finding(name, "content", "a receipt as we write it", "another text")
    if receipt.digest != str(digest):
        yield Finding(name, "digest", str(digest), shown(receipt.digest))
    if safely.size(store.index(diff_id)) is None:
        yield missing(store.index(diff_id), f"index of the layer in receipt {digest.short}")
    size = safely.size(store.tar(diff_id)) if tars.get(diff_id) == "good" else None  # it may be evicted by now
    if size not in (None, receipt.tar_size):
        yield Finding(name, "tarSize", str(size), str(receipt.tar_size))
    sizes = {copy.place.size for copy in copies}
    if sizes and receipt.blob_size not in sizes:
        yield Finding(name, "blobSize", str(copies[0].place.size), str(receipt.blob_size))
    elif (want := _fingerprint_of_any(digest, copies, receipt.fingerprint)) is not None:
        yield Finding(name, "fingerprint", want, shown(receipt.fingerprint))


def _fingerprint_of_any(digest: Digest, copies: Sequence[Layer], have: str) -> str | None:
    """The fingerprint of the copies that are what their digest says; None if one of them has `have`, or none can be
    read and is good."""
    want = None
    for place in (copy.place for copy in copies):
        if not place.is_local:  # an audit fetches nothing
            continue
        try:
            found = fingerprint.of_chunks(place.chunks())
            if found == have:
                return None
            if want is None and _blob_is(digest, place):
                want = found
        except OSError:
            continue
    return want


def _blob_is(digest: Digest, place: Place) -> bool:
    hasher = digest.hasher()
    for content in place.chunks():
        hasher.update(content)
    return hasher.hexdigest() == digest.hex
