"""What the layer store does not take: blobs that are not what is said of them, and work that is broken off. Nothing
is left of it that is not whole."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from c2wtasks.errors import LayerError, OutputError
from c2wtasks.layers.sink import Sink
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from tests.layers.storing import OTHER, TAR, Blobs, all_of, names, short
from tests.support import headers
from tests.support.images import digest_of
from tests.support.tars import Compression, compress

GZIP = compress(TAR, "gzip")
ZSTD = compress(TAR, "zstd")
WRONG = f"sha256:{'0' * 64}"
WRONG_512 = f"sha512:{'0' * 128}"
FILE = headers.file(b"etc/motd", b"x" * 600)
REFUSED = [  # blob, what is said of it, the error; {path}, {digest} and {diff_id} stand for the layer's
    (
        "digest",
        {"blob": GZIP, "digest": WRONG},
        f"layer {{digest}}: the blob in {{path}} is damaged: its digest is {digest_of(GZIP)}, not {WRONG}",
    ),
    (
        "digest of sha512",
        {"blob": GZIP, "digest": WRONG_512},
        f"layer {{digest}}: the blob in {{path}} is damaged: its digest is {digest_of(GZIP, 'sha512')}, not",
    ),
    (
        "diffID",
        {"blob": GZIP, "diff_id": WRONG},
        f"layer {{digest}}: uncompressed it is {digest_of(TAR)}, the image config says {WRONG}",
    ),
    (
        "diffID of sha512",
        {"blob": GZIP, "diff_id": WRONG_512},
        f"layer {{digest}}: uncompressed it is {digest_of(TAR, 'sha512')}, the",
    ),
    (
        "diffID without digest",
        {"blob": TAR, "digest": None, "diff_id": WRONG},
        f"layer diffID {{diff_id}}: uncompressed it is {digest_of(TAR)}, the",
    ),
    ("gzip cut", {"blob": GZIP[:-1]}, "layer {digest}: the gzip data ends too early"),
    ("gzip damaged", {"blob": GZIP[:-8] + bytes(8)}, "layer {digest}: the gzip data is damaged: "),
    ("zstd cut", {"blob": ZSTD[:-1]}, "layer {digest}: the zstd data ends too early"),
    (
        "damaged, but the digest tells more",
        {"blob": GZIP[:-1], "digest": WRONG},
        "layer {digest}: the blob in {path} is damaged: its digest is",
    ),
    ("no tar", {"content": b"#!/bin/sh\n" * 100}, "layer {digest}: no tar header at offset 0: "),
    (
        "tar cut",
        {"content": FILE[:1100]},
        "layer {digest}: the tar ends inside the content at offset 512 (entry 'etc/motd'): 588 of 600 bytes",
    ),
]


@pytest.mark.parametrize(("said", "error"), [pytest.param(*row, id=case) for case, *row in REFUSED])
def test_refused(store: Store, blobs: Blobs, said: dict[str, object], error: str) -> None:
    layer = blobs.layer(**said)  # type: ignore[arg-type]
    with pytest.raises(LayerError) as caught:
        store.ensure([layer])
    digest = layer.digest.short if layer.digest else ""
    assert str(caught.value).startswith(
        error.format(path=layer.place.path, digest=digest, diff_id=layer.diff_id.short)
    )
    assert names(store) == []


def test_blob_too_short(store: Store, blobs: Blobs) -> None:
    layer = blobs.layer()
    os.truncate(layer.place.path, layer.place.size - 3)
    with pytest.raises(LayerError, match="ends 3 bytes too early"):
        store.ensure([layer])
    assert names(store) == []


def test_blob_that_cannot_be_read(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    layer = blobs.layer()
    path = Path(layer.place.path)
    reasons = []
    for replace in (lambda: None, path.mkdir, lambda: (path.rmdir(), os.mkfifo(path))):
        if path.is_file():
            path.unlink()
        replace()
        with pytest.raises(LayerError) as caught:
            store.ensure([layer])
        assert str(caught.value).startswith(f"layer {layer.short}: {path} cannot be read: ")
        reasons.append(str(caught.value).rsplit(": ", 1)[1])
    assert reasons == [os.strerror(errno.ENOENT), "not a regular file", "not a regular file"]


def test_store_that_cannot_be_written(store: Store, blobs: Blobs) -> None:
    Path(store.root).parent.mkdir()
    Path(store.root).write_text("in the way")
    layer = blobs.layer()
    with pytest.raises(OutputError) as caught:
        store.ensure([layer])
    assert str(caught.value) == f"{store.root}: layer {layer.short} cannot be stored: {store.root} is not a folder"


def test_first_copy_bad_second_good(store: Store, blobs: Blobs) -> None:
    good = blobs.layer()
    bad = blobs.layer(blob=GZIP[:-5] + b"xxxxx", digest=str(good.digest))
    assert store.ensure([bad, good]).diff_id == str(good.diff_id)
    assert names(store) == all_of(good)


def test_all_copies_bad_the_first_is_told(store: Store, blobs: Blobs) -> None:
    copies = [blobs.layer(blob=b"first", digest=WRONG), blobs.layer(blob=b"second", digest=WRONG)]
    with pytest.raises(LayerError, match=digest_of(b"first")):
        store.ensure(copies)


def test_configs_that_claim_different_diff_ids(store: Store, blobs: Blobs) -> None:
    """The one that is right is served, whichever comes first, and though the other's layer is in the store."""
    store.ensure([blobs.layer(OTHER)])
    wrong, right = blobs.layer(diff_id=digest_of(OTHER)), blobs.layer()
    assert store.ensure([wrong, right]).diff_id == digest_of(TAR)
    assert Path(store.tar(right.diff_id)).read_bytes() == TAR
    assert Path(store.tar(wrong.diff_id)).read_bytes() == OTHER


