"""The layer store: each blob read once and checked, each tar kept once, nothing named that is not whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from c2wtasks.disk import files
from c2wtasks.disk.sealed import seal
from c2wtasks.errors import LayerError, OutputError
from c2wtasks.layers import indexfile
from c2wtasks.layers.content import read_content
from c2wtasks.layers.fragments import pack
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import BlobPlace, Layer
from tests.support import headers
from tests.support.images import digest_of
from tests.support.tars import Compression, compress, tar

TAR = tar({"etc/": None, "etc/motd": "hi\n" * 1000})
OTHER = tar({"other": "y"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache/layers"))


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


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many bytes of blobs were read since it was last asked."""
    counted = [0]
    pread = os.pread

    def counting(descriptor: int, size: int, offset: int) -> bytes:
        content = pread(descriptor, size, offset)
        counted[0] += len(content)
        return content

    def take() -> int:
        found, counted[0] = counted[0], 0
        return found

    monkeypatch.setattr("c2wtasks.layers.store.os.pread", counting)
    return take


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


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_keeps_the_tar_its_index_and_a_receipt(
    store: Store, blobs: Blobs, compression: Compression, algorithm: str
) -> None:
    layer = blobs.layer(TAR, compression, algorithm=algorithm)
    receipt = store.ensure([layer])
    content = Path(store.tar(layer.diff_id)).read_bytes()
    assert content == TAR
    assert hashlib.new(algorithm, content).hexdigest() == layer.diff_id.hex
    assert [entry.name for entry in store.entries(layer.diff_id)] == [b"etc/", b"etc/motd"]
    assert names(store) == all_of(layer)
    assert layer.digest is not None
    assert store.receipt(layer.digest) == receipt
    said = json.loads(Path(store.receipt_file(layer.digest)).read_text())
    assert (
        said.items()
        >= {
            "digest": str(layer.digest),
            "diffId": str(layer.diff_id),
            "blobSize": layer.place.size,
            "tarSize": len(TAR),
        }.items()
    )


def test_empty_blob_is_an_empty_layer(store: Store, blobs: Blobs) -> None:
    layer = blobs.layer(b"", "none")
    assert store.ensure([layer]).tar_size == 0
    assert list(store.entries(layer.diff_id)) == []


def test_blob_within_an_archive(store: Store, blobs: Blobs) -> None:
    layer = blobs.layer(TAR)
    path = Path(layer.place.path)
    path.write_bytes(b"before" + path.read_bytes() + b"after")
    inside = Layer(layer.digest, layer.diff_id, BlobPlace(str(path), len(b"before"), layer.place.size))
    assert store.ensure([inside]).blob_size == layer.place.size


def test_each_blob_is_read_once(store: Store, blobs: Blobs, bytes_read: Callable[[], int]) -> None:
    layer = blobs.layer()
    store.ensure([layer])
    assert bytes_read() == layer.place.size
    assert store.ensure([layer, layer]) == store.ensure([layer])
    assert bytes_read() == 0


def test_a_blob_is_read_to_its_end(store: Store, blobs: Blobs, bytes_read: Callable[[], int]) -> None:
    """Its digest covers what decompression does not look at."""
    layer = blobs.layer(blob=compress(TAR, "gzip") + bytes(5 << 20))
    store.ensure([layer])
    assert bytes_read() == layer.place.size


def test_two_blobs_of_one_diff_id_are_kept_once(
    store: Store, blobs: Blobs, bytes_read: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = blobs.layer(TAR, "gzip"), blobs.layer(TAR, "zstd")
    store.ensure([first])
    before = os.stat(store.tar(first.diff_id))
    bytes_read()
    written: list[str] = []
    temporary = files.temporary
    monkeypatch.setattr(
        files, "temporary", lambda folder, **mode: (written.append(folder), temporary(folder, **mode))[1]
    )
    store.ensure([second])
    assert bytes_read() == second.place.size
    assert len(written) == 1  # the receipt
    assert os.stat(store.tar(first.diff_id)) == before
    assert names(store) == sorted([*all_of(first), f"receipts/{short(second.digest)}"])


def test_without_a_digest_there_is_no_receipt(store: Store, blobs: Blobs, bytes_read: Callable[[], int]) -> None:
    layer = blobs.layer(TAR, "none", digest=None)
    for _ in range(2):  # only reading it tells what it is
        assert store.ensure([layer]).diff_id == str(layer.diff_id)
        assert bytes_read() == len(TAR)
    assert names(store) == [f"{short(layer.diff_id)}.idx", f"{short(layer.diff_id)}.tar"]


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


DAMAGED_RECEIPTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no JSON": lambda _: b"no JSON",
    "no object": lambda _: b"[]",
    "fields missing": lambda _: b'{"digest":"x"}',
    "diffID is a path": lambda text: text.replace(b'"diffId":"sha256:', b'"diffId":"sha256:../'),
    "of another blob": lambda text: text.replace(b'"digest":"sha256:', b'"digest":"sha256:0'),
    "wrong type": lambda text: text.replace(b'"tarSize":', b'"tarSize":"many","x":'),
    "cut": lambda text: text[:-9],
}


@pytest.mark.parametrize("damage", DAMAGED_RECEIPTS.values(), ids=DAMAGED_RECEIPTS)
def test_damaged_receipt(
    store: Store, blobs: Blobs, bytes_read: Callable[[], int], damage: Callable[[bytes], bytes]
) -> None:
    layer = blobs.layer()
    receipt = store.ensure([layer])
    assert layer.digest is not None
    path = Path(store.receipt_file(layer.digest))
    path.write_bytes(damage(path.read_bytes()))
    assert store.receipt(layer.digest) is None
    bytes_read()
    assert store.ensure([layer]) == receipt
    assert bytes_read() == layer.place.size
    assert store.receipt(layer.digest) == receipt


@pytest.mark.parametrize("which", ["tar", "index"])
def test_evicted_is_made_again(store: Store, blobs: Blobs, which: str, bytes_read: Callable[[], int]) -> None:
    layer = blobs.layer()
    store.ensure([layer])
    path = Path(getattr(store, which)(layer.diff_id))
    before = path.read_bytes()
    path.unlink()
    bytes_read()
    store.ensure([layer])
    assert bytes_read() == layer.place.size
    assert path.read_bytes() == before


def test_index_of_another_version_is_made_again(store: Store, blobs: Blobs) -> None:
    layer = blobs.layer()
    store.ensure([layer])
    path = Path(store.index(layer.diff_id))
    before = path.read_bytes()
    path.write_bytes(before[: len(indexfile.LAYER_MAGIC) - 1] + b"\0" + before[len(indexfile.LAYER_MAGIC) :])
    with pytest.raises(LayerError, match="it is of another version"):
        list(store.entries(layer.diff_id))
    store.ensure([layer])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda good: good[:-1], "it is damaged"),
        (lambda good: good[:9], "it is damaged"),
        (lambda good: good[:-4], "it is damaged"),
        (lambda good: good[:40] + b"\xc1" + good[41:], "it is damaged"),
        (lambda good: good + b"\0", "it is damaged"),
        (lambda good: good[:8] + b"\xff\xff\xff\xff" + good[12:], "it is damaged"),
        (lambda good: good[:8] + b"\x1c\0\0\0" + seal(b"", "not entries"), "Expected `array`, got `str`"),
    ],
    ids=["cut", "all but gone", "without an end", "changed", "longer", "of a vast batch", "of another shape"],
)
def test_a_damaged_index_is_made_again(
    store: Store, blobs: Blobs, content: Callable[[bytes], bytes], reason: str
) -> None:
    layer = blobs.layer()
    store.ensure([layer])
    path = Path(store.index(layer.diff_id))
    before = path.read_bytes()
    path.write_bytes(content(before))
    with pytest.raises(LayerError) as caught:
        list(store.entries(layer.diff_id))
    assert str(caught.value) == (
        f"{path}: the index of layer {layer.diff_id.short} cannot be used: {reason}; run: doit verify --repair"
    )
    store.mend_index(layer)
    assert path.read_bytes() == before


def test_index_is_the_same_every_time(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    layer = blobs.layer()
    store.ensure([layer])
    other = Store(str(tmp_path / "other"))
    other.ensure([blobs.layer(TAR, "zstd")])
    assert Path(store.index(layer.diff_id)).read_bytes() == Path(other.index(layer.diff_id)).read_bytes()


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


@pytest.mark.parametrize("umask", [0, 0o077])
def test_modes_whatever_the_umask(store: Store, blobs: Blobs, umask: int) -> None:
    layer = blobs.layer()
    before = os.umask(umask)
    try:
        store.ensure([layer])
    finally:
        os.umask(before)
    paths = [path for path in Path(store.root).rglob("*") if path.is_file()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o644] * 4


def test_read(store: Store, blobs: Blobs) -> None:
    content = headers.archive(headers.file(b"f", b"0123456789"))
    layer = blobs.layer(content)
    store.ensure([layer])
    (entry,) = store.entries(layer.diff_id)
    assert read_content(store.tar(layer.diff_id), entry.offset, 10, None) == b"0123456789"
    assert read_content(store.tar(layer.diff_id), entry.offset, 8, pack([(1, 2), (5, 3)])) == b"\x0001\0\x00234"
    assert read_content(store.tar(layer.diff_id), entry.offset, 3, b"") == bytes(3)
    os.truncate(store.tar(layer.diff_id), entry.offset + 9)
    with pytest.raises(OSError, match="the layer's tar in the cache is too short"):
        read_content(store.tar(layer.diff_id), entry.offset, 10, None)


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

    def full(out: object, _piece: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("c2wtasks.layers.unpacking._Sink._write", staticmethod(full))
    layer = blobs.layer(random.Random(1).randbytes(60 << 20), "none")
    with pytest.raises(OutputError, match=f"layer {layer.short} cannot be stored: No space left on device"):
        store.ensure([layer])
    assert bytes_read() <= 20 << 20
    assert names(store) == []