def test_a_claim_proves_nothing(store: Store, blobs: Blobs) -> None:
    """A layer that is in the store does not make another blob pass for it."""
    store.ensure([blobs.layer(TAR)])
    liar = blobs.layer(OTHER, diff_id=digest_of(TAR))
    with pytest.raises(LayerError, match=f"uncompressed it is {digest_of(OTHER)}"):
        store.ensure([liar])
    assert liar.digest is not None
    assert store.receipt(liar.digest) is None
    assert not os.path.exists(store.tar(Digest.parse(digest_of(OTHER))))


class Killed(BaseException):
    pass


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Makes the n-th rename from now raise."""
    rename = os.rename

    def arm(number: int) -> None:
        left = [number]

        def renaming(source: str, target: str, **folders: int) -> None:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            rename(source, target, **folders)

        monkeypatch.setattr("c2wtasks.disk.files.os.rename", renaming)

    yield arm


@pytest.mark.parametrize("number", [0, 1, 2])
def test_killed_halfway(
    store: Store, blobs: Blobs, number: int, killed_at: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = blobs.layer()
    assert layer.digest is not None
    killed_at(number)
    with pytest.raises(Killed):
        store.ensure([layer])
    monkeypatch.undo()
    kept = short(layer.diff_id)
    assert names(store) == sorted([f"{kept}.tar", f"{kept}.idx"][:number])
    assert store.receipt(layer.digest) is None
    if number:
        assert Path(store.tar(layer.diff_id)).read_bytes() == TAR
    store.ensure([layer])
    assert names(store) == all_of(layer)


def test_a_failing_disk_leaves_nothing(store: Store, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("c2wtasks.disk.files.os.fsync", full)
    layer = blobs.layer()
    with pytest.raises(OutputError, match=f"layer {layer.short} cannot be stored: No space left on device"):
        store.ensure([layer])
    assert names(store) == []


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("held", [False, True], ids=["to be stored", "to be compared with one that is stored"])
def test_a_layer_that_expands_beyond_the_limit_is_not_read_on(
    tmp_path: Path, blobs: Blobs, compression: Compression, held: bool, bytes_read: Callable[[], int]
) -> None:
    root = str(tmp_path / "cache/layers")
    content = bytes(40 << 20) if compression != "none" else random.Random(1).randbytes(40 << 20)
    layer = blobs.layer(headers.archive(headers.file(b"f", content)), compression)
    if held:
        other: Compression = "zstd" if compression == "none" else "none"
        Store(root).ensure([blobs.layer(headers.archive(headers.file(b"f", content)), other)])
    before = names(Store(root)) if held else []
    bytes_read()
    with pytest.raises(LayerError) as caught:
        Store(root, 8 << 20).ensure([layer])
    assert str(caught.value) == (
        f"layer {layer.short}: its tar has more than 8388608 bytes, the limit (max_layer_size); "
        "if it is to be that large, raise max_layer_size in bundle.yaml"
    )
    assert bytes_read() <= (10 << 20)
    assert names(Store(root)) == before
    assert Store(root, len(headers.archive(headers.file(b"f", content)))).ensure([layer])


def test_a_full_disk_ends_the_reading(
    store: Store, blobs: Blobs, bytes_read: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes may expand for hours: what would have been needed is not found out."""

    def full(_sink: object, _piece: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("c2wtasks.layers.sink.Sink._write", full)
    layer = blobs.layer(random.Random(1).randbytes(60 << 20), "none")
    with pytest.raises(OutputError, match=f"layer {layer.short} cannot be stored: No space left on device"):
        store.ensure([layer])
    assert bytes_read() <= 20 << 20
    assert names(store) == []


class _Broken:
    def __init__(self) -> None:
        self.left = 3

    def update(self, _piece: bytes) -> None:
        self.left -= 1
        if not self.left:
            raise MemoryError("no more")


@pytest.mark.parametrize("count", [3, 4, 500])
def test_an_error_in_the_thread_ends_the_reading(count: int) -> None:
    sink = Sink(None, _Broken())  # type: ignore[arg-type]

    def all_of_it() -> None:
        with closing(sink):
            for _ in range(count):
                sink.put(b"x")

    with pytest.raises(MemoryError, match="no more"):
        all_of_it()
